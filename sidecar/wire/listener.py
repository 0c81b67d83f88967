"""A bound socket, the connections it accepted, and how it stops."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from typing import Any, Final, Protocol

from sidecar.core.outcome import Reason
from sidecar.wire.deadlines import Deadlines
from sidecar.wire.downstream import Downstream
from sidecar.wire.exchange import Answer, Handler
from sidecar.wire.fields import NameTable
from sidecar.wire.limits import WireLimits
from sidecar.wire.tls import ListenerTls, TlsGate
from sidecar.wire.tunnel import Tunnel

BACKLOG: Final = 1024
MAX_REFUSED_CONNECTIONS: Final = 128
"""Connections over the limit that may wait to read why; further ones are cut off."""
_ABORT_SECONDS: Final = 1.0
"""What an aborted connection may take to tell its exchange: one turn of the loop, in practice."""


class Accepted(Protocol):
    """A connection that others opened to us, whatever is spoken on it."""

    deadline: float

    @property
    def buffered_bytes(self) -> int: ...
    def expire(self, now: float) -> None: ...
    def close_idle(self) -> None: ...
    def drain(self) -> None: ...
    def abort(self) -> None: ...


class Listener:
    """One listening socket in front of one handler.

    Over *max_connections* a new connection is answered 503 and closed; those that are open stay.
    """

    def __init__(
        self,
        handler: Handler,
        *,
        limits: WireLimits,
        names: NameTable,
        deadlines: Deadlines,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        accepts: Callable[[str], bool],
        connection: type[Downstream] = Downstream,
        tls: ListenerTls | None = None,
    ) -> None:
        """*accepts* says whether a peer with this address may use the listener at all.

        Where *tls* is given, connections speak TLS only.
        Each connection is a *connection*: a forward proxy serves more forms of request.
        """
        self._connection = connection
        self.handler = handler
        self.limits = limits
        self.names = names
        self.clock = clock
        self.draining = False
        """Whoever asks is answered, and told to ask elsewhere next time."""
        self.stopped = False
        """Whoever connects is refused."""
        self._idle_ends: asyncio.TimerHandle | None = None
        self.deadlines = deadlines
        self._wall_clock = wall_clock
        self._accepts = accepts
        self._tls = tls
        self._connections: set[Accepted] = set()
        self.tunnels = 0
        self._handshakes: set[TlsGate] = set()
        self._server: asyncio.Server | None = None
        self._heir: Listener | None = None
        """Who has the socket that was ours."""
        self._empty = asyncio.Event()
        self._empty.set()
        self.date = b""
        self._tick(0.0)

    def accepts_like(self, other: "Listener") -> bool:
        """Whether a connection that is open here would be one of *other*'s as well."""
        return (
            self._connection is other._connection
            and self._accepts is other._accepts
            and (None if self._tls is None else self._tls.terms)
            == (None if other._tls is None else other._tls.terms)
            and (self._tls is None) == (other._tls is None)
        )

    def take_over(self, other: "Listener") -> None:
        """Serve from now on as *other* would, which accepts alike and was never started.

        Connections stay open and exchanges in progress end as they began: only their next request
        is served otherwise. A handshake under way ends under the context that it began with.
        """
        self.handler = other.handler
        self.limits = other.limits
        self.names = other.names
        self._tls = other._tls

    def hand_over(self, heir: "Listener") -> None:
        """Give the socket to *heir*, which was never started. What is open here is not given.

        Who connected under other terms, in the clear for example, is not served under new ones.
        """
        heir._server, self._server = self._server, None
        heir._begin()
        self._heir = heir

    def _tick(self, _now: float) -> None:
        self.date = formatdate(self._wall_clock(), usegmt=True).encode("ascii")

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Bind and listen; return the address in use.

        Raises:
            OSError: the address cannot be bound.
        """
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accepted, host, port, backlog=BACKLOG)
        self._begin()
        server: Any = self._server  # whose sockets are a tuple, says asyncio; uvloop has a list
        name = server.sockets[0].getsockname()
        return name[0], name[1]

    def _begin(self) -> None:
        self._tick(0.0)
        self.deadlines.every_sweep(self._tick)

    def _accepted(self) -> Any:
        if self._heir is not None:
            return self._heir._accepted()
        if self._tls is None:
            return self._connection(self)
        return TlsGate(self, self._tls)

    def opened(self, connection: Downstream, peer: str) -> Answer | None:
        """Take note of a new connection; an answer means that it is refused."""
        self._connections.add(connection)
        self.deadlines.add(connection)
        self._empty.clear()
        if not self._accepts(peer):
            return self.handler.malformed(Reason.PEER_REFUSED, "the peer is not of this pod")
        if self.stopped:  # it was accepted by the kernel before we stopped
            return self.handler.malformed(Reason.DRAINING, "accepted after the stop")
        excess = len(self._connections) + len(self._handshakes) - self.limits.max_connections
        if excess <= 0:
            return None
        answer = self.handler.malformed(
            Reason.OVERLOADED, f"over {self.limits.max_connections} connections"
        )
        if excess > MAX_REFUSED_CONNECTIONS:
            connection.abort()
        return answer

    def handed_over(self, connection: Downstream, tunnel: Tunnel) -> None:
        """*tunnel* has the place of *connection* until its caller's side is closed."""
        self._connections.add(tunnel)  # first: the listener is not empty in between
        self.deadlines.add(tunnel)
        self.tunnels += 1
        self.closed(connection)

    def tunnel_closed(self, tunnel: Tunnel) -> None:
        self.tunnels -= 1
        self.closed(tunnel)

    def closed(self, connection: Accepted) -> None:
        self._connections.discard(connection)
        self.deadlines.discard(connection)
        self.check_empty()

    def shakes_hands(self, gate: TlsGate, peer: str) -> bool:
        """Take note of a handshake that begins; false means that it may not.

        Handshakes count as connections, so that slow ones cannot be more than those may be.
        """
        open_now = len(self._connections) + len(self._handshakes)
        if (
            self.stopped
            or not self._accepts(peer)
            or open_now >= self.limits.max_connections + MAX_REFUSED_CONNECTIONS
        ):
            return False
        self._handshakes.add(gate)
        self._empty.clear()
        return True

    def shook_hands(self, gate: TlsGate) -> None:
        """The handshake is over; what became of the connection is said by ``opened``, if at all."""
        self._handshakes.discard(gate)

    def check_empty(self) -> None:
        if not self._connections and not self._handshakes:
            self._empty.set()

    @property
    def connections(self) -> int:
        return len(self._connections)

    @property
    def handshakes(self) -> int:
        return len(self._handshakes)

    @property
    def buffered_bytes(self) -> int:
        return sum(connection.buffered_bytes for connection in self._connections)

    def wind_down(self, grace_seconds: float) -> None:
        """Go on accepting and serving, and tell every caller to close its connection.

        A caller that is idle is told with its next answer. Whoever is idle still after
        *grace_seconds* is closed: by then those who would have asked have mostly done so, and
        crossed a closing connection less often than they would have at once.
        """
        if not self.draining:
            self.draining = True
            loop = asyncio.get_running_loop()
            self._idle_ends = loop.call_later(grace_seconds, self._close_idle)

    def _close_idle(self) -> None:
        for connection in list(self._connections):
            connection.close_idle()

    def stop(self) -> None:
        """Accept no more. Exchanges in progress go on."""
        self.draining = self.stopped = True
        if self._idle_ends is not None:
            self._idle_ends.cancel()
        if self._server is not None:
            self._server.close()

    async def drain(self, timeout_seconds: float) -> None:
        """Accept no more, let exchanges in progress finish, then close what is left."""
        self.stop()
        for gate in list(self._handshakes):
            gate.abort()
        for connection in list(self._connections):
            connection.drain()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._empty.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()
            with suppress(TimeoutError):
                async with asyncio.timeout(_ABORT_SECONDS):
                    await self._empty.wait()
        finally:
            self.deadlines.no_longer(self._tick)
