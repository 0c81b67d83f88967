"""Connections to one origin: idle ones for the next request, and a bound on all of them."""

import asyncio
import random
from collections.abc import Callable
from typing import cast

from sidecar.wire.deadlines import NEVER, Deadlines
from sidecar.wire.fields import NameTable
from sidecar.wire.limits import WireLimits
from sidecar.wire.sockets import is_quiet
from sidecar.wire.tunnel import TunnelEnd
from sidecar.wire.upstream import UpstreamConnection


class PoolFullError(Exception):
    """Every connection that the pool may have is busy."""


class Pool:
    """Connections to one origin: idle ones for re-use, newest first, and a bound on all.

    A server that answers without reading a request's content reads the rest of it as the next
    request: one that nobody checked. Where *reuse_after_content* is false, a request with content
    is therefore the last one on its connection and says so.

    At the bound a request is refused with ``overloaded`` and not queued: a queue here would only
    hide that the app is slower than its callers.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        limits: WireLimits,
        names: NameTable,
        deadlines: Deadlines,
        clock: Callable[[], float],
        reuse_after_content: bool = True,
    ) -> None:
        self.reuse_after_content = reuse_after_content
        self.host = host
        self.port = port
        self.limits = limits
        self.names = names
        self.clock = clock
        self._deadlines = deadlines
        self._idle: list[UpstreamConnection] = []
        self._all: set[UpstreamConnection | TunnelEnd] = set()
        self._opening = 0
        self.jitter: Callable[[], float] = random.random
        """Between 0 and 1: which part of a pause is made (full jitter)."""
        self.connect_retried: Callable[[], None] = _nothing
        """Told of every connection that is tried once more."""

    def take(self) -> UpstreamConnection | None:
        """Return an idle connection, or ``None``: then ``open`` one."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.transport.is_closing():
                connection.deadline = NEVER
                return connection
        return None

    def take_quiet(self) -> UpstreamConnection | None:
        """Like ``take``, for a request that must not be repeated.

        A connection on which something is to be read was closed by the peer, or is out of step.
        """
        while (connection := self.take()) is not None:
            if is_quiet(connection.transport):
                break
            connection.abort()
            self.closed(connection)
        return connection

    def put(self, connection: UpstreamConnection) -> None:
        """Keep *connection* for the next request."""
        connection.was_idle = True
        connection.deadline = self.clock() + self.limits.upstream_idle_timeout_seconds
        self._idle.append(connection)

    @property
    def is_full(self) -> bool:
        return len(self._all) + self._opening >= self.limits.max_upstream_connections

    @property
    def is_opening(self) -> bool:
        return self._opening > 0

    @property
    def connections(self) -> int:
        return len(self._all)

    @property
    def idle_connections(self) -> int:
        return len(self._idle)

    @property
    def buffered_bytes(self) -> int:
        return sum(connection.buffered_bytes for connection in self._all)

    async def open(self) -> UpstreamConnection:
        """Connect within the connect timeout.

        Raises:
            PoolFullError: others took the last ones since ``is_full`` was asked.
            OSError: no connection could be made; ``TimeoutError`` when it took too long.
        """
        if self.is_full:
            raise PoolFullError
        connection = self._new_connection()
        self._opening += 1
        try:
            async with asyncio.timeout(self.limits.connect_timeout_seconds):
                await self._connect(connection)
        except BaseException:
            # uvloop closes a connection whose opener was cancelled without telling its protocol.
            self.closed(connection)
            raise
        finally:
            self._opening -= 1
        if not connection.is_open:
            raise ConnectionResetError("closed as soon as it was open")
        return connection

    def _new_connection(self) -> UpstreamConnection:
        return UpstreamConnection(self)

    async def _connect(self, connection: UpstreamConnection) -> None:
        loop = asyncio.get_running_loop()
        factory = cast(Callable[[], asyncio.Protocol], lambda: connection)
        await loop.create_connection(factory, self.host, self.port)

    def opened(self, connection: UpstreamConnection) -> None:
        self._all.add(connection)
        self._deadlines.add(connection)

    def closed(self, connection: UpstreamConnection) -> None:
        self._all.discard(connection)
        self._deadlines.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def handed_over(self, connection: UpstreamConnection, end: TunnelEnd) -> None:
        """*end* of a tunnel has the place of *connection*, and its limit, until it is closed."""
        self.closed(connection)
        self._all.add(end)
        self._deadlines.add(end)
        end.when_closed = self._end_closed

    def _end_closed(self, end: TunnelEnd) -> None:
        self._all.discard(end)
        self._deadlines.discard(end)

    def close_idle(self) -> None:
        """Close the idle connections; busy ones go on."""
        for connection in list(self._idle):
            connection.shut()

    def close(self) -> None:
        """Close every connection, busy ones too."""
        for connection in list(self._all):
            connection.shut()


def _nothing() -> None:
    pass
