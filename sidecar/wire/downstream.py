"""Connections others open to us: requests in, responses out, one exchange at a time.

Owns the order of things in one exchange: when the other side must wait, and when the connection
must close. What may be forwarded, an ``Exchange`` decides. Finding requests in what arrives belongs
to ``sidecar.wire.reception``, sending them on to ``sidecar.wire.delivery``, and how long each
state may last to ``sidecar.wire.pacing``.
"""

import asyncio
from typing import TYPE_CHECKING

from sidecar.core.outcome import Reason
from sidecar.wire.answers import CONNECTION_CLOSE, serialize
from sidecar.wire.bodies import BodyReader, ChunkedBody, LengthBody
from sidecar.wire.deadlines import NEVER
from sidecar.wire.delivery import Delivery
from sidecar.wire.exchange import CLIENT_GONE, Answer, Timing
from sidecar.wire.fields import CONTENT_LENGTH
from sidecar.wire.heads import MessageError, RequestHead, ResponseHead
from sidecar.wire.pacing import (
    BODY,
    CLOSED,
    COMPLETE,
    HEAD,
    IDLE,
    LINGER,
    LINGER_SECONDS,
    MAX_HELD_BYTES,
)
from sidecar.wire.trailers import announced
from sidecar.wire.tunnel import Tunnel
from sidecar.wire.upstream import UpstreamConnection
from sidecar.wire.websocket import SWITCHED, UPGRADE_LINES, is_accepted

if TYPE_CHECKING:
    from sidecar.wire.listener import Listener


