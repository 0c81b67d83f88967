"""``Server-Timing`` (W3C): how long a request was with us before it was sent on, or answered."""

from collections.abc import Callable

from sidecar.core.outcome import Reason
from sidecar.wire.around import AroundExchange
from sidecar.wire.exchange import Answer, Exchange, Handler
from sidecar.wire.heads import RequestHead, ResponseHead

_LINE = b"server-timing: auth;dur=%.3f\r\n"


class ServerTimingHandler:
    """Makes exchanges that say so."""

    def __init__(self, inner: Handler, clock: Callable[[], float]) -> None:
        """*clock* is in seconds."""
        self._inner = inner
        self.clock = clock

    def begin(self, head: RequestHead, peer: str) -> "ServerTimingExchange":
        started = self.clock()
        return ServerTimingExchange(self._inner.begin(head, peer), self.clock, started)

    def malformed(self, reason: Reason, detail: str) -> Answer:
        return self._inner.malformed(reason, detail)


class ServerTimingExchange(AroundExchange):
    """One exchange, and the time until it was sent on."""

    def __init__(self, inner: Exchange, clock: Callable[[], float], started: float) -> None:
        super().__init__(inner)
        self._clock = clock
        self._started = started
        self._line = b""

    def commit(self) -> bytes | Answer:
        lines = super().commit()
        if not self._line:  # the first attempt is what took our time
            self._line = self._measured()
        return lines

    def amend(self, answer: Answer) -> Answer:
        line = self._line or self._measured()
        return Answer(answer.status, answer.lines + line, answer.body, answer.close)

    def respond(self, head: ResponseHead) -> None:
        self.inner.respond(head)
        # Neither an interim answer nor trailers: those come after the head.
        if head.status >= 200 and self._line:
            head.lines.append(self._line)
            self._line = b""

    def _measured(self) -> bytes:
        return _LINE % ((self._clock() - self._started) * 1000)
