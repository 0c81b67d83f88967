"""The wire's proxy and its peers behind TLS: callers to us, and us to an origin."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sidecar.wire.fields import NameTable
from sidecar.wire.limits import WireLimits
from sidecar.wire.listener import Listener
from sidecar.wire.pool import Pool
from sidecar.wire.tls import ListenerTls
from sidecar.wire.tls_upstream import TlsPool
from tests.support.certificates import Authority, client_context, server_context
from tests.support.wire_clock import ManualTime
from tests.support.wire_exchange import FakeHandler, classify
from tests.support.wire_peer import Peer, until
from tests.support.wire_proxy import LIMITS, Origin, Script

NAME = "sidecar.test"


class TlsOrigin(Origin):
    """A server behind TLS that does to every connection what its script says."""

    def __init__(self, script: Script, context: ssl.SSLContext) -> None:
        super().__init__(script)
        self.context = context

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            for peer in self.peers:
                peer.writer.transport.abort()


@dataclass
class TlsProxy:
    """A listener and a pool, each with or without TLS, and what they said of handshakes."""

    authority: Authority
    directory: Path
    pool: Pool
    listener: Listener
    handler: FakeHandler
    time: ManualTime
    server_context: ssl.SSLContext
    """What new connections to us get; a test may replace it."""
    pool_context: ssl.SSLContext
    """What new connections of ours get; a test may replace it."""
    address: tuple[str, int] = ("", 0)
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def results(self) -> list[tuple[int, Any]]:
        return self.handler.results

    @property
    def buffered_bytes(self) -> int:
        return self.listener.buffered_bytes + self.pool.buffered_bytes

    @asynccontextmanager
    async def client(self, context: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
        """A caller, over TLS."""
        reader, writer = await asyncio.open_connection(
            *self.address, ssl=context or client_context(self.authority), server_hostname=NAME
        )
        try:
            yield Peer(reader, writer)
        finally:
            writer.transport.abort()

    @asynccontextmanager
    async def plain_client(self) -> AsyncIterator[Peer]:
        reader, writer = await asyncio.open_connection(*self.address)
        try:
            yield Peer(reader, writer)
        finally:
            writer.transport.abort()


@asynccontextmanager
async def tls_proxied(
    script: Script,
    directory: Path,
    *,
    authority: Authority | None = None,
    origin_context: ssl.SSLContext | None = None,
    origin_tls: bool = False,
    server_context_of_ours: ssl.SSLContext | None = None,
    limits: WireLimits | None = None,
    **changes: Any,
) -> AsyncIterator[TlsProxy]:
    """A proxy that serves TLS, in front of an origin that does where *origin_tls*."""
    authority = authority or Authority()
    pair = authority.issue(NAME, "127.0.0.1")
    limits = limits or replace(LIMITS, **changes)
    time, names = ManualTime(), NameTable(classify)
    if origin_tls:
        origin: Origin = TlsOrigin(script, origin_context or server_context(pair, directory))
    else:
        origin = Origin(script)
    troubles: list[Mapping[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: troubles.append(context)
    )
    async with origin.running():
        proxy: TlsProxy
        common: dict[str, Any] = {
            "limits": limits, "names": names, "deadlines": time.deadlines, "clock": time.clock,
        }  # fmt: skip
        pool: Pool
        if origin_tls:
            pool = TlsPool(
                "127.0.0.1",
                origin.port,
                context=lambda: proxy.pool_context,
                server_name=NAME,
                **common,
            )
        else:
            pool = Pool("127.0.0.1", origin.port, **common)
        handler = FakeHandler(pool)
        tls = ListenerTls(
            lambda: proxy.server_context,
            lambda kind, detail, _peer: proxy.failures.append((kind, detail)),
        )
        listener = Listener(
            handler,
            wall_clock=lambda: 1_700_000_000.0,
            accepts=lambda _peer: True,
            tls=tls,
            **common,
        )
        proxy = TlsProxy(
            authority,
            directory,
            pool,
            listener,
            handler,
            time,
            server_context_of_ours or server_context(pair, directory),
            client_context(authority),
        )
        proxy.address = await listener.start("127.0.0.1", 0)
        try:
            yield proxy
        finally:
            await listener.drain(0.0)
            pool.close()
        await until(lambda: pool.connections == 0)
        assert troubles == []
        assert listener.connections == listener.handshakes == 0
        assert list(handler.wrongly_finished()) == []
