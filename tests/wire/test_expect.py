"""``Expect: 100-continue``: the head goes first, and nobody waits for ever (RFC 9110, 10.1.1)."""

import asyncio

import aiohttp
import pytest
from aiohttp import web

from sidecar.core.outcome import Reason
from sidecar.wire.exchange import Answer, Pending
from tests.support.wire_peer import Message, Peer, until
from tests.support.wire_proxy import answer_each, proxied, serving

PUT = b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-Continue\r\nTransfer-Encoding: chunked\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Polite:
    """Script: answer 100 to each expectation, then read the content and answer ``OK``."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.contents: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            head = await peer.head()
            self.heads.append(head)
            if b"\r\nexpect: 100-continue\r\n" in head.lower():
                await peer.send(CONTINUE)
            chunked = b"chunked" in head
            self.contents.append(await peer.chunks() if chunked else await peer.exactly(5))
            await peer.send(OK)


@pytest.mark.parametrize(
    ("head", "content"), [(PUT, b"hello"), (CHUNKED, b"5\r\nhello\r\n0\r\n\r\n")]
)
async def test_the_expectation_goes_on_and_its_answer_comes_back(
    head: bytes, content: bytes
) -> None:
    """The caller sends its content when the origin wants it; both connections stay."""
    origin = Polite()
    async with proxied(origin) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(head)
            assert (await client.message()).start == b"HTTP/1.1 100 Continue"
            await client.send(content)
            answer = await client.message()
            assert (answer.status, answer.get(b"connection")) == (200, None)
        assert origin.contents == [b"hello"] * 2
        assert proxy.results == [(200, None)] * 2
        assert proxy.pool.idle_connections == 1


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_caller_that_does_not_wait_is_served(at_once: bool) -> None:
    """It may send its content at any time; the 100 that comes anyway does it no harm."""
    origin = Polite()
    async with proxied(origin) as proxy, proxy.client() as client:
        if at_once:
            await client.send(PUT + b"hello")
        else:
            await client.send(PUT)
            await until(lambda: origin.heads)
            await client.send(b"hello")
        assert (await client.message()).status == 100
        assert (await client.message()).status == 200


async def test_an_origin_that_never_says_100_gets_the_content_of_a_caller_that_loses_patience() -> (
    None
):
    """Nothing but the content has to move for the exchange to succeed."""

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(OK)

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(PUT)
        await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
        await client.send(b"hello")
        assert (await client.message()).status == 200


async def test_a_refusal_is_the_final_answer_and_content_is_not_awaited() -> None:
    """Decided on the head: the caller keeps its content, the connection ends, nobody was asked."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        proxy.handler.decide = lambda _exchange: Answer(401, b"", b"who?")
        await client.send(PUT)
        assert (await client.refused()).status == 401
        assert proxy.pool.connections == 0


async def test_content_that_would_be_too_large_is_refused_by_its_length() -> None:
    """The reason why clients ask first."""
    async with proxied(answer_each, max_body_bytes=4) as proxy, proxy.client() as client:
        await client.send(PUT)
        assert (await client.refused()).reason == b"body_too_large"


