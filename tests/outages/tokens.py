"""A pod whose calls get tokens of an identity provider that can be ill in every way."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sidecar.config.model import Client, DestinationRule, JwksUri, SharedTokens
from sidecar.core.token_request import TokenRequest
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.token_mint import TokenMint
from sidecar.testbed.trusted_tokens import Claims, signed_claims
from sidecar.testbed.users import SERVICES
from tests.outages.token_rows import AS_IT_IS, SERVED, DestinationRow, TokenRow
from tests.support.http import Request, Response, fetch
from tests.support.pod import AUDIENCE, Pod, pod

CALLERS: Final = 4
"""Of each kind, at the same time."""
THERE: Final = "profile-service"
LIFETIME_SECONDS: Final = 300.0
NEAR_THE_END_SECONDS: Final = 260.0
"""Past the time for a refresh, before the margin at the end."""
_EXCHANGE: Final = TokenRequest("idp", "exchange", audience=(THERE,))
_OWN: Final = TokenRequest("idp", "client_credentials", audience=(THERE,))
_OTHER: Final = TokenRequest("idp", "client_credentials", audience=(THERE, "billing"))


@dataclass
class Depending:
    """A pod, its provider, and callers of every kind on whose behalf its app calls."""

    running: Pod
    provider: IdentityProvider
    shift: list[float]
    """By how much the clocks of both are ahead."""
    known: list[str] = field(default_factory=list)
    """Tokens that were verified before."""
    held: list[str] = field(default_factory=list)
    """Tokens that are exchanged already."""
    waiting: list[str] = field(default_factory=list)
    """Tokens that are not."""

    def token(self, user: str) -> str:
        """Return a token of *user* that outlives the test."""
        return self.provider.mint.token(user, exp=int(time.time() + self.shift[0] + 3600))

    async def prepare(self) -> None:
        """Have callers of every kind come while all is well."""
        self.known = [self.token(f"known-{number}") for number in range(CALLERS)]
        self.held = [self.token(f"held-{number}") for number in range(CALLERS)]
        self.waiting = [self.token(f"waiting-{number}") for number in range(CALLERS)]
        for token in (*self.known, *self.waiting):
            assert await self.visit(token) == SERVED
        assert await self.calls(self.held) == SERVED
        assert await self.call(self.held[0], "/own/x") == SERVED

    async def visit(self, token: str) -> str:
        """Return what comes of a request for which the app calls nobody."""
        return said(await fetch(self.running.bound.inbound, "/users/x", bearer=token))

    async def call(self, token: str, target: str = "/profiles/x") -> str:
        """Return what comes of the call to *target* that a request with *token* causes."""
        answer = await fetch(self.running.bound.inbound, f"/users/call{target}", bearer=token)
        assert answer.status == 200, answer.reason
        return answer.body.decode()

    async def calls(self, tokens: list[str], target: str = "/profiles/x") -> str:
        """Return what comes of the calls for all *tokens* at once, which must be the same."""
        outcomes = Counter(await asyncio.gather(*(self.call(token, target) for token in tokens)))
        assert len(outcomes) == 1, outcomes
        return next(iter(outcomes))

    async def serve(self) -> None:
        """Be the app."""
        async with asyncio.TaskGroup() as group:
            while True:
                try:
                    request = await self.running.app.next()
                except TimeoutError:
                    continue  # nobody asked for a while
                group.create_task(self._answer(request))

    async def _answer(self, request: Request) -> None:
        target = request.target.removeprefix("/users/call")
        if target == request.target:
            request.answer()
            return
        answer = await self.running.call_out(request.handle, target)
        assert bool(answer.values("retry-after")) is (answer.status == 503)
        assert not answer.values("www-authenticate")
        request.answer(body=said(answer).encode())

    async def suffers(self, row: TokenRow) -> None:
        """Assert that all kinds of calls, and probes, meet exactly what *row* says."""
        fresh = [self.token(f"fresh-{number}") for number in range(CALLERS)]
        for token in (*self.known, *fresh):
            assert await self.visit(token) == SERVED
        assert await self.calls(self.held) == SERVED
        assert await self.calls(self.waiting) == row.exchange
        assert await self.calls(self.held, "/own/x") == SERVED
        assert await self.calls(self.held, "/other/x") == row.own
        await self.nears_the_end(row)
        self.passes(LIFETIME_SECONDS)
        assert await self.calls(self.held) == row.exchange
        assert (await fetch(self.running.bound.admin, "/readyz")).status == 200
        assert f"{row.look_at} " in await self.running.metrics()
        self.nothing_bad_was_sent()

    async def meets(self, row: DestinationRow) -> None:
        """Assert that calls of one caller, one after the other, come to what *row* says."""
        token = self.token("alice")
        for _ in range(row.calls_before):
            await self.call(token)
        for _ in range(3):
            assert await self.call(token) == row.app_sees
        assert self.provider.token_requests.total == row.questions
        assert f"{row.look_at} " in await self.running.metrics()
        self.nothing_bad_was_sent()

    async def nears_the_end(self, row: TokenRow) -> None:
        """Assert what becomes of the refresh of a token in use, which serves meanwhile."""
        self.passes(NEAR_THE_END_SECONDS)
        assert await self.calls(self.held) == SERVED
        sample = f'{{destination="profiles",result="{row.refresh}"}} '
        async with asyncio.timeout(10):
            while sample not in await self.running.metrics():
                await asyncio.sleep(0.01)
        assert await self.calls(self.held) == SERVED

    def passes(self, seconds: float) -> None:
        """Let time go on for pod and provider; what arrived until now is judged by now."""
        self.nothing_bad_was_sent()
        self.shift[0] += seconds

    def nothing_bad_was_sent(self) -> None:
        """Assert that every token that arrived was good, for this place, and in time."""
        for request in self.running.destination.received:
            claims = verified(self.provider.mint, request)
            assert claims["exp"] > time.time() + self.shift[0]
        self.running.destination.received.clear()


def verified(mint: TokenMint, request: Request) -> Claims:
    """Return what the token of *request* says, which must be signed and for this place."""
    (value,) = request.values("authorization")
    claims = signed_claims(value.removeprefix("Bearer "), mint.jwks(), now=0.0)
    assert claims is not None
    assert THERE in claims["aud"]
    return claims


def said(answer: Response) -> str:
    """Return an answer as the rows have it."""
    if answer.status == 200:
        return SERVED
    return f"{answer.status} `{answer.reason}`" if answer.reason else AS_IT_IS


@asynccontextmanager
async def depending(
    directory: Path,
    *,
    destination: Mapping[str, object] | None = None,
    shared_tokens: SharedTokens | None = None,
    **client: object,
) -> AsyncIterator[Depending]:
    """Run a pod that asks a provider for tokens.

    *client* replaces fields of how it does, *destination* of where the app calls, which then is
    not called beforehand.
    """
    shift = [0.0]

    def wall_clock() -> float:
        return time.time() + shift[0]

    async with IdentityProvider(
        audience=[AUDIENCE],
        algorithms=("ES256",),
        lifetime_seconds=LIFETIME_SECONDS,
        clock=wall_clock,
    ) as provider:
        asks = Client(
            "idp",
            SERVICES[0].client_id,
            token_endpoint=provider.token_url,
            client_secret=SERVICES[0].client_secret,
            **{"retries": 0, **client},  # type: ignore[arg-type]
        )
        rules = (
            DestinationRule(("/own/**",), "client_credentials", token_request=_OWN),
            DestinationRule(("/other/**",), "client_credentials", token_request=_OTHER),
        )
        async with pod(
            directory,
            mint=provider.mint,
            issuer={"keys": JwksUri(provider.jwks_url)},
            clients=[asks],
            destination={
                "token": "exchange",
                "token_request": _EXCHANGE,
                "rules": rules,
                **(destination or {}),
            },
            wall_clock=wall_clock,
            shared_tokens=shared_tokens,
        ) as running:
            running.app.automatic = False
            found = Depending(running, provider, shift)
            serving = asyncio.create_task(found.serve())
            if destination is None:
                await found.prepare()
            yield found
            serving.cancel()
            await asyncio.wait((serving,))
