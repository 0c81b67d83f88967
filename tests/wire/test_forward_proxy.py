"""Pools per origin: how many there are, and which address of an origin is used."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sidecar.wire.fields import NameTable
from sidecar.wire.forward_proxy import OriginPools
from tests.support.wire_clock import ManualTime
from tests.support.wire_peer import until
from tests.support.wire_proxy import LIMITS


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
