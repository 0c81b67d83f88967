"""Whatever waits, waits for a bounded time. Time passes here when the test says so."""

import asyncio
import socket

import pytest

from sidecar.core.outcome import Reason
from sidecar.wire.deadlines import NEVER, Deadlines
from sidecar.wire.exchange import CLIENT_GONE
from sidecar.wire.pacing import LINGER_SECONDS
from tests.support.wire_clock import ManualTime
from tests.support.wire_peer import Peer, full_backlog, until
from tests.support.wire_proxy import answer_each, proxied, serving

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Bomb:
    """Remembers when it went off."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.expired: list[float] = []

    def expire(self, now: float) -> None:
        self.expired.append(now)
        self.deadline = NEVER


def test_a_sweep_finds_what_is_over_and_nothing_else() -> None:
    """Just before: no; exactly at and after: yes; and whoever left is not asked."""
    time = ManualTime()
    early, exact, late, gone = Bomb(1_004.9), Bomb(1_005.0), Bomb(1_005.1), Bomb(1_001.0)
    for bomb in (early, exact, late, gone):
        time.deadlines.add(bomb)
    time.deadlines.discard(gone)
    time.passes(5.0)
    assert [early.expired, exact.expired, late.expired, gone.expired] == [
        [1005.0],
        [1005.0],
        [],
        [],
    ]


def test_one_that_expires_may_give_another_new_time() -> None:
    """Both sides of an exchange may be over in the same sweep; the second is asked again."""
    time = ManualTime()
    bombs = [Bomb(1_001.0), Bomb(1_001.0)]

    class Defuser(Bomb):
        def expire(self, now: float) -> None:
            super().expire(now)
            for bomb in bombs:
                bomb.deadline = NEVER

    bombs += [Defuser(1_001.0), Defuser(1_001.0)]
    for bomb in bombs[2:]:
        time.deadlines.add(bomb)
    time.passes(1.0)
    assert sum(len(bomb.expired) for bomb in bombs) == 1


async def test_the_sweep_comes_by_itself_until_stopped() -> None:
    """Other work rides on the same tick."""
    deadlines = Deadlines(asyncio.get_running_loop().time)
    swept = asyncio.Event()
    deadlines.every_sweep(lambda _now: swept.set())
    deadlines.start(asyncio.get_running_loop())
    await swept.wait()
    deadlines.stop()


async def test_an_idle_connection_is_closed() -> None:
    """A caller that says nothing, at first or between requests, is let go without an answer."""
    async with proxied(answer_each) as proxy:
        async with proxy.client() as client:
            await client.send(GET)
            await client.message()
            proxy.time.passes(59.9)
            await client.send(GET)
            await client.message()
            proxy.time.passes(59.9)
            assert proxy.listener.connections == 1
            proxy.time.passes(0.1)
            assert await client.rest() == b""
        async with proxy.client() as client:
            await until(lambda: proxy.listener.connections == 1)
            proxy.time.passes(60.0)
            assert await client.rest() == b""


async def test_a_head_that_does_not_arrive_in_time_is_408() -> None:
    """The time runs from the first byte; more bytes do not extend it."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        await client.send(b"GET / HTTP/1.1\r\n")
        await until(lambda: proxy.buffered_bytes == 16)
        proxy.time.passes(9.9)
        await client.send(b"Host: h\r\n")
        await until(lambda: proxy.buffered_bytes == 25)
        assert proxy.handler.malformed_for == []
        proxy.time.passes(0.1)
        answer = await client.refused()
        assert (answer.status, answer.reason) == (408, b"request_timeout")


@pytest.mark.parametrize("connected", [True, False])
async def test_content_that_stops_coming_is_408(connected: bool) -> None:
    """Silence inside a body is bounded, whether it is being forwarded already or not."""
    size = [0]

    async def script(peer: Peer) -> None:
        await peer.head()
        while data := await peer.some():
            size[0] += len(data)

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
        await until(lambda: size[0] == 3)
        proxy.time.passes(29.9)
        await client.send(b"d")
        await until(lambda: size[0] == 4)
        proxy.time.passes(29.9)
        assert proxy.results == []
        proxy.time.passes(0.1)
        assert (await client.refused()).status == 408
        assert proxy.results == [(408, None)]
        await until(lambda: proxy.pool.connections == 0)


