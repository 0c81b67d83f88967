"""Peers that send a byte now and then, for ever, or leave at the worst moment."""

import asyncio
from dataclasses import dataclass

import pytest

from sidecar.core.outcome import Reason
from sidecar.wire.exchange import Pending
from tests.support.wire_peer import Peer, until
from tests.support.wire_proxy import Proxy, answer_each, proxied

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n"
RATE = 100


@dataclass
class Sink:
    """Script: read for ever, count the content, answer once all of it is there."""

    expected: int = 0
    size: int = 0

    async def __call__(self, peer: Peer) -> None:
        await peer.head()
        while self.size != self.expected:
            data = await peer.some()
            if not data:
                return
            self.size += len(data)
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await peer.rest()


async def trickle(proxy: Proxy, client: Peer, sink: Sink, size: int, every: float) -> int:
    """Send *size* bytes *every* so many seconds until the exchange is over; count the rounds."""
    for rounds in range(1_000):
        if proxy.results:
            return rounds
        await client.send(b"x" * size)
        expected = sink.size + size
        await until(lambda: sink.size == expected)  # noqa: B023 - awaited at once
        proxy.time.passes(every)
    raise AssertionError("it goes on for ever")


@pytest.mark.parametrize(
    ("size", "every", "least", "most"),
    [
        (1, 5.0, 6, 7),  # hardly more than the silence that is allowed anyway
        (100, 10.0, 3, 4),
        (90, 1.0, 290, 310),
    ],
)
async def test_content_that_trickles_is_408(size: int, every: float, least: int, most: int) -> None:
    """Each byte extends the time by what it may take, and no more."""
    sink = Sink(expected=-1)
    async with (
        proxied(sink, min_body_bytes_per_second=RATE) as proxy,
        proxy.client() as client,
    ):
        await client.send(PUT % 1_000_000)
        assert least <= await trickle(proxy, client, sink, size, every) <= most
        answer = await client.refused()
        assert (answer.status, answer.reason) == (408, b"request_timeout")
        assert proxy.handler.exchanges[0].failures == [Reason.REQUEST_TIMEOUT]
        await until(lambda: proxy.pool.connections == 0)


async def test_content_at_the_minimum_rate_is_served_however_long_it_takes() -> None:
    """Slow is not stuck: exactly the rate, with silences up to the timeout after a burst."""
    sink = Sink(expected=300 * RATE + 50 * RATE)
    async with (
        proxied(sink, min_body_bytes_per_second=RATE) as proxy,
        proxy.client() as client,
    ):
        await client.send(PUT % sink.expected)
        for _ in range(30):
            expected = sink.size + 10 * RATE
            await client.send(b"x" * 10 * RATE)
            await until(lambda: sink.size == expected)  # noqa: B023 - awaited at once
            proxy.time.passes(10.0)
        await client.send(b"x" * 49 * RATE)
        await until(lambda: sink.size == 349 * RATE)
        proxy.time.passes(29.9)
        await client.send(b"x" * RATE)
        assert (await client.message()).status == 200


async def test_no_minimum_is_only_a_bound_on_silence() -> None:
    """Where the operator says ``0B``, a byte now and then is enough."""
    sink = Sink(expected=50)
    async with proxied(sink, min_body_bytes_per_second=0) as proxy, proxy.client() as client:
        await client.send(PUT % 50)
        for done in range(1, 50):
            await client.send(b"x")
            await until(lambda: sink.size == done)  # noqa: B023 - awaited at once
            proxy.time.passes(29.0)
        await client.send(b"x")
        assert (await client.message()).status == 200


async def test_the_time_in_which_we_do_not_read_is_not_the_callers() -> None:
    """A caller that an origin holds up is not too slow."""
    reading = asyncio.Event()
    size = 4_000_000

    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await reading.wait()
        peer.writer.transport.resume_reading()  # type: ignore[attr-defined]
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await peer.rest()

    async with (
        proxied(
            script,
            small_window=True,
            min_body_bytes_per_second=1_000_000,
            body_timeout_seconds=1_000.0,
        ) as proxy,
        proxy.client() as client,
    ):
        await client.send(PUT % size)
        sending = asyncio.create_task(client.send(b"x" * size))
        await until(lambda: proxy.pool.buffered_bytes > 64 * 1024)
        for _ in range(9):
            proxy.time.passes(100.0)
        assert proxy.results == []
        reading.set()
        await sending
        assert (await client.message()).status == 200


