"""Behind TLS on both sides a slow reader makes the other side wait, and memory is bounded."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sidecar.wire.pacing import MAX_HELD_BYTES
from sidecar.wire.upstream import WRITE_HIGH_WATER_BYTES
from tests.support.wire_peer import Peer, until
from tests.support.wire_proxy import Script
from tests.support.wire_tls import TlsProxy, tls_proxied
from tests.support.wire_volume import Volume, most_buffered, small_receive_buffer

VOLUME = Volume(64 * 1024 * 1024)
SIZE = VOLUME.size
ONE_READ = 2 * 256 * 1024
"""What TLS hands over at once: a read of the socket, behind what waited before it."""
BOUND = MAX_HELD_BYTES + ONE_READ + 2 * (WRITE_HIGH_WATER_BYTES + ONE_READ) + 64 * 1024


@asynccontextmanager
async def observed(script: Script, directory: Path) -> AsyncIterator[tuple[TlsProxy, list[int]]]:
    """A proxy whose memory is looked at in every turn of the loop; the list holds the most."""
    async with tls_proxied(script, directory, origin_tls=True) as proxy:
        with most_buffered(proxy) as most:
            yield proxy, most


async def test_a_large_upload_waits_for_a_slow_origin(tmp_path: Path) -> None:
    """While the origin does not read, the caller cannot send; then everything arrives."""
    reading = asyncio.Event()
    received: list[bytes] = []

    async def script(peer: Peer) -> None:
        small_receive_buffer(peer)
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await reading.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await peer.head()
        received.append(await VOLUME.read(peer))
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await peer.rest()

    async with observed(script, tmp_path) as (proxy, most), proxy.client() as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % SIZE)
        sending = asyncio.create_task(VOLUME.send(client))
        await until(lambda: proxy.pool.buffered_bytes > WRITE_HIGH_WATER_BYTES)
        for _ in range(50):
            await asyncio.sleep(0)
        assert not sending.done()
        reading.set()
        await sending
        assert (await client.message()).status == 200
        assert received == [VOLUME.digest]
        assert most[0] <= BOUND
        assert proxy.pool.idle_connections == 1


async def test_a_large_download_waits_for_a_slow_caller(tmp_path: Path) -> None:
    """While the caller does not read, the origin cannot send; then everything arrives."""
    sent = [False]

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        await VOLUME.send(peer)
        sent[0] = True
        await peer.rest()

    async with observed(script, tmp_path) as (proxy, most), proxy.client() as client:
        small_receive_buffer(client)
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: proxy.listener.buffered_bytes > WRITE_HIGH_WATER_BYTES)
        for _ in range(50):
            await asyncio.sleep(0)
        assert not sent[0]
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await client.head()
        assert await VOLUME.read(client) == VOLUME.digest
        assert proxy.results == [(200, None)]
        assert most[0] <= BOUND


async def test_both_directions_at_once(tmp_path: Path) -> None:
    """An origin that sends back what it reads, to a caller that sends and reads at once."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        left = SIZE
        while left:
            data = await peer.some()
            left -= len(data)
            await peer.send(data)
        await peer.rest()

    async with observed(script, tmp_path) as (proxy, most), proxy.client() as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % SIZE)
        sending = asyncio.create_task(VOLUME.send(client))
        await client.head()
        assert await VOLUME.read(client) == VOLUME.digest
        await sending
        assert proxy.results == [(200, None)]
        assert most[0] <= BOUND