@pytest.mark.parametrize("closes", [True, False])
async def test_a_final_answer_in_place_of_100_is_passed_on(closes: bool) -> None:
    """The caller gets it whole; neither connection is used again, for content might still come."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno")
        if not closes:
            await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(PUT)
        answer = await client.refused()
        assert (answer.status, answer.body) == (413, b"no")
        assert proxy.results == [(413, None)]
        await until(lambda: proxy.pool.connections == 0)


async def test_a_final_answer_may_take_its_time_though_the_content_never_comes() -> None:
    """A caller that was answered without its content owes nothing: its silence is not counted."""
    more = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        await more.wait()
        await peer.send(b"def")
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(PUT)
        await client.head()
        assert await client.exactly(3) == b"abc"
        proxy.time.passes(20.0)
        assert proxy.results == []
        more.set()
        assert await client.exactly(3) == b"def"
        assert proxy.results == [(200, None)]


async def test_when_nobody_moves_the_origin_is_the_one_that_is_late() -> None:
    """The caller waits as it may; the time for an answer runs from the head."""

    async def script(peer: Peer) -> None:
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(PUT)
        await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
        proxy.time.passes(44.9)
        assert proxy.results == []
        proxy.time.passes(0.1)
        answer = await client.refused()
        assert (answer.status, answer.reason) == (504, b"upstream_timeout")
        await until(lambda: proxy.pool.connections == 0)


@pytest.mark.parametrize("answered", [True, False])
async def test_after_100_or_the_first_byte_it_is_the_callers_turn(answered: bool) -> None:
    """Content that was asked for, or begun, and does not come is 408; the origin is not blamed."""

    late, begun = asyncio.Event(), asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        if answered:
            await late.wait()
            await peer.send(CONTINUE)
        else:
            await peer.exactly(1)
            begun.set()
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(PUT)
        await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
        proxy.time.passes(40.0)
        if answered:
            late.set()
            assert (await client.message()).status == 100
        else:
            await client.send(b"h")
            await begun.wait()
        proxy.time.passes(29.9)
        assert proxy.results == []
        proxy.time.passes(0.2)
        answer = await client.refused()
        assert (answer.status, answer.reason) == (408, b"request_timeout")
        await until(lambda: proxy.pool.connections == 0)


async def test_a_decision_that_takes_long_does_not_make_a_waiting_caller_late() -> None:
    """While we decide, it is neither's turn but ours."""
    decided = asyncio.Event()

    async def wait() -> None:
        await decided.wait()

    async with proxied(Polite()) as proxy, proxy.client() as client:
        proxy.handler.decide = lambda _exchange: Pending(wait())
        await client.send(PUT)
        await until(lambda: proxy.handler.exchanges)
        proxy.time.passes(40.0)
        decided.set()
        assert (await client.message()).status == 100
        await client.send(b"hello")
        assert (await client.message()).status == 200


async def test_http10_has_no_expectations() -> None:
    """The field is dropped, and no interim answer reaches the caller (RFC 9110, 10.1.1)."""
    origin = Polite()
    async with proxied(origin) as proxy, proxy.client() as client:
        await client.send(PUT.replace(b"HTTP/1.1", b"HTTP/1.0") + b"hello")
        assert (await client.refused()).status == 200
        assert b"expect" not in origin.heads[0].lower()


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
        b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_without_content_there_is_nothing_to_expect(head: bytes) -> None:
    """The field is not passed on, and the exchange is like any other."""
    received: list[Message] = []

    async def script(peer: Peer) -> None:
        while True:
            received.append(await peer.message())
            await peer.send(OK)

    async with proxied(script) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(head)
            assert (await client.message()).status == 200
        assert [each.get(b"expect") for each in received] == [None, None]
        assert proxy.pool.idle_connections == 1


async def test_an_expectation_that_is_said_twice_goes_on_once() -> None:
    """One is enough, and two could be read as a list that means something else."""
    origin = Polite()
    twice = PUT.replace(b"Content", b"expect: 100-continue\r\nContent")
    async with proxied(origin) as proxy, proxy.client() as client:
        await client.send(twice)
        assert (await client.message()).status == 100
        await client.send(b"hello")
        assert (await client.message()).status == 200
        assert origin.heads[0].lower().count(b"expect:") == 1


async def test_an_expectation_that_connection_takes_away_is_none() -> None:
    """It does not go on, so nobody's answer is waited for: the time for content runs."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        await client.send(PUT.replace(b"Content", b"Connection: expect\r\nContent"))
        await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
        proxy.time.passes(30.0)
        assert (await client.refused()).reason == Reason.REQUEST_TIMEOUT.code.encode()


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_client_and_a_server_that_others_wrote(refuses: bool) -> None:
    """aiohttp's client waits for 100 before it sends; its server says so, or refuses."""

    async def expectation(request: web.Request) -> None:
        if refuses:
            raise web.HTTPRequestEntityTooLarge(1, 2, text="no")
        assert request.transport is not None
        request.transport.write(CONTINUE)

    async def handle(request: web.Request) -> web.Response:
        return web.Response(body=(await request.read())[::-1])

    app = web.Application()
    app.router.add_put("/", handle, expect_handler=expectation)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        async with serving(port) as proxy, aiohttp.ClientSession() as session:
            for _ in range(3):
                async with session.put(
                    f"http://127.0.0.1:{proxy.address[1]}/",
                    data=b"x" * 100_000 + b"y",
                    expect100=True,
                ) as answer:
                    content = await answer.read()
                    assert answer.status == (413 if refuses else 200)
                    assert content == (b"no" if refuses else b"y" + b"x" * 100_000)
    finally:
        await runner.cleanup()