async def test_once_the_answer_has_begun_a_conversation_may_be_slow() -> None:
    """Who answers while the content still comes has its own idea of how fast that should be."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            byte = await peer.exactly(1)
            await peer.send(b"1\r\n" + byte + b"\r\n")
        await peer.send(b"0\r\n\r\n")
        await peer.rest()

    async with (
        proxied(script, min_body_bytes_per_second=RATE) as proxy,
        proxy.client() as client,
    ):
        await client.send(PUT % 21)
        await client.head()
        for _ in range(20):
            await client.send(b"x")
            assert await client.exactly(6) == b"1\r\nx\r\n"
            proxy.time.passes(25.0)
        assert await client.rest() == b"0\r\n\r\n"


async def test_an_answer_that_trickles_is_served() -> None:
    """Server-sent events have no minimum rate."""
    more = asyncio.Queue[bytes]()

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while event := await more.get():
            await peer.send(event)
        await peer.rest()

    async with (
        proxied(script, min_body_bytes_per_second=RATE) as proxy,
        proxy.client() as client,
    ):
        await client.send(GET)
        await client.head()
        for _ in range(30):
            more.put_nowait(b"1\r\n:\r\n")
            assert await client.exactly(6) == b"1\r\n:\r\n"
            proxy.time.passes(29.0)
        more.put_nowait(b"0\r\n\r\n")
        assert await client.exactly(5) == b"0\r\n\r\n"
        more.put_nowait(b"")


async def test_content_that_trickles_while_we_decide_is_bounded_too() -> None:
    """It is held, and so is its sender to the rate."""
    async with (
        proxied(answer_each, min_body_bytes_per_second=RATE) as proxy,
        proxy.client() as client,
    ):
        proxy.handler.decide = lambda _exchange: Pending(asyncio.Event().wait())  # type: ignore[arg-type]
        await client.send(PUT % 1_000)
        await until(lambda: proxy.handler.exchanges)
        for rounds in range(1, 100):
            await client.send(b"x")
            await until(lambda: proxy.results or proxy.buffered_bytes == rounds)  # noqa: B023
            proxy.time.passes(10.0)
            if proxy.results:
                break
        assert rounds <= 4
        assert (await client.refused()).status == 408


# --- heads that trickle ---


async def test_an_answers_head_that_trickles_is_504() -> None:
    """The time runs from the end of the request, whatever drips in."""
    drip = asyncio.Semaphore(0)
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Slow: " + b"x" * 100

    async def script(peer: Peer) -> None:
        await peer.message()
        for position in range(len(head)):
            await drip.acquire()
            await peer.send(head[position : position + 1])
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(GET)
        await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
        for dripped in range(1, 100):
            drip.release()
            await until(lambda: proxy.results or proxy.pool.buffered_bytes == dripped)  # noqa: B023
            proxy.time.passes(5.0)
            if proxy.results:
                break
        assert dripped == 9
        answer = await client.message()
        assert (answer.status, answer.reason) == (504, b"upstream_timeout")
        await until(lambda: proxy.pool.connections == 0)


async def test_a_trailer_section_without_end_is_bounded() -> None:
    """An answer that never stops ending is cut, and so is its memory."""
    begun = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n")
        await begun.wait()
        while True:
            await peer.send(b"X-More: %b\r\n" % (b"x" * 1_000))

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\n\r\n")
        await client.head()
        begun.set()
        assert await client.rest() == b""
        assert proxy.results == [(200, Reason.UPSTREAM_MALFORMED)]
        await until(lambda: proxy.pool.connections == 0)


# --- an origin that leaves, in every state ---

STATES = {
    "before anything": b"",
    "in the status line": b"HTTP/1.1 20",
    "in the head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "after an interim answer": b"HTTP/1.1 103 Hints\r\n\r\n",
    "after the head": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    "in the content": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
    "in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    "between chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "in the trailers": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\n",
}
BEGUN = ("after the head", "in the content", "in a chunk", "between chunks", "in the trailers")


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("leave", [Peer.reset, Peer.close, Peer.end])
@pytest.mark.parametrize("content", [True, False], ids=["uploading", "waiting"])
async def test_an_origin_that_leaves(state: str, leave: object, content: bool) -> None:
    """502 while the caller can still be told, else the end of its connection; never a connection
    that is used again, and the next caller is served."""
    gone = asyncio.Event()

    async def script(peer: Peer) -> None:
        if b"/well" in await peer.head():
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await peer.rest()
            return
        await peer.send(STATES[state])
        await gone.wait()
        leave(peer)  # type: ignore[operator]

    async with proxied(script) as proxy:
        async with proxy.client() as client:
            await client.send(PUT % 1_000 + b"x" if content else GET)
            await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
            if STATES[state].endswith(b"\n\r\n") or state in BEGUN:
                await client.head()
            elif STATES[state]:
                await until(lambda: proxy.pool.buffered_bytes)
            gone.set()
            if state in BEGUN:
                assert not (await client.rest()).endswith(b"0\r\n\r\n")
                assert proxy.results == [(200, Reason.UPSTREAM_RESET)]
            else:
                answer = await client.message()
                assert (answer.status, answer.reason) == (502, b"upstream_reset")
                assert proxy.handler.exchanges[0].failures == [Reason.UPSTREAM_RESET]
            await until(lambda: proxy.pool.connections == 0)
        async with proxy.client() as other:
            await other.send(b"GET /well HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await other.message()).status == 200
