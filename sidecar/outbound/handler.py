"""What the calls to one destination share, and the exchange that is made of each.

What an exchange does is in ``sidecar.outbound.exchange``.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sidecar.core.attribution import Attribute, AttributionRules
from sidecar.core.names import DECISION_LENGTH
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Credential
from sidecar.core.token_sources import TokenSources
from sidecar.credentials.ledger import HandleSource, Ledger
from sidecar.outbound.accepted_hosts import AcceptedHosts, AnyHost
from sidecar.outbound.bounded import BoundedExchange, Bounds
from sidecar.outbound.exchange import OutboundExchange
from sidecar.outbound.passing import TransactionRequests
from sidecar.outbound.token_choice import TokenChoices
from sidecar.telemetry.carriers import Carriers
from sidecar.telemetry.decision_log import DecisionLog
from sidecar.telemetry.exchanges import ExchangeReporter
from sidecar.telemetry.metrics import Metrics, RouteMetrics
from sidecar.wire.answers import refusal
from sidecar.wire.exchange import Answer, Exchange
from sidecar.wire.heads import RequestHead
from sidecar.wire.pool import Pool


@dataclass(frozen=True, slots=True)
class OutboundSettings:
    """What the operator decided about one destination."""

    name: str
    attribution: AttributionRules
    hosts: AcceptedHosts
    swaps_ids: bool = True
    """The app may have ids of ours in place of its callers'; otherwise ids are not looked at."""
    observe: bool = False
    """Attach nothing and refuse nothing: forward what the app sent, and count what would be."""
    sources: TokenSources | None = None
    """Where callers may have their token; ``None``: in ``Authorization`` alone."""
    tells_decision: bool = False
    """Whether answers of the destination get the decision's id."""
    replay_bytes: int = 0
    """How much of a call's content is kept, to send it again with another token."""
    issuers: frozenset[str] = frozenset()
    """``iss`` of those whose tokens the app may not send there besides ``Authorization``."""
    passes_transaction: bool = False
    """Calls have the transaction token of the request that caused them."""


class OutboundHandler:
    """Makes an exchange of each call to one destination, with everything they share."""

    def __init__(
        self,
        *,
        settings: OutboundSettings,
        tokens: TokenChoices,
        attribute: Attribute,
        ledger: Ledger,
        pool: Pool,
        metrics: Metrics,
        carriers: Carriers,
        route: RouteMetrics,
        reporter: ExchangeReporter,
        ids: HandleSource,
        authority: str,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        decisions: DecisionLog | None = None,
        outside: Callable[[str, Credential], None] | None = None,
        bounds: Bounds | None = None,
        transactions: TransactionRequests | None = None,
    ) -> None:
        """*authority* is the upstream's ``host[:port]``, which it will see as ``Host``.

        *outside* is told the destination's name and the caller's token when that is sent on
        without being meant for the destination. *transactions* has transaction tokens for requests
        that came without one, where those are asked for.
        """
        self.settings = settings
        self.tokens = tokens
        self.outside = outside
        self.transactions = transactions
        self.attribute = attribute
        self.ledger = ledger
        self.pool = pool
        self.metrics = metrics
        self.carriers = carriers
        self.route = route
        self.reporter = reporter
        self.ids = ids
        self.authority = authority
        self.host_line = f"host: {authority}\r\n".encode()
        self.clock = clock
        self.wall_clock = wall_clock
        self.decisions = decisions
        self.bounds = bounds

    def by_name(self) -> "OutboundHandler":
        """Return the same for a listener that chose it by the host of the request."""
        return OutboundHandler(
            settings=replace(self.settings, hosts=AnyHost()),
            tokens=self.tokens,
            attribute=self.attribute,
            ledger=self.ledger,
            pool=self.pool,
            metrics=self.metrics,
            carriers=self.carriers,
            route=self.route,
            reporter=self.reporter,
            ids=self.ids,
            authority=self.authority,
            clock=self.clock,
            wall_clock=self.wall_clock,
            decisions=self.decisions,
            outside=self.outside,
            bounds=self.bounds,
            transactions=self.transactions,
        )

    def begin(self, head: RequestHead, peer: str) -> Exchange:  # noqa: ARG002
        self.reporter.begun()
        exchange = OutboundExchange(self, head)
        if self.bounds is None:
            return exchange
        return BoundedExchange(exchange, self.bounds, head)

    def malformed(self, reason: Reason, detail: str) -> Answer:
        denial = Denial(reason, detail, public=True)
        decision = self.ids.draw(DECISION_LENGTH).decode()
        self.reporter.refused_message(denial, self.route, decision)
        return refusal(denial, decision=decision, to_app=True)
