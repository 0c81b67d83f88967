"""Serve the metadata of the resource (RFC 9728), and name it in challenges.

In front of the rules: a client reads it before it has a token. A handler of its own, there only
where it is configured.
"""

from sidecar.core.names import DECISION_LENGTH
from sidecar.core.outcome import Denial, Reason
from sidecar.core.resource_metadata import ResourceMetadata
from sidecar.inbound.handler import InboundHandler
from sidecar.wire.around import AroundExchange
from sidecar.wire.exchange import Action, Answer, Exchange, Handler, Timing
from sidecar.wire.heads import RequestHead, ResponseHead

_LINES = b"content-type: application/json\r\ncache-control: max-age=3600\r\n"
_READING = (b"GET", b"HEAD")


class MetadataHandler:
    """Answers for the well-known path; everything else is the inner handler's."""

    def __init__(self, inner: Handler, inbound: InboundHandler, metadata: ResourceMetadata) -> None:
        self._inner = inner
        self._inbound = inbound
        self.metadata = metadata

    def begin(self, head: RequestHead, peer: str) -> Exchange:
        if head.method in _READING and head.target.partition(b"?")[0] == self.metadata.path:
            self._inbound.reporter.begun()
            return MetadataExchange(self._inbound, head, self.metadata)
        return ChallengingExchange(self._inner.begin(head, peer), self.metadata)

    def malformed(self, reason: Reason, detail: str) -> Answer:
        return self._inner.malformed(reason, detail)


class ChallengingExchange(AroundExchange):
    """One exchange whose refusals say where the metadata are."""

    def __init__(self, inner: Exchange, metadata: ResourceMetadata) -> None:
        super().__init__(inner)
        self._metadata = metadata

    def amend(self, answer: Answer) -> Answer:
        lines = self._metadata.challenged(answer.lines)
        return Answer(answer.status, lines, answer.body, answer.close)


class MetadataExchange:
    """A request for the metadata."""

    def __init__(
        self, handler: InboundHandler, head: RequestHead, metadata: ResourceMetadata
    ) -> None:
        self._handler = handler
        self._head = head
        self._metadata = metadata

    def start(self) -> Action:
        return Answer(200, _LINES, self._metadata.document)

    def resume(self) -> Action:
        return self.start()

    def commit(self) -> bytes | Answer:
        return Answer(200, _LINES, self._metadata.document)

    def again(self, head: ResponseHead) -> Action | None:  # noqa: ARG002
        return None

    def respond(self, head: ResponseHead) -> None:
        """Nobody behind us answers."""

    def fail(self, reason: Reason, detail: str) -> Answer:
        return self._handler.malformed(reason, detail)

    def finish(self, status: int, timing: Timing, fault: Reason | None, *, whole: bool) -> None:  # noqa: ARG002
        handler = self._handler
        handler.reporter.ended(
            method=self._head.method,
            path=self._metadata.path,
            route=handler.no_route,
            status=status,
            duration_seconds=timing.duration,
            overhead_seconds=timing.overhead,
            decision=handler.ids.draw(DECISION_LENGTH).decode(),
            credential=None,
            denial=None if fault is None else Denial(fault),
        )
