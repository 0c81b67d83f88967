"""Fields that a proxy adds: ``Via`` (RFC 9110, 7.6.3), and who asked us.

A handler in front of another one, there only where something is configured, so that requests
without such fields pay nothing.
"""

from sidecar.core.forwarded import ForwardingFields
from sidecar.core.outcome import Reason
from sidecar.wire.exchange import Action, Answer, Exchange, Handler, Timing
from sidecar.wire.heads import RequestHead, ResponseHead


class ForwardingHandler:
    """Makes exchanges that add to what the inner ones say."""

    def __init__(self, inner: Handler, *, via: str | None, fields: ForwardingFields | None) -> None:
        """*via* is our pseudonym."""
        self._inner = inner
        self.fields = fields
        self.via = b"" if via is None else b"via: 1.1 %b\r\n" % via.encode("ascii")
        self.via_old = self.via.replace(b" 1.1 ", b" 1.0 ", 1)
        """``Via`` says what was received, not what is sent."""

    def begin(self, head: RequestHead, peer: str) -> "ForwardingExchange":
        return ForwardingExchange(self, self._inner.begin(head, peer), head, peer)

    def malformed(self, reason: Reason, detail: str) -> Answer:
        return self._inner.malformed(reason, detail)


class ForwardingExchange:
    """One exchange, and the fields that say it passed here."""

    __slots__ = ("_added", "_handler", "_head", "_inner", "_peer")

    def __init__(
        self, handler: ForwardingHandler, inner: Exchange, head: RequestHead, peer: str
    ) -> None:
        self._handler = handler
        self._inner = inner
        self._head = head
        self._peer = peer
        self._added: bytes | None = None

    def start(self) -> Action:
        return self._inner.start()

    def resume(self) -> Action:
        return self._inner.resume()

    def commit(self) -> bytes | Answer:
        lines = self._inner.commit()
        if isinstance(lines, Answer):
            return lines
        if self._added is None:  # a request that is repeated has been rewritten already
            self._added = self._rewrite()
        return lines + self._added

    def _rewrite(self) -> bytes:
        handler, head = self._handler, self._head
        via = handler.via_old if head.http10 else handler.via
        if handler.fields is None:
            return via
        return handler.fields.rewrite(head.lines, head.marked, self._peer, head.host) + via

    def again(self, head: ResponseHead) -> Action | None:
        return self._inner.again(head)

    def respond(self, head: ResponseHead) -> None:
        self._inner.respond(head)
        if self._handler.via:
            head.lines.append(self._handler.via)

    def fail(self, reason: Reason, detail: str) -> Answer:
        return self._inner.fail(reason, detail)

    def finish(self, status: int, timing: Timing, fault: Reason | None, *, whole: bool) -> None:
        self._inner.finish(status, timing, fault, whole=whole)
