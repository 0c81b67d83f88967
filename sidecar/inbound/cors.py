"""CORS: refusals that a page may read, and preflights that need no token, where configured.

A preflight comes without credentials by definition (Fetch, section 4.9), so that a rule that asks
for a token would refuse each. Passing one lets the app answer it, in nobody's name.
"""

from sidecar.core.cors import Cors, origin_of, requested_method
from sidecar.core.outcome import Denial, Reason
from sidecar.inbound.handler import InboundHandler
from sidecar.wire.around import AroundExchange
from sidecar.wire.exchange import Answer, Exchange, Handler
from sidecar.wire.heads import RequestHead


class CorsHandler:
    """Makes exchanges whose refusals a page may read."""

    def __init__(
        self, inner: Handler, cors: Cors, rules: InboundHandler, preflights: InboundHandler | None
    ) -> None:
        """*preflights* lets anyone pass, and is asked only where one of *rules* would match."""
        self._inner = inner
        self._cors = cors
        self._rules = rules
        self._preflights = preflights

    def begin(self, head: RequestHead, peer: str) -> Exchange:
        # Read now: what is behind us may drop lines.
        lines = self._cors.lines(origin_of(head.lines))
        preflights = self._preflights
        if preflights is not None and self._may_pass(head):
            return CorsExchange(preflights.begin(head, peer), lines)
        return CorsExchange(self._inner.begin(head, peer), lines)

    def _may_pass(self, head: RequestHead) -> bool:
        wanted = requested_method(head.method, head.lines, has_content=head.has_content)
        path = head.target.partition(b"?")[0]
        if not wanted or not path.startswith(b"/"):
            return False
        return not isinstance(self._rules.find(wanted, path, head.host), Denial)

    def malformed(self, reason: Reason, detail: str) -> Answer:
        return self._inner.malformed(reason, detail)


class CorsExchange(AroundExchange):
    """One exchange, and the lines for whoever may read its refusals."""

    def __init__(self, inner: Exchange, lines: bytes) -> None:
        super().__init__(inner)
        self._lines = lines

    def amend(self, answer: Answer) -> Answer:
        return Answer(answer.status, answer.lines + self._lines, answer.body, answer.close)
