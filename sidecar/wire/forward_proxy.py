"""What the listener of a forward proxy does besides: ``CONNECT``, and origins it chooses itself.

Owns how a tunnel of opaque bytes is opened, and how many origins there are pools for. Where a
request may go, its exchange decides.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, cast

from sidecar.core.outcome import Reason
from sidecar.wire.deadlines import Deadlines
from sidecar.wire.downstream import Downstream
from sidecar.wire.exchange import Answer
from sidecar.wire.fields import NameTable
from sidecar.wire.heads import RequestHead
from sidecar.wire.limits import WireLimits
from sidecar.wire.pool import Pool
from sidecar.wire.request_head import parse_request_head
from sidecar.wire.upstream import UpstreamConnection

MAX_ORIGINS: Final = 256
"""Origins with connections at once; the longest unused one without any in use makes room."""

_CONNECTED: Final = 200
_ESTABLISHED: Final = b"HTTP/1.1 200 Connection established\r\n\r\n"


class ProxyConnection(Downstream):
    """A connection from a client that knows it speaks to a proxy."""

    def _parse(self, raw: bytes) -> RequestHead:
        listener = self._listener
        return parse_request_head(raw, listener.names, listener.limits, connect=True)

    def _send(self, upstream: UpstreamConnection) -> None:
        if self._head.method != b"CONNECT":
            super()._send(upstream)
            return
        exchange = self._exchange
        assert exchange is not None
        lines = exchange.commit()
        if isinstance(lines, Answer):
            upstream.abort()
            self._answer(lines)
            return
        if upstream.transport.is_closing():
            self._fail(Reason.UPSTREAM_RESET, "the connection was closed at once")
            return
        self._timing.sent = self._timing.answered = self._listener.clock()
        first = upstream.take_said() if isinstance(upstream, TunnelConnection) else b""
        self._begin_tunnel(upstream, _CONNECTED, _ESTABLISHED, first, framed=False)


class TunnelConnection(UpstreamConnection):
    """One that will be half of a tunnel: what its server says before that is kept."""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        self.pause()

    def take_said(self) -> bytes:
        said, self._buffer = self._buffer, b""
        return said


class PinnedPool(Pool):
    """Connections to one origin by addresses that were checked; no name is resolved again.

    Where *for_tunnels*, each is used once, and whatever its server says first waits until the
    client can be told that there is a tunnel.
    """

    def __init__(
        self,
        addresses: Sequence[str],
        port: int,
        *,
        limits: WireLimits,
        names: NameTable,
        deadlines: Deadlines,
        clock: Callable[[], float],
        for_tunnels: bool,
    ) -> None:
        super().__init__(
            addresses[0], port, limits=limits, names=names, deadlines=deadlines, clock=clock
        )
        self.addresses = tuple(addresses)
        self._for_tunnels = for_tunnels

    async def open(self) -> UpstreamConnection:
        """Connect to the first address that answers, within the time for one."""
        failure: OSError | None = None
        async with asyncio.timeout(self.limits.connect_timeout_seconds):
            for address in self.addresses:
                self.host = address
                try:
                    return await super().open()
                except TimeoutError:
                    raise
                except OSError as error:
                    failure = error
        raise cast(OSError, failure)

    def _new_connection(self) -> UpstreamConnection:
        return TunnelConnection(self) if self._for_tunnels else super()._new_connection()


class OriginPools:
    """The pools of every origin that was asked for lately, at most ``MAX_ORIGINS``."""

    def __init__(
        self,
        *,
        limits: WireLimits,
        names: NameTable,
        deadlines: Deadlines,
        clock: Callable[[], float],
        max_origins: int = MAX_ORIGINS,
    ) -> None:
        self._make = partial(
            PinnedPool, limits=limits, names=names, deadlines=deadlines, clock=clock
        )
        self._max_origins = max_origins
        self._pools: dict[tuple[tuple[str, ...], int, bool], PinnedPool] = {}

    def get(self, addresses: Sequence[str], port: int, *, for_tunnels: bool) -> Pool | None:
        """Return the pool of an origin, ``None`` where all there may be are busy."""
        key = tuple(addresses), port, for_tunnels
        pool = self._pools.pop(key, None)
        if pool is None:
            if len(self._pools) >= self._max_origins and not self._make_room():
                return None
            pool = self._make(addresses, port, for_tunnels=for_tunnels)
        self._pools[key] = pool  # the last one is the one used last
        return pool

    def _make_room(self) -> bool:
        for key, pool in self._pools.items():
            if pool.connections == pool.idle_connections and not pool.is_opening:
                pool.close()
                del self._pools[key]
                return True
        return False

    def __len__(self) -> int:
        return len(self._pools)

    @property
    def buffered_bytes(self) -> int:
        return sum(pool.buffered_bytes for pool in self._pools.values())

    def close(self) -> None:
        """Close every connection, busy ones too."""
        for pool in self._pools.values():
            pool.close()
