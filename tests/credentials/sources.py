"""A token source as it is wired, in front of a server that answers when and as the test says."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256

from sidecar.config import model
from sidecar.core.obtained import Failure, FailureKind, ObtainedToken
from sidecar.core.principal import Credential, Principal
from sidecar.core.token_request import ACCESS_TOKEN, TokenRequest
from sidecar.credentials.obtained_tokens import ObtainedTokens, Obtaining
from sidecar.credentials.token_source import TokenSource, generation_of
from sidecar.telemetry.token_exchanges import TokenExchangeMetrics

NOW = 1_700_000_000.0
EXCHANGE = TokenRequest("idp", "exchange", audience=("orders",))
SERVICE = TokenRequest("idp", "client_credentials", audience=("orders",))


@dataclass
class Clock:
    """Monotonic and wall clock in one, moved by the test."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


def subject(name: str = "alice", *, expires_at: float = NOW + 3600) -> Credential:
    token = f"token-of-{name}".encode()
    principal = Principal("shop", "https://idp.test", name)
    return Credential(principal, token, sha256(token).digest(), expires_at, NOW)


@dataclass
class Server:
    """Gives numbered tokens; while ``gate`` is closed, it does not answer."""

    clock: Clock
    asked: list[tuple[TokenRequest, str | None]] = field(default_factory=list)
    lifetime: float = 300.0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    fails: Failure | None = None
    breaks: BaseException | None = None
    answered: list[ObtainedToken] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gate.set()

    async def ask(
        self, request: TokenRequest, asked_for: Credential | None
    ) -> ObtainedToken | Failure:
        asked_at = self.clock()
        name = None if asked_for is None else asked_for.principal.subject
        self.asked.append((request, name))
        number = len(self.asked)
        await self.gate.wait()
        if self.breaks is not None:
            raise self.breaks
        if self.fails is not None:
            return self.fails
        token = ObtainedToken(
            f"obtained-{number}-for-{name}".encode(),
            asked_at,
            asked_at + self.lifetime,
            ACCESS_TOKEN if request.grant == "exchange" else "",
        )
        self.answered.append(token)
        return token

    def fail(self, kind: FailureKind, retry_after: float | None = None, code: str = "") -> None:
        self.fails = Failure(kind, "as the test says", retry_after, code)


@dataclass
class Bench:
    """One source with what it needs."""

    clock: Clock = field(default_factory=Clock)
    kept: model.ObtainedTokens = field(default_factory=model.ObtainedTokens)
    random: Callable[[], float] = lambda: 0.5

    def __post_init__(self) -> None:
        self.server = Server(self.clock)
        self.tokens = ObtainedTokens(
            max_entries=self.kept.max_entries, max_bytes=self.kept.max_bytes
        )
        self.metrics = TokenExchangeMetrics("orders")
        self.source = self.another()

    def another(
        self,
        request: TokenRequest = EXCHANGE,
        generation: bytes = generation_of("idp"),
        *,
        is_bound: bool = False,
    ) -> TokenSource:
        return TokenSource(
            request,
            generation=generation,
            tokens=self.tokens,
            ask=self.server.ask,
            kept=self.kept,
            clock=self.clock,
            wall_clock=self.clock,
            random=self.random,
            report=self.metrics,
            is_bound=is_bound,
        )

    async def get(
        self, who: Credential | None = None, source: TokenSource | None = None
    ) -> ObtainedToken | Failure:
        """Do what an exchange does; for Alice unless *who* is given."""
        got = (source or self.source).get(who or subject())
        return await settled(got)

    async def token(self, who: Credential | None = None) -> str:
        """The token that is got, or the kind of the failure."""
        return said(await self.get(who))

    def count(self, result: str) -> int:
        return self.metrics.results.get(result, 0)

    async def idle(self) -> None:
        """Let everything happen that can without another input."""
        while self.tokens.under_way and self.server.gate.is_set():
            await asyncio.sleep(0)


async def settled(got: ObtainedToken | Failure | Obtaining) -> ObtainedToken | Failure:
    if isinstance(got, Obtaining):
        await got.settled()
        return got.outcome
    return got


def said(outcome: ObtainedToken | Failure) -> str:
    return outcome.token.decode() if isinstance(outcome, ObtainedToken) else outcome.kind