class Downstream(Delivery):
    """One connection from a caller (inbound) or from the app (outbound)."""

    def __init__(self, listener: "Listener") -> None:
        super().__init__(listener)
        self._peer = ""
        # of the exchange in progress
        self._body: BodyReader | None = None
        self._status = 0
        self._close = False
        self._passed_interim = False
        self.head_only = False
        self.chunks_allowed = True

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        refusal = self._listener.opened(self, self._peer)
        if refusal is not None:
            self._write_answer(refusal)
            self._begin_linger()

    def data_received(self, data: bytes) -> None:
        reading = self._reading
        if reading <= HEAD:
            self._buffer = self._buffer + data if self._buffer else data
            self._read_requests()
        elif reading == BODY:
            self._read_body(data)
        elif reading == COMPLETE:
            self._buffer += data
            if len(self._buffer) > MAX_HELD_BYTES:
                self._pause()
        elif reading == LINGER:
            self._linger(len(data))

    def eof_received(self) -> bool:
        """A caller that stops sending is gone: its identity must not live on (half-close)."""
        answering = self._exchange is not None and self._status != 0
        self._abandon()
        self._reading = LINGER
        self._buffer = b""
        self.deadline = self._listener.clock() + LINGER_SECONDS
        if answering:
            self._cut()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._abandon()
        self._reading = CLOSED
        self._listener.closed(self)

    def pause_writing(self) -> None:
        self._write_blocked = True
        self._rearm(self._listener.clock())
        if self._upstream is not None:
            self._upstream.pause()

    def resume_writing(self) -> None:
        self._write_blocked = False
        now = self._listener.clock()
        self._rearm(now)
        if self._upstream is not None:
            self._upstream.resume(now)
        if self._reading <= HEAD:
            self._unpause()
            self._read_requests()

    def expire(self, now: float) -> None:
        """The caller took too long: to send, to read, or to go away."""
        if self._reading == HEAD and not self._write_blocked:
            self._refuse_message(
                Reason.REQUEST_TIMEOUT, "the header section did not arrive in time"
            )
        elif self._reading == BODY and not self._write_blocked and not self._status:
            self._break_off(Reason.REQUEST_TIMEOUT, "the content did not arrive in time")
        else:
            self._give_up(now)

    # --- one exchange begins ---

    def _begin(self, head: RequestHead) -> None:
        listener = self._listener
        now = listener.clock()
        self._head = head
        self._timing = Timing(now)
        self._status = 0
        self._close = head.close
        self._expecting = head.expects
        self._passed_interim = self._was_refused = False
        self.head_only = head.method == b"HEAD"
        self.chunks_allowed = not head.http10
        self._exchange = exchange = listener.handler.begin(head, self._peer)
        if head.chunked:
            self._body = ChunkedBody(chunked_onward=True, max_bytes=listener.limits.max_body_bytes)
        elif head.length:
            self._body = LengthBody(head.length)
        else:
            self._body = None
            self._reading = COMPLETE
            self.deadline = NEVER
            self._act(exchange.start())
            return
        self._reading = BODY
        self._rearm(now)
        if self._buffer:
            data, self._buffer = self._buffer, b""
            self._read_body(data)
            if self._exchange is not exchange:  # the content was malformed and has been answered
                return
        self._act(exchange.start())

    def _read_body(self, data: bytes) -> None:
        body = self._body
        if body is None or self._exchange is None:
            return
        try:
            out, rest = body.feed(data)
        except MessageError as error:
            self._break_off(error.reason, error.detail)
            return
        if body.done:
            self._reading = COMPLETE
            self._buffer = rest
        now = self._listener.clock()
        if self._expecting:  # which obliges nobody to wait (RFC 9110, 10.1.1)
            self._go_ahead(now)
        self._content_came(len(data), now, bounded=self._status == 0)
        upstream = self._upstream
        if upstream is None:
            self._hold(out)
        else:
            if out:
                self._stream(upstream, out)
            if body.done:
                upstream.expect_response(self._listener.clock())

    def _go_ahead(self, now: float) -> None:
        """The caller no longer waits for 100 Continue: from *now* it is its turn."""
        self._expecting = False
        self._rearm(now)
        if self._upstream is not None:
            self._upstream.rearm(now)

    # --- Requester: what the upstream connection tells us ---

    @property
    def request_sent(self) -> bool:
        return self._reading == COMPLETE

    @property
    def is_waiting(self) -> bool:
        return self._reading == COMPLETE or self._expecting

    @property
    def takes_trailers(self) -> bool:
        return self._head.takes_trailers

    def interim_response(self, head: ResponseHead) -> None:
        """Pass it on to whoever can read it, asked for or not (RFC 9110, 15.2)."""
        exchange = self._exchange
        if exchange is None:
            return
        if self._was_refused and (self._passed_interim or head.status == 100):
            return  # the caller has heard of that, or does not wait for it any more
        self._passed_interim = True
        if self._expecting and head.status == 100:
            self._go_ahead(self._listener.clock())
        if self.chunks_allowed and not self._transport.is_closing():
            exchange.respond(head)
            head.drop(CONTENT_LENGTH)  # which it must not have (RFC 9110, 8.6)
            self._transport.write(head.serialize(b""))

    def switched(self, head: ResponseHead, data: bytes) -> None:
        exchange, upstream = self._exchange, self._upstream
        if exchange is None or upstream is None:
            return
        if not is_accepted(head, self._head.upgrade):
            raise MessageError(Reason.UPSTREAM_MALFORMED, "a 101 that the request did not ask for")
        self._timing.answered = self._listener.clock()
        exchange.respond(head)
        answer = head.serialize(UPGRADE_LINES)
        self._begin_tunnel(upstream, SWITCHED, answer, data, framed=True)

    def _begin_tunnel(
        self, upstream: UpstreamConnection, status: int, answer: bytes, data: bytes, *, framed: bool
    ) -> None:
        """Answer, and leave both connections to a tunnel; the exchange lasts as long as that."""
        self._end_at(NEVER)
        if not self._transport.is_closing():
            self._transport.write(answer)
        self._timing.relayed = self._listener.clock()
        self._status = status
        early, self._buffer = self._buffer, b""
        self._reading = CLOSED
        self._upstream = None
        tunnel = Tunnel(self._listener, lambda fault: self._settle(status, fault), framed=framed)
        self._listener.handed_over(self, tunnel)
        tunnel.caller.take_over(self._transport, paused=self._paused, blocked=self._write_blocked)
        upstream.hand_over(tunnel.upstream)
        tunnel.begin(early, data)

    def response_begun(self, head: ResponseHead, chunked: bool, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            return
        clock = self._listener.clock
        self._timing.answered = clock()
        exchange.respond(head)
        self._status = head.status
        if self._held or self._replay_bytes:
            self._let_go()
        if self._reading == BODY or self._listener.draining:
            self._close = True
        if head.length is None and not chunked and not self.head_only and not self.chunks_allowed:
            self._close = True
        extra = b""
        if chunked:
            extra = b"transfer-encoding: chunked\r\n"
            if self.takes_trailers:
                extra += announced(head, self._listener.names)
        if self._close:
            extra += CONNECTION_CLOSE
        if not self._transport.is_closing():
            self._transport.write(head.serialize(extra) + data)
        self._timing.relayed = clock()

    def response_continued(self, data: bytes) -> None:
        if not self._transport.is_closing():
            self._transport.write(data)

    def relay_trailers(self, lines: list[bytes]) -> bytes:
        """Return what the caller gets of these trailer fields."""
        if self._exchange is None:
            return b""
        received = len(lines)
        section = ResponseHead(self._status, b"", lines)
        self._exchange.respond(section)
        return b"".join(section.lines[:received])  # what is added belongs to the head alone

    def response_ended(self) -> None:
        self._upstream = None
        self._complete()

    def upstream_lost(self, reason: Reason, detail: str, *, stale: bool) -> None:
        self._upstream = None
        if self._status:
            self._break_answer(reason)
        elif stale and self._repeatable:
            self._send_again()
        else:
            self._fail(reason, detail)

    def upstream_blocked(self) -> None:
        self._pause()

    def upstream_unblocked(self) -> None:
        self._unpause()

    # --- answering and ending ---

    def _break_off(self, reason: Reason, detail: str) -> None:
        """The request turned out to be bad after its exchange had begun."""
        self._stop_work()
        if self._status:
            self._break_answer(reason)
        else:
            self._close = True
            self._fail(reason, detail)

    def end_overdue(self) -> None:
        waiting = "a decision or a connection" if self._upstream is None else "the answer"
        self._stop_work()
        if self._status:
            self._break_answer(Reason.DEADLINE_EXCEEDED)
        else:
            self._fail(Reason.DEADLINE_EXCEEDED, f"the time was over while it waited for {waiting}")

    def _break_answer(self, reason: Reason) -> None:
        """The answer's head is out: an early end is the only honest sign that it is not whole."""
        self._settle(self._status, reason)
        self._cut()

    def _cut(self) -> None:
        """End at once; so that nobody takes it for the end of content that ends like that."""
        if self.chunks_allowed:
            self._transport.abort()
        else:
            self._reset()

    def _abandon(self) -> None:
        """Nobody waits for the answer any more."""
        self._stop_work()
        self._settle(self._status or CLIENT_GONE, None)

    def _refuse_message(self, reason: Reason, detail: str) -> None:
        """The bytes are no request: answer outside any exchange, and close."""
        self._close = True
        self.head_only = False
        self._write_answer(self._listener.handler.malformed(reason, detail))
        self._begin_linger()

    def _answer(self, answer: Answer) -> None:
        if self._reading == BODY or answer.close or self._listener.draining:
            self._close = True
        self._status = answer.status
        self._write_answer(answer)
        self._complete()

    def _write_answer(self, answer: Answer) -> None:
        if self._transport.is_closing():
            return
        self._transport.write(
            serialize(
                answer,
                date=self._listener.date,
                close=self._close or self._exchange is None,
                head_only=self.head_only,
            )
        )

    def _settle(self, status: int, fault: Reason | None, *, whole: bool = False) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            self._timing.ended = self._listener.clock()
            exchange.finish(status, self._timing, fault, whole=whole)
        self._body = None
        if self._held:
            self._let_go()
        if self._ending is not None:
            self._end_at(NEVER)

    def _complete(self) -> None:
        """The response is written: close, or be ready for the next request."""
        unread = self._reading == BODY
        self._settle(self._status, None, whole=True)
        if self._reading == CLOSED:
            return
        if self._close or unread or self._listener.draining:
            self._begin_linger()
            return
        self._reading = IDLE
        if self._write_blocked:
            return  # resume_writing goes on
        self.deadline = self._timing.ended + self._listener.limits.idle_timeout_seconds
        if self._paused:
            self._unpause()
        if self._buffer:
            self._read_requests()

    def _begin_linger(self) -> None:
        self._buffer = b""
        super()._begin_linger()

    @property
    def buffered_bytes(self) -> int:
        """Bytes kept for this connection in our own memory, in either direction."""
        return self._held_bytes + len(self._buffer) + self._transport.get_write_buffer_size()

    def close_idle(self) -> None:
        """Close between two requests; not what has begun."""
        if self._reading == IDLE:
            self._transport.close()

    def drain(self) -> None:
        """Close when idle; otherwise after the exchange in progress."""
        self.close_idle()
