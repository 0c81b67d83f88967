"""Who leaves, when, and what that costs: never the other callers, never a connection too many."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from sidecar.core.outcome import Reason
from sidecar.wire.exchange import CLIENT_GONE, Answer, Pending
from sidecar.wire.upstream import WRITE_HIGH_WATER_BYTES
from tests.support.wire_peer import Peer, until
from tests.support.wire_proxy import Proxy, answer_each, proxied

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
PUT = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello"
LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello"

LEAVING = pytest.mark.parametrize(
    "leave", [Peer.reset, Peer.close, Peer.end], ids=["reset", "close", "half-close"]
)
Leave = Callable[[Peer], None]


async def is_still_well(proxy: Proxy) -> None:
    """Another caller is served."""
    async with proxy.client() as other:
        proxy.handler.decide = lambda exchange: exchange.forward()
        await other.send(b"GET /well HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await other.message()).status == 200


async def slowly(peer: Peer) -> None:
    """Script: answer ``/well`` at once, begin an answer to everything else and wait."""
    head = await peer.head()
    if b"/well" in head:
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    elif head.startswith(b"GET /begun"):
        await peer.send(LONG)
    await peer.rest()


@LEAVING
@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"GET / HTTP/1.1\r\nHost: h\r\n"])
async def test_leaving_before_a_request_is_complete(leave: Leave, sent: bytes) -> None:
    """There was no exchange, so there is nothing to finish."""
    async with proxied(slowly) as proxy:
        async with proxy.client() as client:
            await client.send(sent)
            await until(lambda: proxy.listener.buffered_bytes == len(sent))
            leave(client)
            await until(lambda: proxy.listener.connections == 0)
        assert proxy.handler.exchanges == []
        assert proxy.handler.malformed_for == []
        await is_still_well(proxy)


@LEAVING
async def test_leaving_while_the_decision_is_awaited(leave: Leave) -> None:
    """The wait is cancelled and the exchange finished; nothing was forwarded."""
    cancelled: list[bool] = []

    async def forever() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    async with proxied(slowly) as proxy:
        proxy.handler.decide = lambda _exchange: Pending(forever())
        async with proxy.client() as client:
            await client.send(PUT)
            await until(lambda: proxy.handler.exchanges)
            leave(client)
            await until(lambda: cancelled)
        assert proxy.results == [(CLIENT_GONE, None)]
        assert proxy.pool.connections == 0
        await is_still_well(proxy)


@LEAVING
async def test_leaving_while_connecting(leave: Leave) -> None:
    """Whatever the moment, the exchange is finished once and no place in the pool is lost."""
    async with proxied(slowly, max_upstream_connections=4) as proxy:
        for turns in range(12):
            async with proxy.client() as client:
                client.writer.write(GET)
                before = len(proxy.handler.exchanges)
                await until(lambda: len(proxy.handler.exchanges) > before)  # noqa: B023
                for _ in range(turns):
                    await asyncio.sleep(0)
                leave(client)
                await until(lambda: proxy.listener.connections == 0)
            await until(lambda: proxy.pool.connections == proxy.pool.idle_connections)
        assert {status for status, _ in proxy.results} == {CLIENT_GONE}
        await is_still_well(proxy)


@LEAVING
@pytest.mark.parametrize("request_bytes", [GET, PUT])
async def test_leaving_before_the_answer(leave: Leave, request_bytes: bytes) -> None:
    """The origin's connection is given up: an identity must not live on without its caller."""
    async with proxied(slowly) as proxy:
        async with proxy.client() as client:
            await client.send(request_bytes)
            await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
            leave(client)
            await until(lambda: proxy.listener.connections == 0)
        assert proxy.results == [(CLIENT_GONE, None)]
        await until(lambda: proxy.pool.connections == 0)
        await is_still_well(proxy)


