"""Pools per origin: how many there are, and which address of an origin is used."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sidecar.core.outcome import Reason
from sidecar.wire.exchange import Forward
from sidecar.wire.fields import NameTable
from sidecar.wire.forward_proxy import OriginPools, ProxyConnection
from sidecar.wire.upstream import UpstreamConnection
from tests.support.builds import interpreted_only
from tests.support.wire_clock import ManualTime
from tests.support.wire_exchange import refusal
from tests.support.wire_peer import Peer, until
from tests.support.wire_proxy import LIMITS, Proxy, answer_each, answering, proxied


@asynccontextmanager
async def listening() -> AsyncIterator[int]:
    """A server that accepts and says nothing; its port."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


def pools(max_origins: int) -> OriginPools:
    time = ManualTime()
    return OriginPools(
        limits=LIMITS,
        names=NameTable(),
        deadlines=time.deadlines,
        clock=time.clock,
        max_origins=max_origins,
    )


async def test_the_longest_unused_idle_origin_makes_room() -> None:
    """One with connections in use never does: then there is none for a further origin."""
    async with listening() as port:
        origins = pools(2)
        first = origins.get(["127.0.0.1"], port, for_tunnels=False)
        assert first is not None
        connection = await first.open()
        second = origins.get(["127.0.0.2"], 1, for_tunnels=False)
        assert origins.get(["127.0.0.1"], port, for_tunnels=False) is first
        third = origins.get(["127.0.0.3"], 1, for_tunnels=False)
        assert third is not None
        assert len(origins) == 2
        assert origins.get(["127.0.0.1"], port, for_tunnels=False) is first
        again = origins.get(["127.0.0.2"], 1, for_tunnels=False)
        assert again is not None
        assert again is not second  # it was the one that went
        first.put(connection)  # idle now, and the last one used but one
        assert origins.get(["127.0.0.4"], 1, for_tunnels=False) is not None
        await until(lambda: first.connections == 0)
        origins.close()


async def test_there_is_no_pool_when_all_are_busy() -> None:
    """The request is refused; nobody's connection is taken away."""
    async with listening() as port:
        origins = pools(1)
        pool = origins.get(["127.0.0.1"], port, for_tunnels=False)
        assert pool is not None
        await pool.open()
        assert origins.get(["127.0.0.2"], port, for_tunnels=False) is None
        assert pool.connections == 1
        origins.close()
        await until(lambda: pool.connections == 0)


