"""A slow reader makes the other side wait: memory is bounded and nothing stalls or is lost."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from sidecar.wire.exchange import Answer, Pending
from sidecar.wire.pacing import MAX_HELD_BYTES
from sidecar.wire.upstream import WRITE_HIGH_WATER_BYTES
from tests.support.wire_peer import Peer, until
from tests.support.wire_proxy import Proxy, Script, answer_each, proxied
from tests.support.wire_volume import MUST_WAIT, Volume, most_buffered, small_receive_buffer

ONE_READ = 256 * 1024
"""The most that either loop hands over at once."""
BOUND = MAX_HELD_BYTES + ONE_READ + 2 * (WRITE_HIGH_WATER_BYTES + ONE_READ) + 64 * 1024
"""Of one exchange: held, and waiting to be written on both sides; the last term is framing."""
VOLUME = Volume(24 * 1024 * 1024)
SIZE = VOLUME.size


@asynccontextmanager
async def observed(
    script: Script, *, small_window: bool = False
) -> AsyncIterator[tuple[Proxy, list[int]]]:
    """A proxy whose memory is looked at in every turn of the loop; the list holds the most."""
    async with proxied(script, small_window=small_window) as proxy:
        with most_buffered(proxy) as most:
            yield proxy, most


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_large_upload_waits_for_a_slow_origin(chunked: bool) -> None:
    """While the origin does not read, the caller cannot send; then everything arrives."""
    reading = asyncio.Event()
    received: list[bytes] = []

    async def script(peer: Peer) -> None:
        small_receive_buffer(peer)
        await peer.head()
        await reading.wait()
        if chunked:
            received.append(hashlib.sha256(await peer.chunks()).digest())
        else:
            received.append(await VOLUME.read(peer))
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await peer.rest()

    framing = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % SIZE
    async with observed(script) as (proxy, most), proxy.client() as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\n%b\r\n\r\n" % framing)
        sending = asyncio.create_task(VOLUME.send(client, chunked=chunked))
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


async def test_a_large_upload_waits_for_the_connection() -> None:
    """Content that comes before there is a connection is bounded too, and sending it in one
    piece does not let more in than the origin takes."""
    permit = asyncio.Event()
    reading = asyncio.Event()
    received: list[bytes] = []

    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await reading.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await peer.head()
        received.append(await VOLUME.read(peer))
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await peer.rest()

    async def wait() -> None:
        await permit.wait()

    async with (
        observed(script, small_window=True) as (proxy, most),
        proxy.client() as client,
    ):
        proxy.handler.decide = lambda _exchange: Pending(wait())
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % SIZE)
        sending = asyncio.create_task(VOLUME.send(client))
        await until(lambda: proxy.listener.buffered_bytes > MAX_HELD_BYTES)
        permit.set()
        await until(lambda: proxy.pool.buffered_bytes > WRITE_HIGH_WATER_BYTES)
        for _ in range(200):
            await asyncio.sleep(0)
        assert not sending.done()
        assert most[0] <= BOUND
        reading.set()
        await sending
        assert (await client.message()).status == 200
        assert received == [VOLUME.digest]
        assert most[0] <= BOUND


@pytest.mark.parametrize(
    ("head", "chunked"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE, False),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", False),
    ],
    ids=["length", "chunked", "close"],
)
async def test_a_large_download_waits_for_a_slow_caller(head: bytes, chunked: bool) -> None:
    """While the caller does not read, the origin cannot send; then everything arrives."""
    sent = [0]

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(head)
        sent[0] = await VOLUME.send(peer, chunked=chunked)
        if b"close" not in head:
            await peer.rest()

    async with observed(script) as (proxy, most), proxy.client() as client:
        small_receive_buffer(client)
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: proxy.listener.buffered_bytes > WRITE_HIGH_WATER_BYTES)
        for _ in range(50):
            await asyncio.sleep(0)
        assert sent[0] == 0
        answer = await client.message()
        assert hashlib.sha256(answer.body).digest() == VOLUME.digest
        assert proxy.results == [(200, None)]
        assert most[0] <= BOUND
        assert proxy.pool.idle_connections == (b"close" not in head)


async def test_both_directions_at_once() -> None:
    """An origin that sends back what it reads, to a caller that sends and reads at once."""

    async def script(peer: Peer) -> None:
        small_receive_buffer(peer)
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
        left = SIZE
        while left:
            data = await peer.some()
            left -= len(data)
            await peer.send(data)
        await peer.rest()

    async with observed(script) as (proxy, most), proxy.client() as client:
        small_receive_buffer(client)
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % SIZE)
        sending = asyncio.create_task(VOLUME.send(client))
        await client.head()
        # Nobody reads the answer yet: it fills up, and then the upload has to wait as well.
        await until(lambda: proxy.listener.buffered_bytes > WRITE_HIGH_WATER_BYTES)
        await until(lambda: proxy.pool.buffered_bytes > WRITE_HIGH_WATER_BYTES)
        assert not sending.done()
        assert await VOLUME.read(client) == VOLUME.digest
        await sending
        assert proxy.results == [(200, None)]
        assert most[0] <= BOUND


async def test_an_answer_complete_while_the_caller_is_behind() -> None:
    """The origin's connection is free again at once, and able to serve somebody else, though the
    caller has yet to read what was buffered for it."""
    size = 60_000  # one read

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.message()
            length = size if b"/large" in request.start else 2
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length
            await peer.send(head + b"x" * length)

    async with observed(script) as (proxy, most), proxy.client() as slow, proxy.client() as other:
        small_receive_buffer(slow)
        # Leave it behind by exactly as much as one answer, however much the kernel takes.
        expected = 0
        slow.writer.transport.pause_reading()  # type: ignore[attr-defined]
        while proxy.listener.buffered_bytes <= WRITE_HIGH_WATER_BYTES:
            await slow.send(b"GET /large HTTP/1.1\r\nHost: h\r\n\r\n")
            expected += 1
            await until(
                lambda: (
                    len(proxy.results) == expected  # noqa: B023 - awaited at once
                    or proxy.listener.buffered_bytes > WRITE_HIGH_WATER_BYTES
                )
            )
        await other.send(b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await other.message()).body == b"xx"
        await slow.send(b"GET /small HTTP/1.1\r\nHost: h\r\n\r\n")
        slow.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(expected):
            assert len((await slow.message()).body) == size
        assert (await slow.message()).body == b"xx"
        assert most[0] <= BOUND


async def test_a_pipelining_caller_that_does_not_read_is_not_read_either() -> None:
    """Requests are left in the kernel while their answers cannot be sent."""
    get = b"GET / HTTP/1.1\r\nHost: h\r\nX-Filler: %b\r\n\r\n" % (b"y" * 900)
    count = 20_000
    async with observed(answer_each) as (proxy, most), proxy.client() as client:
        small_receive_buffer(client)
        proxy.handler.decide = lambda _exchange: Answer(403, b"", b"z" * 900)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        sending = asyncio.create_task(client.send(get * count))
        await until(lambda: proxy.listener.buffered_bytes > MUST_WAIT)
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(proxy.results) < count
        assert most[0] <= BOUND
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        for _ in range(count):
            assert (await client.message()).status == 403
        await sending
        assert most[0] <= BOUND


async def test_a_head_that_was_cut_by_a_slow_reader_is_read_on() -> None:
    """A caller that reads again is read again, though there was no whole request to go on with."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        small_receive_buffer(client)
        proxy.handler.decide = lambda _exchange: Answer(200, b"", b"x" * 8_000_000)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HT")
        await until(lambda: proxy.listener.buffered_bytes > WRITE_HIGH_WATER_BYTES)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert (await client.message()).status == 200
        await client.send(b"TP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.message()).status == 200


async def test_a_request_that_was_read_but_not_yet_sent() -> None:
    """An early answer does not free a connection on which the request is still on its way."""
    complete = asyncio.Event()

    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await complete.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await asyncio.Event().wait()

    async with proxied(script, small_window=True) as proxy, proxy.client() as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        while proxy.pool.buffered_bytes == 0:
            await client.send(b"2000\r\n%b\r\n" % (b"x" * 0x2000))
            await asyncio.sleep(0)
        before = proxy.pool.buffered_bytes
        assert before < WRITE_HIGH_WATER_BYTES
        await client.send(b"0\r\n\r\n")
        await until(lambda: proxy.pool.buffered_bytes > before)
        complete.set()
        answer = await client.message()
        assert answer.status == 200
        await until(lambda: proxy.pool.connections == 0)


async def test_a_slow_caller_gets_all_of_an_answer_that_ends_its_connection() -> None:
    """Lingering begins when the answer is sent, not when it is written."""
    body = b"x" * 16_000_000  # four times what the kernel takes off our hands at most
    async with proxied(answer_each) as proxy, proxy.client() as client:
        small_receive_buffer(client)
        proxy.handler.decide = lambda _exchange: Answer(200, b"", body, close=True)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await until(lambda: proxy.listener.buffered_bytes > 0)
        proxy.time.passes(2.5)
        proxy.time.passes(20.0)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert (await client.message()).body == body
        assert await client.rest() == b""
