"""Bytes carried both ways between two connections, once HTTP is over on them.

Owns both connections from that moment on: who waits for whom, what the end of one side means to
the other, and how long it may all stay silent. Whether there may be a tunnel was decided before.

Memory is bounded whatever the two peers do: what one of them does not read pauses the other at
``WRITE_HIGH_WATER_BYTES`` and one read.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final, Protocol, cast

from sidecar.core.outcome import Reason
from sidecar.wire.deadlines import NEVER
from sidecar.wire.frames import (
    GOING_AWAY,
    PROTOCOL_ERROR,
    FrameError,
    FrameFollower,
    close_frame,
)
from sidecar.wire.limits import WireLimits

LINGER_SECONDS: Final = 2.0
"""How long peers that were told to close may take to do so."""
DRAIN_IDLE_SECONDS: Final = 5.0
"""Silence that ends an opaque tunnel once we stop: apps keep such connections for later."""

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)

Ended = Callable[[Reason | None], None]
"""Told once, when the exchange behind the tunnel is over; a reason where it broke."""


class TunnelEnd:
    """One of the two connections. Everything that happens to it is the tunnel's to judge."""

    def __init__(self, tunnel: "Tunnel", follower: FrameFollower | None) -> None:
        """*follower* watches the frames that arrive here; ``None`` where bytes are opaque."""
        self._tunnel = tunnel
        self.transport: asyncio.Transport
        self.follower = follower
        self.when_closed: Callable[[TunnelEnd], None] = _ignore
        self.other: TunnelEnd
        self.has_ended = False
        """The peer will send no more."""
        self.is_told = False
        """It was told to close: nothing more is passed on to it."""
        self.is_blocked = False
        self.unsent = 0
        self._is_paused = False
        self._is_finished = False
        self.deadline = NEVER
        """The tunnel's counts while there are two of us."""

    # --- asyncio.Protocol ---

    def data_received(self, data: bytes) -> None:
        self._tunnel.carry(self, data)

    def eof_received(self) -> bool:
        """Half-close: the other direction goes on, where the transport can do that."""
        if not self.has_ended:
            self.has_ended = True
            self._tunnel.half_closed(self)
        return self.transport.can_write_eof() and not self.transport.is_closing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.has_ended = self.is_told = True
        self.deadline = NEVER
        self.when_closed(self)
        self._tunnel.lost(self, exc)

    def pause_writing(self) -> None:
        self.is_blocked = True
        self.other.pause()
        self._tunnel.rearm()

    def resume_writing(self) -> None:
        self.is_blocked = False
        self.other.resume()
        self._tunnel.rearm()

    # --- what the tunnel does with it ---

    def pause(self) -> None:
        if not self._is_paused and not self.has_ended and not self.transport.is_closing():
            self._is_paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._is_paused and not self.transport.is_closing():
            self._is_paused = False
            self.transport.resume_reading()

    def take_over(self, transport: asyncio.Transport, *, paused: bool, blocked: bool) -> None:
        """Become the connection's protocol, in the state of flow that it is in."""
        self.transport = transport
        self._is_paused = paused
        self.is_blocked = blocked
        transport.set_protocol(cast(asyncio.Protocol, self))

    def write(self, data: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(data)

    def finish(self) -> None:
        """Send no more (half-close), after what is still to be written."""
        if self._is_finished or self.transport.is_closing():
            return
        self._is_finished = True
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def reset(self) -> None:
        """End as the other side ended: an orderly close would claim that everything was said."""
        raw = self.transport.get_extra_info("socket")
        if raw is not None and not self.transport.is_closing():
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self.transport.abort()

    def shut(self) -> None:
        """End whatever is in progress, because we stop."""
        self._tunnel.abort()

    def expire(self, now: float) -> None:  # noqa: ARG002
        """The other side is gone, and what it said last is not read."""
        self.deadline = NEVER
        self.transport.abort()

    @property
    def buffered_bytes(self) -> int:
        """Bytes kept for this connection in our own memory, in either direction."""
        held = 0 if self.follower is None else self.follower.held_bytes
        return held + self.transport.get_write_buffer_size()


class Keeper(Protocol):
    """Who counts the caller's connection among its own: the listener."""

    limits: WireLimits
    clock: Callable[[], float]
    stopped: bool

    def tunnel_closed(self, tunnel: "Tunnel") -> None: ...


class Tunnel:
    """Two connections that are one from now on.

    *framed* tunnels carry WebSocket frames and can be closed between two of them; of others only
    bytes are known, and all that can be done to them is to cut them off.
    """

    def __init__(self, keeper: Keeper, ended: Ended, *, framed: bool) -> None:
        """Both ends have to ``take_over`` a connection; then it may ``begin``."""
        self._keeper = keeper
        self._ended: Ended | None = ended
        self._clock = keeper.clock
        self._limits = keeper.limits
        self._framed = framed
        self._code = 0
        """Why both sides are being closed, 0 while they are not."""
        self._lingers = False
        self._drains = False
        self.caller = TunnelEnd(self, FrameFollower(masked=True) if framed else None)
        self.upstream = TunnelEnd(self, FrameFollower(masked=False) if framed else None)
        self.caller.other, self.upstream.other = self.upstream, self.caller
        self.deadline = NEVER

    def begin(self, early: bytes, first: bytes) -> None:
        """Carry what both sides have sent already, and whatever comes."""
        for end in (self.caller, self.upstream):
            if end.is_blocked:
                end.other.pause()
            else:
                end.other.resume()
        self.rearm()
        if early:
            self.carry(self.caller, early)
        if first:
            self.carry(self.upstream, first)
        if self._keeper.stopped:
            self.drain()

    # --- carrying ---

    def carry(self, source: TunnelEnd, data: bytes) -> None:
        target = source.other
        if target.is_told:
            return
        follower = source.follower
        if follower is None:
            target.write(data)
            self.rearm()
            return
        try:
            out = follower.feed(data, one_frame=self._code != 0)
        except FrameError as error:
            target.write(error.good)
            self._violated(source)
            return
        if out:
            target.write(out)
        self.rearm()
        if self._code:
            self._tell(target)

    def half_closed(self, source: TunnelEnd) -> None:
        """Pass the end on, and wait for the other one."""
        source.other.finish()
        if source is self.caller and self._framed:
            # Whoever stops sending is gone: its identity must not live on, whatever still comes.
            self._finish(None)
        if source.other.has_ended:
            source.transport.close()
            source.other.transport.close()
        elif source.is_told:
            source.transport.close()
        self.rearm()

    def lost(self, end: TunnelEnd, error: Exception | None) -> None:
        if end is self.caller:
            self._keeper.tunnel_closed(self)
        broke = error is not None and end is self.upstream and not self._code
        self._finish(Reason.UPSTREAM_RESET if broke else None)
        other = end.other
        if other.transport.is_closing():
            return
        if error is not None:
            other.reset()
        else:
            other.transport.close()
            self.deadline = other.deadline = self._clock() + self._limits.body_timeout_seconds

    # --- ending ---

    def close_idle(self) -> None:
        """Stay: a tunnel is in use for as long as it is open."""

    def drain(self) -> None:
        """Say good-bye between two frames; what has no frames may go on while it is in use."""
        if self._framed:
            self._close(GOING_AWAY)
        else:
            self._drains = True
            self.rearm()

    def expire(self, now: float) -> None:
        """Nothing has moved for too long; a peer that reads slowly gets more time."""
        if self._has_moved():
            self.rearm(now)
        elif self._framed and not self._code and not self.caller.is_blocked:
            self._close(GOING_AWAY)
        else:
            self.deadline = NEVER
            self.abort()

    def abort(self) -> None:
        """Cut both off."""
        self._finish(None)
        self.caller.transport.abort()
        self.upstream.transport.abort()

    @property
    def buffered_bytes(self) -> int:
        """Of the caller's connection; the upstream's pool counts the other one."""
        return self.caller.buffered_bytes

    def rearm(self, now: float | None = None) -> None:
        """Begin the time of the present state anew."""
        if self._lingers:
            return
        limits = self._limits
        hurried = (
            self._code
            or self.caller.is_blocked
            or self.upstream.is_blocked
            or (self._framed and self._is_ending)
        )
        if hurried:
            seconds = limits.body_timeout_seconds
        elif self._drains:
            seconds = DRAIN_IDLE_SECONDS
        else:
            seconds = limits.tunnel_idle_timeout_seconds
        self.deadline = (self._clock() if now is None else now) + seconds

    @property
    def _is_ending(self) -> bool:
        """One side has said its last word, so that the other has no reason to take long."""
        return any(
            end.has_ended or (end.follower is not None and end.follower.closed)
            for end in (self.caller, self.upstream)
        )

    def _has_moved(self) -> bool:
        moved = False
        for end in (self.caller, self.upstream):
            unsent = end.transport.get_write_buffer_size()
            before, end.unsent = end.unsent, unsent
            moved = moved or (end.is_blocked and unsent not in (0, before))
        return moved

    def _violated(self, source: TunnelEnd) -> None:
        """*source* sent what no frame is: nobody can know any more where a frame begins."""
        self._finish(
            Reason.MESSAGE_MALFORMED if source is self.caller else Reason.UPSTREAM_MALFORMED
        )
        self._code = PROTOCOL_ERROR
        self._tell(source.other)
        self._tell(source)
        if not self._lingers:  # in the middle of the other direction's frame
            self._linger()

    def _close(self, code: int) -> None:
        if self._code:
            return
        self._code = code
        for end in (self.caller, self.upstream):
            self._tell(end)
        self.rearm()

    def _tell(self, end: TunnelEnd) -> None:
        """Say to *end* that it is over, if what it was sent stops between two frames."""
        follower = end.other.follower
        if end.is_told or follower is None or not follower.at_boundary:
            return
        end.is_told = True
        if not follower.closed:
            end.write(close_frame(self._code, masked=end is self.upstream))
        end.finish()
        end.other.resume()  # its bytes go nowhere now, but its end must be seen
        if end.has_ended:
            end.transport.close()
        if end.other.is_told:
            self._linger()

    def _linger(self) -> None:
        self._lingers = True
        self.deadline = self._clock() + LINGER_SECONDS
        self._finish(None)

    def _finish(self, reason: Reason | None) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(reason)


def _ignore(_end: TunnelEnd) -> None:
    """Stand in until somebody wants to know."""
