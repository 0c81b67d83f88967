"""Connections we open, one exchange at a time.

A connection goes back to its pool only when everything about it is known: the request was sent
whole, the response was read whole, nothing came after it, and neither side wants to close.
"""

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

from sidecar.core.outcome import Reason
from sidecar.wire.beginnings import is_hopeless_answer
from sidecar.wire.bodies import BodyReader, ChunkedBody, LengthBody, UntilCloseBody
from sidecar.wire.deadlines import NEVER
from sidecar.wire.fields import CONTENT_LENGTH
from sidecar.wire.heads import HEAD_END, MessageError, ResponseHead
from sidecar.wire.response_head import parse_response_head
from sidecar.wire.sockets import last_read
from sidecar.wire.trailers import relay_to
from sidecar.wire.tunnel import TunnelEnd
from sidecar.wire.websocket import SWITCHED

if TYPE_CHECKING:
    from sidecar.wire.pool import Pool

MAX_INTERIM_RESPONSES = 16
MAX_DROPPED_BYTES = 16 * 1024
DROP_SECONDS = 1.0
"""How much of an answer that nobody wants is read away to keep its connection, and for how long."""
_UNAUTHORIZED = 401
WRITE_HIGH_WATER_BYTES = 64 * 1024
"""Bytes that may wait in a write buffer before the other side's reading is paused."""


