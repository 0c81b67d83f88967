"""A listener in front of a scripted origin, all on loopback, with time under control.

Whatever a test does, at its end every exchange was finished exactly once, no connection is left
and the loop has seen no exception.
"""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

from sidecar.wire.downstream import Downstream
from sidecar.wire.fields import NameTable
from sidecar.wire.limits import WireLimits
from sidecar.wire.listener import Listener
from sidecar.wire.pool import Pool
from sidecar.wire.tunnel import TunnelEnd
from sidecar.wire.upstream import UpstreamConnection
from tests.support.wire_clock import ManualTime
from tests.support.wire_exchange import FakeHandler, classify
from tests.support.wire_peer import Peer, connected, until

LIMITS = WireLimits(
    max_head_bytes=4_096,
    max_fields=50,
    max_target_bytes=1_024,
    max_body_bytes=None,
    max_connections=100,
    max_upstream_connections=10,
    header_timeout_seconds=10.0,
    idle_timeout_seconds=60.0,
    body_timeout_seconds=30.0,
    connect_timeout_seconds=5.0,
    response_timeout_seconds=45.0,
    upstream_idle_timeout_seconds=4.0,
    tunnel_idle_timeout_seconds=600.0,
)

Script = Callable[[Peer], Awaitable[None]]


class Origin:
    """A server that does to every connection what its script says."""

    def __init__(self, script: Script, *, small_window: bool = False) -> None:
        """*small_window*: the kernel takes little for us, so that the proxy must wait early."""
        self.script = script
        self.small_window = small_window
        self.peers: list[Peer] = []
        self.port = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self.peers.append(peer)
        try:
            await self.script(peer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the proxy left: what that means is for the test to say
        finally:
            writer.close()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        listening = socket.socket()
        if self.small_window:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        listening.bind(("127.0.0.1", 0))
        self.port = listening.getsockname()[1]
        server = await asyncio.start_server(self._serve, sock=listening)
        try:
            yield
        finally:
            server.close()
            for peer in self.peers:
                peer.writer.transport.abort()


def narrow(connections: Iterable[UpstreamConnection | TunnelEnd]) -> None:
    """Let the kernel take as little as it can for us."""
    for connection in connections:
        raw = connection.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


class Proxy:
    """The listener under test and everything around it."""

    def __init__(
        self,
        limits: WireLimits,
        origin_port: int,
        *,
        small_window: bool,
        connection: type[Downstream] = Downstream,
    ) -> None:
        self.time = ManualTime()
        names = NameTable(classify)
        self.pool = Pool(
            "127.0.0.1",
            origin_port,
            limits=limits,
            names=names,
            deadlines=self.time.deadlines,
            clock=self.time.clock,
        )
        self.handler = FakeHandler(self.pool)
        if small_window:
            self.handler.before_commit = lambda: narrow(self.pool._all)
        self.accepts: Callable[[str], bool] = lambda _peer: True
        self.listener = Listener(
            self.handler,
            limits=limits,
            names=names,
            deadlines=self.time.deadlines,
            clock=self.time.clock,
            wall_clock=lambda: 1_700_000_000.0,
            accepts=lambda peer: self.accepts(peer),
            connection=connection,
        )
        self.address = ("", 0)

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Peer]:
        async with connected(*self.address) as peer:
            yield peer

    @property
    def results(self) -> list[tuple[int, Any]]:
        return self.handler.results

    async def wait_out(self) -> None:
        """Let time pass until no caller is connected any more."""

        def is_over() -> bool:
            self.time.passes(100.0)
            return self.listener.connections == 0

        await until(is_over)

    @property
    def buffered_bytes(self) -> int:
        """What the proxy itself keeps in memory for all its connections."""
        return self.listener.buffered_bytes + self.pool.buffered_bytes


@asynccontextmanager
async def proxied(
    script: Script,
    *,
    small_window: bool = False,
    connection: type[Downstream] = Downstream,
    **changes: Any,
) -> AsyncIterator[Proxy]:
    """A proxy in front of an origin with *script*; *changes* are to ``LIMITS``."""
    origin = Origin(script, small_window=small_window)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(origin.running())
        yield await stack.enter_async_context(
            serving(origin.port, small_window=small_window, connection=connection, **changes)
        )


@asynccontextmanager
async def serving(
    origin_port: int,
    *,
    small_window: bool = False,
    connection: type[Downstream] = Downstream,
    **changes: Any,
) -> AsyncIterator[Proxy]:
    """A proxy in front of whatever is, or is not, at *origin_port*."""
    proxy = Proxy(
        replace(LIMITS, **changes), origin_port, small_window=small_window, connection=connection
    )
    troubles: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: troubles.append(context)
    )
    proxy.address = await proxy.listener.start("127.0.0.1", 0)
    try:
        yield proxy
    finally:
        await proxy.listener.drain(0.0)
        proxy.pool.close()
    await until(lambda: proxy.pool.connections == 0)
    assert troubles == []
    assert proxy.listener.connections == 0
    assert list(proxy.handler.wrongly_finished()) == []


async def answer_each(peer: Peer) -> None:
    """Script: answer every request with 200 and what it looked like, for ever."""
    while True:
        request = await peer.message()
        body = request.start + b"|" + request.body
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))


def answering(response: bytes) -> Script:
    """Script: answer every request on a connection with the same bytes, and keep it open."""

    async def script(peer: Peer) -> None:
        while True:
            await peer.message()
            await peer.send(response)

    return script


def closing_after(response: bytes) -> Script:
    """Script: answer one request with these bytes, then close."""

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(response)

    return script
