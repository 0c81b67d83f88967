"""A kept connection may be closed while a request is on its way: what is repeated, and what not."""

import asyncio
import os
import socket

import pytest

from sidecar.core.outcome import Reason
from sidecar.wire.exchange import CLIENT_GONE, Action, Answer
from tests.support.wire_exchange import FakeExchange
from tests.support.wire_peer import Peer, until
from tests.support.wire_proxy import Proxy, answer_each, closing_after, proxied

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Once:
    """Script: serve the first request of a connection, take the second one and do *then*.

    Later connections are served for ever. What counts as the second one is its head alone.
    """

    def __init__(self, *, rude: bool = False, say: bytes = b"", content: int = 0) -> None:
        self.rude = rude
        self.say = say
        self.content = content
        self.lost = 0
        self.connections = 0
        self.heads: list[bytes] = []
        self.contents: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        self.connections += 1
        if self.connections > 1:
            while True:
                request = await peer.message()
                self.heads.append(request.start)
                self.contents.append(request.body)
                await peer.send(OK[:-2] if request.start.startswith(b"HEAD") else OK)
        await peer.message()
        await peer.send(OK)
        await peer.head()
        if self.content:
            await peer.exactly(self.content)
        self.lost += 1
        await peer.send(self.say)
        if self.rude:
            peer.reset()


async def warm(proxy: Proxy) -> None:
    """Leave one idle connection in the pool."""
    async with proxy.client() as client:
        await client.send(GET)
        assert (await client.message()).status == 200
    assert proxy.pool.idle_connections == 1


@pytest.mark.parametrize("rude", [False, True])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"])
async def test_an_idempotent_request_is_repeated_on_a_fresh_connection(
    method: bytes, rude: bool
) -> None:
    """The caller does not notice; the exchange was asked before each attempt."""
    origin = Once(rude=rude)
    async with proxied(origin) as proxy, proxy.client() as client:
        await warm(proxy)
        await client.send(b"%b /x HTTP/1.1\r\nHost: h\r\n\r\n" % method)
        answer = await client.message(head_only=method == b"HEAD")
        assert (answer.status, answer.get(b"connection")) == (200, None)
        assert (origin.lost, origin.heads) == (1, [method + b" /x HTTP/1.1"])
        assert proxy.handler.exchanges[1].commits == 2
        assert proxy.handler.exchanges[1].failures == []
        await until(lambda: proxy.pool.connections == 1)


@pytest.mark.parametrize("rude", [False, True])
@pytest.mark.parametrize("method", [b"POST", b"PATCH", b"LOCK"])
async def test_another_request_is_not(method: bytes, rude: bool) -> None:
    """The origin may have carried it out: the caller is told that nobody knows."""
    origin = Once(rude=rude)
    async with proxied(origin) as proxy, proxy.client() as client:
        await warm(proxy)
        await client.send(b"%b /x HTTP/1.1\r\nHost: h\r\n\r\n" % method)
        answer = await client.message()
        assert (answer.status, answer.reason) == (502, b"upstream_reset")
        assert (origin.lost, origin.connections) == (1, 1)
        assert proxy.handler.exchanges[1].commits == 1


async def test_once_is_enough() -> None:
    """A fresh connection that is closed as well says something about the origin."""
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        if not heads:
            await peer.message()
            await peer.send(OK)
        heads.append(await peer.head())

    async with proxied(script) as proxy, proxy.client() as client:
        await warm(proxy)
        await client.send(GET)
        answer = await client.message()
        assert (answer.status, answer.reason) == (502, b"upstream_reset")
        assert len(heads) == 2
        assert proxy.handler.exchanges[1].failures == [Reason.UPSTREAM_RESET]


async def test_a_fresh_connection_is_not_given_a_second_chance() -> None:
    """Only a connection that was idle may have been closed without regard to the request."""
    heads: list[bytes] = []

    async def script(peer: Peer) -> None:
        heads.append(await peer.head())

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(GET)
        assert (await client.message()).status == 502
        assert len(heads) == 1