class Requester(Protocol):
    """The downstream side of the exchange that an upstream connection is serving."""

    head_only: bool
    """The request was HEAD: no content follows, whatever the fields say."""
    chunks_allowed: bool
    """The caller speaks HTTP/1.1."""

    @property
    def request_sent(self) -> bool:
        """Whether the whole request has been passed on."""
        ...

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is due: to the whole request, or to an expectation of 100 Continue."""
        ...

    @property
    def takes_trailers(self) -> bool:
        """Whether the caller said ``TE: trailers``."""
        ...

    def asks_again(self, head: ResponseHead) -> bool:
        """A 401 came: whether its answer is not wanted. ``ask_again`` follows at once."""
        ...

    def ask_again(self) -> None: ...
    def interim_response(self, head: ResponseHead) -> None: ...
    def switched(self, head: ResponseHead, data: bytes) -> None:
        """A 101 came, and *data* after it: take the connection, or raise ``MessageError``."""
        ...

    def response_begun(self, head: ResponseHead, chunked: bool, data: bytes) -> None: ...
    def response_continued(self, data: bytes) -> None: ...
    def relay_trailers(self, lines: list[bytes]) -> bytes: ...
    def response_ended(self) -> None: ...
    def upstream_lost(self, reason: Reason, detail: str, *, stale: bool) -> None:
        """*stale*: the connection had been idle before, and ended without a byte of an answer."""
        ...

    def upstream_blocked(self) -> None: ...
    def upstream_unblocked(self) -> None: ...


class UpstreamConnection:
    """One connection to the app or to a destination; serves one exchange at a time."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._buffer = b""
        self._body: BodyReader | None = None
        self._reusable = False
        self._last = False
        self._interim = 0
        self._paused = False
        self._unsent = 0
        self._dropped = 0
        self.is_blocked = False
        """The peer reads more slowly than we write; whoever writes must wait."""
        self.is_open = False
        self.was_idle = False
        """It has been in the pool, so the peer may be about to close it."""
        self.requester: Requester | None = None
        self.deadline = NEVER
        self.transport: asyncio.Transport

    # --- called by the requester ---

    def send(self, requester: Requester, data: bytes, *, last: bool) -> None:
        """Begin an exchange with the request's head and what there is of its content.

        After the *last* one the connection is closed.
        """
        self.requester = requester
        self._last = last
        self._body = None
        self._interim = 0
        self.deadline = NEVER
        self.transport.write(data)

    def write(self, data: bytes) -> None:
        self.transport.write(data)

    def expect_response(self, now: float) -> None:
        """The request is sent: from *now* the response's head is awaited."""
        if self._body is None and not self.is_blocked:
            self.deadline = now + self._pool.limits.response_timeout_seconds

    def pause(self) -> None:
        """The caller reads more slowly than we deliver."""
        if not self._paused and not self.transport.is_closing():
            self._paused = True
            self.deadline = NEVER  # the caller's deadline counts now
            self.transport.pause_reading()

    def resume(self, now: float) -> None:
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.rearm(now)
            self.transport.resume_reading()

    def release(self) -> None:
        """Nothing was sent: the connection is as good as before."""
        self._pool.put(self)

    def hand_over(self, end: TunnelEnd) -> None:
        """The connection is part of a tunnel from now on."""
        self.requester = None
        self._pool.handed_over(self, end)
        end.take_over(self.transport, paused=self._paused, blocked=self.is_blocked)

    def abort(self) -> None:
        """Give up the connection and whatever it was doing."""
        self.requester = None
        self.deadline = NEVER
        self.transport.abort()

    def rearm(self, now: float) -> None:
        """Begin the time of the present state anew."""
        limits = self._pool.limits
        if self._paused:
            self.deadline = NEVER
        elif self.is_blocked or self._body is not None:
            self.deadline = now + limits.body_timeout_seconds
        elif self.requester is not None and self.requester.is_waiting:
            self.deadline = now + limits.response_timeout_seconds
        else:
            self.deadline = NEVER

    # --- asyncio.Protocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        self.is_open = True
        self._pool.opened(self)

    def pause_writing(self) -> None:
        self.is_blocked = True
        if self.requester is not None:
            self.rearm(self._pool.clock())
            self.requester.upstream_blocked()

    def resume_writing(self) -> None:
        self.is_blocked = False
        if self.requester is not None:
            self.rearm(self._pool.clock())
            self.requester.upstream_unblocked()

    def data_received(self, data: bytes) -> None:
        requester = self.requester
        if requester is None:
            if self._body is not None:
                self._read_away(self._body, data)
            else:  # bytes that belong to no request: not to be trusted
                self.transport.abort()
            return
        try:
            if self._body is None:
                self._receive_head(requester, data)
            else:
                self._receive_body(requester, self._body, data)
        except MessageError as error:
            self._lost(Reason.UPSTREAM_MALFORMED, error.detail)

    def _receive_head(self, requester: Requester, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        while True:
            end = data.find(HEAD_END)
            limits = self._pool.limits
            if end < 0 or end > limits.max_head_bytes:
                if len(data) >= limits.max_head_bytes + len(HEAD_END):
                    raise MessageError(
                        Reason.UPSTREAM_MALFORMED,
                        f"the header section is over {limits.max_head_bytes} bytes",
                    )
                if is_hopeless_answer(data):
                    raise MessageError(Reason.UPSTREAM_MALFORMED, "what came begins no answer")
                self._buffer = data
                return
            head = parse_response_head(data[: end + 2], self._pool.names, limits.max_fields)
            data = data[end + 4 :]
            if head.status >= 200:
                break
            if head.status == SWITCHED:
                requester.switched(head, data)
                return
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                raise MessageError(Reason.UPSTREAM_MALFORMED, f"unexpected status {head.status}")
            if head.close:
                self._last = True
            requester.interim_response(head)
        self._begin_body(requester, head, data)

    def _begin_body(self, requester: Requester, head: ResponseHead, data: bytes) -> None:
        body: BodyReader
        chunked = False
        self._reusable = not head.close and not self._last
        if head.status == _UNAUTHORIZED and requester.asks_again(head):
            self._drop_answer(head, data, head_only=requester.head_only)
            requester.ask_again()
            return
        if requester.head_only or head.status == 204 or head.status == 304:
            body = LengthBody(0)
            if head.status == 204:  # which must not have one (RFC 9110, 8.6)
                head.drop(CONTENT_LENGTH)
                if head.length or head.chunked:  # and whoever says so may send it, too
                    self._reusable = False
        elif head.chunked:
            chunked = requester.chunks_allowed
            relay = None
            if requester.takes_trailers:
                relay = relay_to(requester.relay_trailers, head, self._pool.names)
            body = ChunkedBody(chunked_onward=chunked, relay=relay)
        elif head.length is not None:
            body = LengthBody(head.length)
        else:
            chunked = requester.chunks_allowed
            body = UntilCloseBody(chunked_onward=chunked)
            self._reusable = False
        self._body = body
        if body.done:
            out, rest = b"", data
        else:
            out, rest = body.feed(data) if data else (b"", b"")
        requester.response_begun(head, chunked, out)
        if body.done:
            self._end(requester, rest)
        elif not self._paused:
            self.deadline = self._pool.clock() + self._pool.limits.body_timeout_seconds

    def _drop_answer(self, head: ResponseHead, data: bytes, *, head_only: bool) -> None:
        """Nobody wants what follows *head*: keep the connection if that is soon read away."""
        self.requester = None
        self._dropped = 0
        body: BodyReader | None = None
        if head_only:
            body = LengthBody(0)
        elif head.chunked:
            body = ChunkedBody(chunked_onward=False)
        elif head.length is not None and head.length <= MAX_DROPPED_BYTES:
            body = LengthBody(head.length)
        if body is None or not self._reusable:
            self._leave_pool()
            return
        self.deadline = self._pool.clock() + DROP_SECONDS
        self._body = body
        if self._paused and not self.transport.is_closing():
            self._paused = False
            self.transport.resume_reading()
        self._read_away(body, data)
        if not body.done and self._pool.is_full:
            self._leave_pool()  # the place is needed now

    def _read_away(self, body: BodyReader, data: bytes) -> None:
        rest = data
        try:
            if data and not body.done:
                rest = body.feed(data)[1]
        except MessageError:
            self._leave_pool()
            return
        self._dropped += len(data)
        if not body.done:
            if self._dropped > MAX_DROPPED_BYTES:
                self._leave_pool()
        elif rest or self.transport.is_closing() or self.transport.get_write_buffer_size():
            self._leave_pool()
        else:
            self._body = None
            self._pool.put(self)

    def _leave_pool(self) -> None:
        """Give up the connection, and its place at once: the next request may need it."""
        self._body = None
        self.abort()
        self._pool.closed(self)

    def _receive_body(self, requester: Requester, body: BodyReader, data: bytes) -> None:
        out, rest = body.feed(data)
        if out:
            requester.response_continued(out)
        if body.done:
            self._end(requester, rest)
        elif not self._paused:
            self.deadline = self._pool.clock() + self._pool.limits.body_timeout_seconds

    def _end(self, requester: Requester, rest: bytes) -> None:
        keep = (
            self._reusable
            and not rest
            and requester.request_sent
            and not self.transport.is_closing()
            and self.transport.get_write_buffer_size() == 0
        )
        self.requester = None
        self._body = None
        if keep:
            if self._paused:  # the caller has yet to read all of it; the next one may not wait
                self._paused = False
                self.transport.resume_reading()
            self._pool.put(self)
        else:
            self.deadline = NEVER
            self.transport.abort()
        requester.response_ended()

    def eof_received(self) -> bool:
        """The peer will send no more: that is the end, whatever of ours it has not read yet."""
        self._ended_by_peer()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._pool.closed(self)
        if exc is None:
            self._ended_by_peer()
            return
        if self.requester is not None:
            # Writing failed, or the peer was rude; what it had said before may be a whole answer.
            data = last_read(self.transport)
            if data:
                self.data_received(data)
        self._lost(Reason.UPSTREAM_RESET, f"the connection was reset {self._stage()}")

    def _ended_by_peer(self) -> None:
        requester, body = self.requester, self._body
        if requester is None:
            return
        whole, out = (False, b"") if body is None else body.end()
        if not whole:
            self._lost(Reason.UPSTREAM_RESET, f"the connection was closed {self._stage()}")
            return
        self.abort()
        if out:
            requester.response_continued(out)
        requester.response_ended()

    def _stage(self) -> str:
        return "before an answer" if self._body is None else "in the middle of the answer"

    def expire(self, now: float) -> None:
        if self.requester is None:
            self.abort()
        elif self.is_blocked:
            self._give_up(now)
        elif self._body is None:
            self._lost(Reason.UPSTREAM_TIMEOUT, "no answer in time")
        else:
            self._lost(Reason.UPSTREAM_TIMEOUT, "the answer stopped coming")

    def _give_up(self, now: float) -> None:
        """The request is not read; a peer that reads slowly gets more time."""
        unsent = self.transport.get_write_buffer_size()
        before, self._unsent = self._unsent, unsent
        if unsent == before:
            self._lost(Reason.UPSTREAM_TIMEOUT, "the request was not read in time")
        else:
            self.rearm(now)

    @property
    def buffered_bytes(self) -> int:
        """Bytes kept for this connection in our own memory, in either direction."""
        return len(self._buffer) + self.transport.get_write_buffer_size()

    def shut(self) -> None:
        """End whatever is in progress, because we stop."""
        self.was_idle = False  # or it would be begun again
        self._lost(Reason.UPSTREAM_RESET, "the sidecar is stopping")

    def _lost(self, reason: Reason, detail: str) -> None:
        requester = self.requester
        answered = self._body is not None or self._buffer or self._interim
        self.requester = None
        self.deadline = NEVER
        self.transport.abort()
        if requester is not None:
            stale = reason is Reason.UPSTREAM_RESET and self.was_idle and not answered
            requester.upstream_lost(reason, detail, stale=stale)
