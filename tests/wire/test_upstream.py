"""The origin's side: which answers are passed on, and which connections are used again."""

import asyncio

import pytest

from sidecar.core.outcome import Reason
from sidecar.wire.exchange import Answer
from tests.support.wire_peer import Peer, until
from tests.support.wire_proxy import answer_each, answering, closing_after, proxied

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


# --- answers that are refused ---


@pytest.mark.parametrize(
    "response",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 099 Odd\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nA : b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 5_000 + b"\r\n\r\n",
        b"y" * 5_000,
    ],
)
async def test_a_bad_answer_becomes_502_and_is_never_passed_on(response: bytes) -> None:
    """Nothing of it reaches the caller, whose own connection stays; the origin's does not."""
    async with proxied(answering(response)) as proxy, proxy.client() as client:
        await client.send(GET)
        answer = await client.message()
        assert (answer.status, answer.reason) == (502, b"upstream_malformed")
        assert answer.get(b"connection") is None
        assert proxy.handler.exchanges[0].failures == [Reason.UPSTREAM_MALFORMED]
        assert proxy.results == [(502, None)]
        await until(lambda: proxy.pool.connections == 0)


@pytest.mark.parametrize(
    ("begun", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Reason.UPSTREAM_RESET),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
         Reason.UPSTREAM_RESET),
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
async def test_an_answer_cut_short_is_cut_short_for_the_caller_too(
    version: bytes, begun: bytes, reason: Reason
) -> None:
    """The head is out, so the only honest sign is the end of the connection; where that could be
    taken for the end of the content, a reset."""
    async with proxied(closing_after(begun)) as proxy, proxy.client() as client:
        await client.send(b"GET / HTTP/%b\r\nHost: h\r\n\r\n" % version)
        received = await client.rest()
        assert not received.endswith(b"0\r\n\r\n")
        if version == b"1.0":
            assert client.was_reset
        else:
            assert b"half" in received
        assert proxy.results == [(200, reason)]


async def test_broken_chunks_after_the_head_end_the_connection() -> None:
    """A framing error in the middle of an answer is not hidden from the caller."""
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await release.wait()
        await peer.send(b"nonsense\r\n0\r\n\r\n")
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(GET)
        assert b"200 OK" in await client.head()
        assert await client.exactly(6) == b"1\r\na\r\n"
        release.set()
        assert await client.rest() == b""
        assert proxy.results == [(200, Reason.UPSTREAM_MALFORMED)]
        await until(lambda: proxy.pool.connections == 0)


async def test_a_reset_does_not_end_content_until_close() -> None:
    """Only an orderly close means that such an answer is whole."""
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
        await release.wait()
        peer.reset()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(GET)
        await client.head()
        assert await client.exactly(9) == b"4\r\nhalf\r\n"
        release.set()
        assert await client.rest() == b""
        assert proxy.results == [(200, Reason.UPSTREAM_RESET)]


@pytest.mark.parametrize("rude", [False, True])
async def test_a_connection_that_ends_before_an_answer_is_502(rude: bool) -> None:
    """The caller learns that there will be no answer, and may go on asking."""

    async def script(peer: Peer) -> None:
        await peer.message()
        if rude:
            peer.reset()

    async with proxied(script) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(GET)
            answer = await client.message()
            assert (answer.status, answer.reason) == (502, b"upstream_reset")
        await until(lambda: proxy.pool.connections == 0)


# --- which connections are used again ---


async def test_one_connection_serves_many_requests() -> None:
    """The newest idle connection is used first; two at once need two."""
    async with proxied(answer_each) as proxy:
        async with proxy.client() as one, proxy.client() as two:
            for _ in range(3):
                for client in (one, two):
                    await client.send(GET)
                    assert (await client.message()).status == 200
        assert (proxy.pool.connections, proxy.pool.idle_connections) == (1, 1)


@pytest.mark.parametrize(
    "response",
    [
        OK + b"x",
        OK + OK,
        b"HTTP/1.1 204 No Content\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_a_connection_whose_state_is_unknown_is_not_used_again(response: bytes) -> None:
    """Extra bytes, a second answer, ``close``, HTTP/1.0: the answer counts, the connection ends,
    and the next caller is not poisoned."""
    async with proxied(answering(response)) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(GET)
            answer = await client.message()
            assert answer.status in (200, 204)
            assert len(answer.body) in (0, 2)
            assert proxy.pool.idle_connections == 0
            await until(lambda: proxy.pool.connections == 0)


async def test_head_answered_with_content_does_not_poison_the_next_request() -> None:
    """Content after an answer to HEAD is thrown away with its connection."""
    async with proxied(answering(OK)) as proxy, proxy.client() as client:
        await client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.message(head_only=True)).status == 200
        await until(lambda: proxy.pool.connections == 0)
        await client.send(GET)
        assert (await client.message()).body == b"ok"


async def test_a_close_that_was_visible_costs_nobody_a_request() -> None:
    """A pooled connection that the origin closed in the meantime is not used."""
    async with proxied(closing_after(OK)) as proxy, proxy.client() as client:
        for _ in range(5):
            await client.send(GET)
            assert (await client.message()).status == 200
            await until(lambda: proxy.pool.connections == 0)


async def test_bytes_on_an_idle_connection_end_it() -> None:
    """What belongs to no request, such as a late 408, is not taken for the next answer."""
    speak = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(OK)
        await speak.wait()
        await peer.send(b"HTTP/1.1 408 Too Late\r\nContent-Length: 0\r\n\r\n")
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(GET)
        assert (await client.message()).status == 200
        assert proxy.pool.idle_connections == 1
        speak.set()
        await until(lambda: proxy.pool.connections == 0)
        await client.send(GET)
        assert (await client.message()).body == b"ok"


async def test_an_unused_connection_goes_back_as_good_as_before() -> None:
    """A second check that refuses leaves the connection for others, with its idle time running."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        proxy.handler.commit = lambda _exchange: Answer(403, b"")
        for _ in range(3):
            await client.send(GET)
            assert (await client.message()).status == 403
        assert (proxy.pool.connections, proxy.pool.idle_connections) == (1, 1)
        proxy.time.passes(4.0)
        await until(lambda: proxy.pool.connections == 0)


async def test_a_connection_that_could_not_be_awaited_is_not_counted_for_ever() -> None:
    """Whoever leaves while connecting, at whatever moment, gives the place back."""
    async with proxied(answer_each, max_upstream_connections=3) as proxy:
        for turns in range(40):
            opening = asyncio.create_task(proxy.pool.open())
            if turns % 2:
                await until(lambda: proxy.pool.connections)
            else:
                for _ in range(turns // 2):
                    await asyncio.sleep(0)
            opening.cancel()
            outcome = (await asyncio.gather(opening, return_exceptions=True))[0]
            if not isinstance(outcome, BaseException):
                outcome.abort()
            await until(lambda: proxy.pool.connections == 0)
        assert not proxy.pool.is_full