@pytest.mark.parametrize("say", [b"H", b"HTTP/1.1 102 Processing\r\n\r\n", OK[:-1]])
async def test_a_byte_of_an_answer_ends_it(say: bytes) -> None:
    """Then the origin was at work on this very request."""
    origin = Once(say=say)
    async with proxied(origin) as proxy, proxy.client() as client:
        await warm(proxy)
        await client.send(GET)
        await client.rest() if say == OK[:-1] else await client.head()
        assert origin.connections == 1
        await until(lambda: len(proxy.results) == 2)
        assert proxy.handler.exchanges[1].commits == 1


async def test_an_answer_that_does_not_come_in_time_is_not_asked_for_again() -> None:
    """Slow is not closed."""

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(OK)
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await warm(proxy)
        await client.send(GET)
        await until(lambda: len(proxy.handler.exchanges) == 2)
        proxy.time.passes(45.0)
        assert (await client.message()).status == 504
        assert proxy.handler.exchanges[1].commits == 1


# --- content ---


@pytest.mark.parametrize(
    ("head", "content"),
    [
        (b"Content-Length: 5\r\n\r\n", b"hello"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n0\r\n\r\n"),
    ],
)
async def test_content_that_is_held_is_sent_again(head: bytes, content: bytes) -> None:
    """It was all there when the head was written, so nothing of it is lost."""
    origin = Once(content=len(content))
    async with proxied(origin) as proxy, proxy.client() as client:
        await warm(proxy)
        await client.send(b"PUT /x HTTP/1.1\r\nHost: h\r\n" + head + content)
        assert (await client.message()).status == 200
        assert (origin.lost, origin.contents) == (1, [b"hello"])
        assert proxy.buffered_bytes == 0


async def test_content_that_came_while_connecting_again_is_sent_too() -> None:
    """In order, once."""
    origin = Once()
    async with proxied(origin) as proxy, proxy.client() as client:
        await warm(proxy)
        await client.send(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
        await until(lambda: proxy.handler.exchanges[-1].commits == 2)
        await client.send(b"hello")
        assert (await client.message()).status == 200
        assert origin.contents == [b"hello"]


async def test_content_that_was_streamed_on_is_gone() -> None:
    """What follows the head is not kept, so the request cannot be sent again."""
    origin = Once(content=2)
    async with proxied(origin) as proxy, proxy.client() as client:
        await warm(proxy)
        await client.send(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
        await until(lambda: len(proxy.handler.exchanges) == 2)
        await client.send(b"he")
        answer = await client.refused()
        assert (answer.status, answer.reason) == (502, b"upstream_reset")
        assert (origin.lost, origin.connections) == (1, 1)


async def test_an_expectation_is_repeated_with_its_head() -> None:
    """Nothing of the content has been sent: the caller waits on, for the other connection."""
    origin = Once()
    async with proxied(origin) as proxy, proxy.client() as client:
        await warm(proxy)
        await client.send(
            b"PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        await until(lambda: proxy.handler.exchanges[-1].commits == 2)
        await client.send(b"hello")
        assert (await client.message()).status == 200
        assert origin.contents == [b"hello"]


# --- the second attempt ---


async def test_the_second_attempt_may_be_refused() -> None:
    """What ended meanwhile is not sent again, and the fresh connection stays unused."""
    origin = Once()
    async with proxied(origin) as proxy, proxy.client() as client:
        await warm(proxy)

        def commit(exchange: FakeExchange) -> bytes | Answer:
            return b"" if exchange.commits == 1 else Answer(403, b"", b"over")

        proxy.handler.commit = commit
        await client.send(GET)
        answer = await client.message()
        assert (answer.status, answer.body) == (403, b"over")
        assert (origin.lost, origin.heads) == (1, [])
        assert proxy.pool.idle_connections == 1


async def test_a_caller_that_leaves_meanwhile_is_not_served() -> None:
    """There is nobody to repeat the request for."""
    origin = Once()
    async with proxied(origin) as proxy:
        await warm(proxy)
        async with proxy.client() as client:
            await client.send(GET)
            await until(lambda: origin.lost)
            client.reset()
            await until(lambda: proxy.listener.connections == 0)
        assert proxy.results[1][0] in (CLIENT_GONE, 200)
        await until(lambda: proxy.pool.connections == proxy.pool.idle_connections)


async def test_a_full_pool_has_room_for_the_connection_that_replaces_one() -> None:
    """By then the closed one does not count any more."""
    origin = Once()
    async with proxied(origin, max_upstream_connections=1) as proxy, proxy.client() as client:
        await warm(proxy)
        await client.send(GET)
        assert (await client.message()).status == 200


async def test_an_origin_that_is_gone_is_said_to_be() -> None:
    """The second attempt fails for a reason of its own."""

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(OK)
        await peer.head()
        listening.set()
        await gone.wait()

    listening, gone = asyncio.Event(), asyncio.Event()
    async with proxied(script) as proxy, proxy.client() as client:
        await warm(proxy)
        await client.send(GET)
        await listening.wait()
        proxy.pool.port = 1
        gone.set()
        answer = await client.message()
        assert (answer.status, answer.reason) == (502, b"upstream_unreachable")


# --- a close that can be seen ---


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("method", [b"POST", b"PATCH"])
async def test_a_close_that_has_arrived_costs_no_request(method: bytes, full: bool) -> None:
    """What cannot be repeated looks at the connection before using it, even where the loop has not
    come round to noticing the close."""
    over = asyncio.Event()
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await peer.message()
        await peer.send(OK)
        await over.wait()

    bound = 1 if full else 10
    async with proxied(script, max_upstream_connections=bound) as proxy, proxy.client() as client:
        await warm(proxy)
        decide = proxy.handler.decide

        def close_first(exchange: FakeExchange) -> Action:
            # Within one turn of the loop, so that nothing but a look at the socket can tell.
            shut(peers[0])
            return decide(exchange)

        proxy.handler.decide = close_first
        await client.send(b"%b /x HTTP/1.1\r\nHost: h\r\n\r\n" % method)
        assert (await client.message()).status == 200
        assert proxy.handler.exchanges[1].commits == 1
        assert len(peers) == 2
        over.set()


def shut(peer: Peer) -> None:
    """Stop sending, at once and without the loop."""
    same = socket.socket(fileno=os.dup(peer.writer.get_extra_info("socket").fileno()))
    with same:
        same.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("delay_turns", [0, 1, 2, 5])
async def test_an_origin_that_closes_idle_connections_at_once_fails_no_get(
    delay_turns: int,
) -> None:
    """Hundreds of requests against a server that never announces the end of a connection."""

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(OK)
        for _ in range(delay_turns):
            await asyncio.sleep(0)

    async with proxied(script) as proxy, proxy.client() as client:
        for _ in range(300):
            await client.send(GET)
            answer = await client.message()
            assert (answer.status, answer.body) == (200, b"ok")
        assert set(proxy.results) == {(200, None)}


async def test_pipelined_requests_survive_too() -> None:
    """The requests behind one that is repeated wait for it."""
    async with proxied(closing_after(OK)) as proxy, proxy.client() as client:
        await client.send(GET * 50)
        for _ in range(50):
            assert (await client.message()).status == 200


async def test_nothing_is_looked_at_or_repeated_while_all_is_well() -> None:
    """One attempt for each request."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        for method in (b"GET", b"POST", b"PUT"):
            await client.send(method + b" / HTTP/1.1\r\nHost: h\r\n\r\n")
            assert (await client.message()).status == 200
        assert [each.commits for each in proxy.handler.exchanges] == [1, 1, 1]
        assert proxy.pool.connections == 1


async def test_nothing_is_repeated_when_we_are_the_ones_who_leave() -> None:
    """A request that is cut off because the sidecar stops is not begun again."""

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(OK)
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await warm(proxy)
        await client.send(GET)
        await until(lambda: len(proxy.handler.exchanges) == 2)
        proxy.pool.close()
        answer = await client.message()
        assert (answer.status, answer.reason) == (502, b"upstream_reset")
        assert proxy.handler.exchanges[1].commits == 1
        await until(lambda: proxy.pool.connections == 0)