async def test_content_that_stops_after_the_answer_began_ends_the_connection() -> None:
    """Then there is nothing left to say."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
        await client.head()
        proxy.time.passes(30.0)
        assert await client.rest() == b"abc"
        await until(lambda: proxy.pool.connections == 0)
        assert [status for status, _ in proxy.results] == [200]


async def test_an_answer_that_does_not_come_is_504() -> None:
    """The time runs from the end of the request; interim answers do not extend it."""
    interim = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.message()
        await interim.wait()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\nHTTP")
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(GET)
        await until(lambda: proxy.pool.connections == 1)
        await until(lambda: proxy.handler.exchanges[0].commits == 1)
        proxy.time.passes(44.9)
        interim.set()
        await until(lambda: proxy.pool.buffered_bytes == 4)
        assert proxy.results == []
        proxy.time.passes(0.1)
        assert (await client.message()).status == 100
        answer = await client.message()
        assert (answer.status, answer.reason) == (504, b"upstream_timeout")
        await until(lambda: proxy.pool.connections == 0)


async def test_both_sides_over_in_one_sweep_still_answer() -> None:
    """A clock that jumps does not cost the caller the explanation."""

    async def script(peer: Peer) -> None:
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(GET)
        await until(lambda: proxy.pool.connections == 1)
        await until(lambda: proxy.handler.exchanges[0].commits == 1)
        proxy.time.passes(1_000.0)
        assert (await client.message()).status == 504


async def test_an_answer_that_stops_coming_is_cut() -> None:
    """Each piece extends the time; silence inside an answer is bounded."""
    more = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        await more.wait()
        await peer.send(b"def")
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(GET)
        await client.head()
        await client.exactly(3)
        proxy.time.passes(29.9)
        more.set()
        assert await client.exactly(3) == b"def"
        proxy.time.passes(29.9)
        assert proxy.results == []
        proxy.time.passes(0.1)
        assert await client.rest() == b""
        assert proxy.results == [(200, Reason.UPSTREAM_TIMEOUT)]
        await until(lambda: proxy.pool.connections == 0)


async def test_an_idle_connection_to_the_origin_is_closed_before_the_origin_does() -> None:
    """Pooled connections are kept for a bounded time, renewed by use."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(GET)
            await client.message()
            proxy.time.passes(3.9)
        assert proxy.pool.idle_connections == 1
        proxy.time.passes(0.1)
        await until(lambda: proxy.pool.connections == 0)


async def test_a_connection_that_cannot_be_made_in_time_is_504() -> None:
    """An origin whose queue of connections is full does not hold the caller."""
    with full_backlog() as port:
        async with (
            serving(port, connect_timeout_seconds=0.05) as proxy,
            proxy.client() as client,
        ):
            await client.send(GET)
            answer = await client.message()
            assert (answer.status, answer.reason) == (504, b"upstream_timeout")
            assert proxy.handler.exchanges[0].commits == 0


async def test_an_answered_connection_lingers_for_a_bounded_time() -> None:
    """A caller that keeps sending what nobody wants is read for a while, then cut off."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        await client.send(b"junk\r\n\r\n")
        assert (await client.message()).status == 400
        assert await client.rest() == b""
        await client.send(b"more" * 1_000)
        proxy.time.passes(LINGER_SECONDS - 0.1)
        assert proxy.listener.connections == 1
        proxy.time.passes(0.1)
        await until(lambda: proxy.listener.connections == 0)


async def test_only_so_much_is_thrown_away_after_an_answer() -> None:
    """A caller that floods an answered connection is not read any more, and soon cut off."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        await client.send(b"junk\r\n\r\n")
        assert (await client.message()).status == 400
        sending = asyncio.create_task(client.send(b"x" * 64_000_000))
        for _ in range(2_000):
            await asyncio.sleep(0)
        assert not sending.done()
        proxy.time.passes(LINGER_SECONDS)
        await until(lambda: proxy.listener.connections == 0)
        assert isinstance(
            (await asyncio.gather(sending, return_exceptions=True))[0], ConnectionError
        )


async def test_a_caller_that_does_not_read_its_answer_is_cut_off() -> None:
    """Silence of a reader is bounded; while it reads, however slowly, it is served."""
    size = 8_000_000

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        await peer.send(b"x" * size)

    async with proxied(script) as proxy, proxy.client() as client:
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        await client.send(GET)
        await client.head()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await until(lambda: proxy.listener.buffered_bytes > 64 * 1024)
        proxy.time.passes(30.0)  # what is unsent is new: it may be on its way
        assert proxy.results == []
        proxy.time.passes(29.9)
        assert proxy.listener.connections == 1
        proxy.time.passes(0.1)
        await until(lambda: proxy.listener.connections == 0)
        assert [status for status, _ in proxy.results] == [200]
        await until(lambda: proxy.pool.connections == 0)


async def test_an_origin_that_does_not_read_the_request_is_504() -> None:
    """An upload that is stuck ends after the body timeout, not never."""

    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 99000000\r\n\r\n")
        sending = asyncio.create_task(client.send(b"x" * 99_000_000))
        await until(lambda: proxy.pool.buffered_bytes > 64 * 1024)
        proxy.time.passes(30.0)  # what is unsent is new: it may be on its way
        assert proxy.results == []
        proxy.time.passes(30.0)
        assert proxy.results == [(504, None)]
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


async def test_a_caller_that_left_counts_as_such() -> None:
    """The status of an exchange that nobody waited for is 499."""

    async def script(peer: Peer) -> None:
        await peer.rest()

    async with proxied(script) as proxy:
        async with proxy.client() as client:
            await client.send(GET)
            await until(lambda: proxy.handler.exchanges)
        await until(lambda: proxy.results)
        assert proxy.results == [(CLIENT_GONE, None)]
