"""The pace of a connection that others opened to us: who waits for whom, and for how long.

Owns pausing, lingering and the deadline of each state; what is read and written belongs to
``sidecar.wire.downstream``.

Memory of one such connection is bounded whatever its two peers do: at most ``MAX_HELD_BYTES`` and
one read are kept of what arrived, and at most ``WRITE_HIGH_WATER_BYTES`` and one read wait to be
written, on either side.
"""

import asyncio
import socket
import struct
from typing import TYPE_CHECKING, Final, cast

from sidecar.wire.deadlines import NEVER
from sidecar.wire.upstream import WRITE_HIGH_WATER_BYTES

if TYPE_CHECKING:
    from sidecar.wire.listener import Listener

MAX_HELD_BYTES: Final = 64 * 1024
"""Content or pipelined bytes kept while nothing can take them; over it reading is paused."""
LINGER_SECONDS: Final = 2.0
"""How long an answered connection is still read, so that a reset does not destroy the answer."""
LINGER_BYTES: Final = 1024 * 1024
"""How much is read and thrown away in that time."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


# Where in the request we are. Plain integers: an enumeration's member costs five times as much to
# look up, a dozen times per request.
IDLE: Final = 0
HEAD: Final = 1
BODY: Final = 2
COMPLETE: Final = 3
"""The request is read; its response is not yet complete."""
LINGER: Final = 4
CLOSED: Final = 5


class PacedConnection:
    """Flow control, deadlines and the orderly end of one accepted connection.

    There is always a deadline here or on the upstream connection, whoever is waited for.
    """

    def __init__(self, listener: "Listener") -> None:
        self._listener = listener
        self._transport: asyncio.Transport
        self._reading: int = IDLE
        self._paused = False
        self._write_blocked = False
        self._expecting = False
        """The caller sends its content after 100 Continue: the other side's turn."""
        self._unsent = 0
        self._lingered = 0
        self.deadline = NEVER

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=WRITE_HIGH_WATER_BYTES)
        self._rearm(self._listener.clock())

    def _pause(self) -> None:
        if not self._paused and not self._transport.is_closing():
            self._paused = True
            self._transport.pause_reading()
            if self._reading == BODY and not self._write_blocked:
                self.deadline = NEVER  # we are the ones who wait

    def _unpause(self) -> None:
        if self._paused and not self._transport.is_closing():
            self._paused = False
            self._rearm(self._listener.clock())
            self._transport.resume_reading()

    def _rearm(self, now: float) -> None:
        """Begin the time of the present state anew."""
        limits = self._listener.limits
        reading = self._reading
        if reading >= LINGER:
            return
        if self._write_blocked or (reading == BODY and not self._paused and not self._expecting):
            self.deadline = now + limits.body_timeout_seconds
        elif reading == HEAD:
            self.deadline = now + limits.header_timeout_seconds
        elif reading == IDLE:
            self.deadline = now + limits.idle_timeout_seconds
        else:
            self.deadline = NEVER

    def _content_came(self, size: int, now: float, *, bounded: bool) -> None:
        """Begin the time for more content anew; where it is *bounded*, not all of it.

        Each byte gives ``1 / min_body_rate`` of a second more, up to the whole timeout: whoever
        sends more slowly than that in the long run runs out of time.
        """
        limits = self._listener.limits
        before = self.deadline
        self._rearm(now)
        if (
            bounded
            and limits.min_body_bytes_per_second
            and self._reading == BODY
            and not self._write_blocked
        ):
            self.deadline = min(self.deadline, before + size / limits.min_body_bytes_per_second)

    def _give_up(self, now: float) -> None:
        """The peer took too long to read or to go; one that reads slowly gets more time."""
        unsent = self._transport.get_write_buffer_size()
        before, self._unsent = self._unsent, unsent
        if unsent in (0, before):
            self.deadline = NEVER
            self._transport.abort()
        else:
            self.deadline = now + self._listener.limits.body_timeout_seconds

    def _begin_linger(self) -> None:
        """Send what is written, then read on for a while before closing (RFC 9112, 9.6)."""
        self._reading = LINGER
        if self._transport.is_closing():
            return
        self.deadline = self._listener.clock() + LINGER_SECONDS
        self._half_close()
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _half_close(self) -> None:
        """Tell the peer that nothing comes after what is written; go on reading."""
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _linger(self, size: int) -> None:
        self._lingered += size
        if self._lingered > LINGER_BYTES:
            self._pause()  # what is left of the time is for reading our answer

    def _reset(self) -> None:
        """End with a reset: an orderly close could be taken for the end of the content."""
        raw = self._transport.get_extra_info("socket")
        if raw is not None and not self._transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()

    def abort(self) -> None:
        self._transport.abort()