async def test_the_next_address_is_tried_when_one_refuses() -> None:
    """A name with two servers of which one is down works; with none it does not."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.2", 0))  # bound and not listening: refused
        async with listening() as port:
            origins = pools(2)
            pool = origins.get(["127.0.0.2", "127.0.0.1"], port, for_tunnels=False)
            assert pool is not None
            connection = await pool.open()
            assert connection.transport.get_extra_info("peername")[0] == "127.0.0.1"
            nobody = origins.get(["127.0.0.2", "127.0.0.3"], port, for_tunnels=False)
            assert nobody is not None
            with pytest.raises(ConnectionRefusedError):
                await nobody.open()
            origins.close()
            await until(lambda: pool.connections == 0)


# --- tunnels of bytes that nobody reads ---

CONNECT = b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n"


class Far:
    """Script: leave the connection to the test."""

    def __init__(self) -> None:
        self.peer: asyncio.Future[Peer] = asyncio.get_running_loop().create_future()
        self.over = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        self.peer.set_result(peer)
        await self.over.wait()


@asynccontextmanager
async def connected_through(**options: Any) -> AsyncIterator[tuple[Proxy, Peer, Peer]]:
    """The proxy and both ends of a tunnel."""
    far = Far()
    async with (
        proxied(far, connection=ProxyConnection, **options) as proxy,
        proxy.client() as client,
    ):
        await client.send(CONNECT)
        assert await client.head() == b"HTTP/1.1 200 Connection established\r\n\r\n"
        async with asyncio.timeout(10):
            yield proxy, client, await far.peer
        far.over.set()


@pytest.mark.parametrize("side", ["client", "server"])
async def test_half_close_is_passed_on_and_the_rest_still_comes(side: str) -> None:
    """Each direction ends by itself; the exchange when both have."""
    async with connected_through() as (proxy, client, server):
        one, other = (client, server) if side == "client" else (server, client)
        await one.send(b"last words")
        one.end()
        assert await other.rest() == b"last words"
        assert proxy.results == []
        await other.send(b"and an answer")
        other.end()
        assert await one.rest() == b"and an answer"
        await until(lambda: proxy.listener.connections == 0 and proxy.pool.connections == 0)
        assert proxy.results == [(200, None)]


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_reset_is_passed_on(side: str) -> None:
    """An orderly end would say that everything had been sent."""
    async with connected_through() as (proxy, client, server):
        one, other = (client, server) if side == "client" else (server, client)
        await one.send(b"x")
        assert await other.exactly(1) == b"x"
        one.reset()
        await other.rest()
        assert other.was_reset
        await until(lambda: proxy.listener.connections == 0 and proxy.pool.connections == 0)


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_slow_reader_costs_no_memory(side: str) -> None:
    """Its writer waits; nothing is lost."""
    total = (4 if side == "client" else 24) << 20
    async with connected_through(small_window=True) as (proxy, client, server):
        fast, slow = (client, server) if side == "client" else (server, client)
        data = bytes(range(256)) * (total // 256)
        fast.writer.write(data)
        last = -1
        while (left := fast.writer.transport.get_write_buffer_size()) != last:
            last = left
            for _ in range(50):
                await asyncio.sleep(0)
            assert proxy.buffered_bytes <= 64 * 1024 + 256 * 1024
        assert left > 0
        assert await slow.exactly(total) == data


async def test_a_reader_that_never_reads_is_cut_off() -> None:
    """A tunnel may be idle for long, but not with somebody waiting."""
    async with connected_through(small_window=True) as (proxy, _client, server):
        server.writer.write(bytes(24 << 20))
        for _ in range(2):  # whoever reads at all gets the time once more
            before = -1
            while (now := server.writer.transport.get_write_buffer_size()) != before:
                before = now
                for _ in range(50):
                    await asyncio.sleep(0)
            proxy.time.passes(30.1)
        await until(lambda: proxy.listener.connections == 0 and proxy.pool.connections == 0)
        assert proxy.results == [(200, None)]


async def test_an_idle_tunnel_is_cut_off() -> None:
    """There is nothing that could be said to its ends."""
    async with connected_through() as (proxy, client, server):
        proxy.time.passes(599.9)
        await client.send(b"x")
        assert await server.exactly(1) == b"x"
        proxy.time.passes(599.9)
        assert proxy.results == []
        proxy.time.passes(0.2)
        assert await client.rest() == await server.rest() == b""
        assert proxy.results == [(200, None)]


async def test_draining_waits_for_tunnels_in_use_alone() -> None:
    """A connection that an app keeps for later does not hold up the end of the pod."""
    async with connected_through() as (proxy, client, server):
        draining = asyncio.create_task(proxy.listener.drain(20.0))
        await until(lambda: proxy.listener.draining)
        for _ in range(3):
            proxy.time.passes(4.9)
            await client.send(b"x")
            assert await server.exactly(1) == b"x"
        proxy.time.passes(4.9)
        assert proxy.results == []
        proxy.time.passes(0.2)
        assert await client.rest() == await server.rest() == b""
        await draining
        assert proxy.results == [(200, None)]


async def test_a_decision_that_no_longer_holds_makes_no_tunnel() -> None:
    """What was checked once more after connecting is answered, and the connection ends."""
    async with proxied(answering(b""), connection=ProxyConnection) as proxy:
        proxy.handler.commit = lambda _exchange: refusal(Reason.DRAINING)
        async with proxy.client() as client:
            await client.send(CONNECT)
            assert (await client.refused()).status == 503
        await until(lambda: proxy.pool.connections == 0)


@interpreted_only
async def test_a_server_that_speaks_first_is_heard_after_the_answer() -> None:
    """Its first bytes wait until the client knows that there is a tunnel."""
    far = Far()
    async with proxied(far, connection=ProxyConnection) as proxy:
        origins = pools(1)
        pool = origins.get(["127.0.0.1"], proxy.pool.port, for_tunnels=True)
        assert pool is not None
        proxy.handler.decide = lambda exchange: Forward(pool, exchange.head.target)
        open_at_once = pool.open

        async def open_late() -> UpstreamConnection:
            connection = await open_at_once()
            await (await far.peer).send(b"hello ")
            for _ in range(100):  # were it read now, there would be nobody to give it to
                await asyncio.sleep(0)
            return connection

        pool.open = open_late  # type: ignore[method-assign]
        async with proxy.client() as client:
            await client.send(CONNECT + b"early")
            assert await client.head() == b"HTTP/1.1 200 Connection established\r\n\r\n"
            assert await client.exactly(6) == b"hello "
            assert await (await far.peer).exactly(5) == b"early"
        far.over.set()
        await until(lambda: pool.connections == 0)


async def test_ordinary_requests_are_served_as_anywhere() -> None:
    """Absolute form is what they look like here."""
    async with (
        proxied(answer_each, connection=ProxyConnection) as proxy,
        proxy.client() as client,
    ):
        for _ in range(2):
            await client.send(b"GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await client.message()).body == b"GET /x HTTP/1.1|"


@interpreted_only
async def test_a_server_that_closes_at_once_is_502() -> None:
    """There is no tunnel to nobody."""

    async def hang_up(peer: Peer) -> None:
        """Close without a word."""

    async with proxied(hang_up, connection=ProxyConnection) as proxy, proxy.client() as client:
        open_at_once = proxy.pool.open

        async def open_late() -> UpstreamConnection:
            connection = await open_at_once()
            await until(connection.transport.is_closing)
            return connection

        proxy.pool.open = open_late  # type: ignore[method-assign]
        await client.send(CONNECT)
        answer = await client.refused()
        assert (answer.status, answer.reason) == (502, b"upstream_reset")
