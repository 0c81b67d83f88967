"""What the requests to one listener share, and the exchange that is made of each.

What an exchange does is in ``sidecar.inbound.exchange``.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from sidecar.core.names import DECISION_LENGTH
from sidecar.core.outcome import Denial, Reason
from sidecar.core.paths import PathOptions, canonical
from sidecar.core.policy import Policy, PolicyRule
from sidecar.core.propagation import CompatCarrier
from sidecar.core.signed_identity import SignedIdentity
from sidecar.core.token_sources import TokenSources
from sidecar.core.verification import Rejected, Verified, Verifier
from sidecar.credentials.admission import ExclusiveAdmission
from sidecar.credentials.ledger import HandleSource, Ledger
from sidecar.inbound.deadline import CallerDeadline
from sidecar.inbound.exchange import InboundExchange
from sidecar.inbound.transaction import TransactionTokens
from sidecar.telemetry.decision_log import DecisionLog
from sidecar.telemetry.exchanges import ExchangeReporter
from sidecar.telemetry.metrics import NO_ROUTE, Direction, RouteMetrics
from sidecar.wire.answers import refusal
from sidecar.wire.exchange import Answer
from sidecar.wire.heads import RequestHead
from sidecar.wire.pool import Pool

MAX_REMEMBERED_PATHS: Final = 4096
MAX_REMEMBERED_BYTES: Final = 256
"""Longer ones are looked up each time: callers choose them."""

Found = tuple[bytes, PolicyRule, RouteMetrics]
"""Canonical path, the rule it falls under, and that rule's metrics."""


class KeySource(Protocol):
    """Where the keys of one issuer come from."""

    def refusal(self, kid: str | None) -> Reason | None: ...
    def obtain(self) -> Awaitable[None]: ...


class Inquiry(Protocol):
    """A question to an issuer about one token."""

    @property
    def verdict(self) -> Verified | Rejected: ...
    def settled(self) -> Awaitable[None]: ...


class Inquirer(Protocol):
    """Where one issuer is asked about tokens; a denial where it is not asked."""

    def ask(self, token: bytes) -> Inquiry | Denial: ...


@dataclass(frozen=True, slots=True)
class InboundSettings:
    """What the operator decided about the listener."""

    token_to_app: Literal["withhold", "placeholder", "forward"]
    """What the app gets as ``Authorization``: nothing, the handle as a bearer, or the token."""
    paths: PathOptions
    carriers: frozenset[CompatCarrier] = frozenset()
    """Where a handle is put besides the dedicated header."""
    sources: TokenSources | None = None
    """Where the token may be; ``None``: in ``Authorization`` alone."""
    tells_decision: bool = False
    """Whether answers of the app get the decision's id."""


class InboundHandler:
    """Makes an exchange of each request, with everything the exchanges share."""

    def __init__(
        self,
        *,
        settings: InboundSettings,
        policy: Policy,
        verifier: Verifier,
        keys: Mapping[str, KeySource],
        ledger: Ledger,
        pool: Pool,
        metrics: Direction,
        reporter: ExchangeReporter,
        ids: HandleSource,
        wall_clock: Callable[[], float],
        random: Callable[[int], bytes],
        admission: ExclusiveAdmission | None = None,
        introspection: Mapping[str, Inquirer] | None = None,
        signed: SignedIdentity | None = None,
        decisions: DecisionLog | None = None,
        transactions: TransactionTokens | None = None,
        deadline: CallerDeadline | None = None,
    ) -> None:
        """*admission* is there where callers must not be in the app together, *signed* where the
        app is told who calls in a signed header too, *transactions* where ``Txn-Token`` is
        looked at.
        """
        self.settings = settings
        self.sources = settings.sources
        self.policy = policy
        self.verifier = verifier
        self.keys = keys
        self.introspection = {} if introspection is None else introspection
        self.ledger = ledger
        self.pool = pool
        self.metrics = metrics
        self.reporter = reporter
        self.ids = ids
        self.wall_clock = wall_clock
        self.random = random
        self.admission = admission
        self.signed = signed
        self.decisions = decisions
        self.transactions = transactions
        self.deadline = deadline
        self._found: dict[tuple[bytes, bytes, bytes], Found] = {}
        self.no_route = metrics.route(NO_ROUTE)
        authority = f"[{pool.host}]" if ":" in pool.host else pool.host
        self.host_line = f"host: {authority}:{pool.port}\r\n".encode()
        """For HTTP/1.0 requests that name no host."""

    def find(self, method: bytes, raw_path: bytes, host: bytes) -> Found | Denial:
        """Return canonical path, rule and metrics for what was sent, or why there is no rule.

        Found ones are remembered, within a bound: most requests ask for a path of a few.
        """
        if not self.policy.asks_for_host:
            host = b""
        key = (method, raw_path, host)
        found = self._found.get(key)
        if found is not None:
            return found
        path = raw_path if raw_path == b"*" else canonical(raw_path, self.settings.paths)
        if isinstance(path, Denial):
            return path
        rule = self.policy.match(method, path, host)
        if rule is None:
            what = "method, host and path" if self.policy.asks_for_host else "method and path"
            return Denial(Reason.NO_RULE, f"no rule matches this {what}")
        found = path, rule, self.metrics.route(rule.name)
        if len(method) + len(raw_path) + len(host) <= MAX_REMEMBERED_BYTES:
            if len(self._found) >= MAX_REMEMBERED_PATHS:
                self._found.clear()
            self._found[key] = found
        return found

    def begin(self, head: RequestHead, peer: str) -> "InboundExchange":  # noqa: ARG002
        self.reporter.begun()
        return InboundExchange(self, head)

    def malformed(self, reason: Reason, detail: str) -> Answer:
        denial = Denial(reason, detail, public=True)
        decision = self.ids.draw(DECISION_LENGTH).decode()
        self.reporter.refused_message(denial, self.no_route, decision)
        return refusal(denial, decision=decision, to_app=False)