@LEAVING
async def test_leaving_in_the_middle_of_the_answer(leave: Leave) -> None:
    """The status that was sent is the one that counts; the origin's connection is given up."""
    async with proxied(slowly) as proxy:
        async with proxy.client() as client:
            await client.send(b"GET /begun HTTP/1.1\r\nHost: h\r\n\r\n")
            await client.head()
            leave(client)
            await until(lambda: proxy.listener.connections == 0)
        assert proxy.results == [(200, None)]
        await until(lambda: proxy.pool.connections == 0)
        await is_still_well(proxy)


@LEAVING
async def test_leaving_after_the_answer(leave: Leave) -> None:
    """An exchange that is over is not finished again, and the origin's connection stays good."""
    async with proxied(answer_each) as proxy:
        async with proxy.client() as client:
            await client.send(GET)
            await client.message()
            leave(client)
            await until(lambda: proxy.listener.connections == 0)
        assert proxy.results == [(200, None)]
        assert proxy.pool.idle_connections == 1
        await is_still_well(proxy)
        assert proxy.pool.connections == 1


@LEAVING
async def test_leaving_while_an_answered_connection_lingers(leave: Leave) -> None:
    """Then the connection is simply over, before its time."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        await client.send(b"junk\r\n\r\n")
        assert (await client.message()).status == 400
        leave(client)
        await until(lambda: proxy.listener.connections == 0)


async def test_a_caller_that_stops_sending_still_gets_what_was_answered() -> None:
    """Answers that are written already arrive; the request that was waited for does not count."""
    async with proxied(slowly) as proxy, proxy.client() as client:
        await client.send(b"GET /well HTTP/1.1\r\nHost: h\r\n\r\n" + GET)
        await until(lambda: len(proxy.handler.exchanges) == 2)
        client.end()
        await until(lambda: proxy.listener.connections == 0)
        assert (await client.rest()).startswith(b"HTTP/1.1 200 OK")
        assert proxy.results == [(200, None), (CLIENT_GONE, None)]


async def test_a_caller_that_stops_sending_is_gone_though_it_has_yet_to_read() -> None:
    """Its exchange ends at once, however long earlier answers take to be read."""
    async with proxied(slowly) as proxy, proxy.client() as client:
        client.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        proxy.handler.decide = lambda _exchange: Answer(200, b"", b"x" * 30_000)
        while proxy.listener.buffered_bytes == 0:
            before = len(proxy.results)
            await client.send(GET)
            await until(lambda: len(proxy.results) > before)  # noqa: B023
            await asyncio.sleep(0)
        proxy.handler.decide = lambda exchange: exchange.forward()
        await client.send(GET)
        await until(lambda: proxy.handler.exchanges[-1].commits)
        client.end()
        await until(lambda: proxy.results[-1] == (CLIENT_GONE, None))
        assert proxy.listener.connections == 1


async def test_an_http10_caller_that_stops_sending_is_not_told_that_half_was_all() -> None:
    """Where the end of the connection is the end of the content, giving up is a reset."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        await client.head()
        client.end()
        await client.rest()
        assert client.was_reset
        assert proxy.results == [(200, None)]


@pytest.mark.parametrize("rude", [False, True])
async def test_an_origin_that_leaves_while_the_request_is_sent(rude: bool) -> None:
    """The caller gets an answer at once and need not send the rest."""

    async def script(peer: Peer) -> None:
        await peer.head()
        if rude:
            peer.reset()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n")
        answer = await client.refused()
        assert (answer.status, answer.reason) == (502, b"upstream_reset")
        assert proxy.handler.exchanges[0].failures == [Reason.UPSTREAM_RESET]


async def test_an_origin_that_stops_sending_but_not_reading_is_gone_too() -> None:
    """A half-closed origin cannot answer: the caller is told so though data could still flow."""

    stuck = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await stuck.wait()
        peer.end()
        await asyncio.Event().wait()

    async with proxied(script, small_window=True) as proxy, proxy.client() as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 20000000\r\n\r\n")
        sending = asyncio.create_task(client.send(b"x" * 10_000_000))
        await until(lambda: proxy.pool.buffered_bytes > WRITE_HIGH_WATER_BYTES)
        stuck.set()
        assert (await client.message()).status == 502
        await until(lambda: proxy.pool.connections == 0)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
