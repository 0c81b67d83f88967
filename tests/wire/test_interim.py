"""Interim answers: passed on in order to whoever can read them (RFC 9110, 15.2)."""

import asyncio

import pytest

from sidecar.core.outcome import Reason
from sidecar.wire.upstream import MAX_INTERIM_RESPONSES
from tests.support.wire_peer import Peer, until
from tests.support.wire_proxy import answering, proxied

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
PROCESSING = b"HTTP/1.1 102 Processing\r\n\r\n"


async def test_interim_answers_are_passed_on_in_order() -> None:
    """Known ones, unknown ones and a 100 that nobody asked for; the exchange counts once."""
    response = b"HTTP/1.1 100 Continue\r\n\r\n" + HINTS + b"HTTP/1.1 199 Odd\r\n\r\n" + OK
    async with proxied(answering(response)) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(GET)
            answers = [await client.message() for _ in range(4)]
            assert [each.status for each in answers] == [100, 103, 199, 200]
            assert answers[1].get(b"link") == b"</a>"
        assert proxy.results == [(200, None)] * 2
        assert proxy.pool.connections == 1


async def test_an_interim_answer_does_not_wait_for_the_final_one() -> None:
    """What it is for would be lost otherwise."""
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(HINTS)
        await release.wait()
        await peer.send(OK)
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(GET)
        assert (await client.message()).status == 103
        release.set()
        assert (await client.message()).status == 200


async def test_http10_gets_the_final_answer_alone() -> None:
    """It would take the first head for the answer."""
    async with proxied(answering(HINTS + PROCESSING + OK)) as proxy, proxy.client() as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        assert (await client.refused()).status == 200


async def test_what_is_not_for_the_caller_is_removed_from_interim_answers_too() -> None:
    """The application's own fields, hop-by-hop fields, and framing that they must not have."""
    response = (
        b"HTTP/1.1 103 Early Hints\r\nX-Secret: s\r\nConnection: x-hop\r\nX-Hop: h\r\n"
        b"Content-Length: 3\r\nKeep-Alive: timeout=5\r\nLink: </a>\r\n\r\n" + OK
    )
    async with proxied(answering(response)) as proxy, proxy.client() as client:
        await client.send(GET)
        hints = await client.head()
        assert hints == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        assert (await client.message()).status == 200


async def test_an_interim_answer_that_says_close_is_believed() -> None:
    """The final one need not repeat it; the caller's connection is no concern of the origin's."""
    response = b"HTTP/1.1 103 Early Hints\r\nConnection: close\r\n\r\n" + OK
    async with proxied(answering(response)) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(GET)
            assert (await client.message()).get(b"connection") is None
            assert (await client.message()).get(b"connection") is None
            await until(lambda: proxy.pool.connections == 0)


async def test_as_many_as_allowed_are_passed_on_and_one_more_is_502() -> None:
    """The bound itself is allowed, and counts anew for the next request."""
    many = PROCESSING * MAX_INTERIM_RESPONSES
    async with proxied(answering(many + OK)) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(GET)
            for _ in range(MAX_INTERIM_RESPONSES):
                assert (await client.message()).status == 102
            assert (await client.message()).status == 200
    async with proxied(answering(many + PROCESSING + OK)) as proxy, proxy.client() as client:
        await client.send(GET)
        for _ in range(MAX_INTERIM_RESPONSES):
            assert (await client.message()).status == 102
        answer = await client.message()
        assert (answer.status, answer.reason) == (502, b"upstream_malformed")
        await until(lambda: proxy.pool.connections == 0)


@pytest.mark.parametrize("rude", [True, False])
async def test_an_origin_that_leaves_after_an_interim_answer_is_502(rude: bool) -> None:
    """The caller has no final answer yet, so it can be told; nothing is repeated."""

    leave = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(OK)
        await peer.message()
        await peer.send(HINTS)
        await leave.wait()
        if rude:
            peer.reset()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(GET)
        assert (await client.message()).status == 200
        await client.send(GET)
        assert (await client.message()).status == 103
        leave.set()
        answer = await client.message()
        assert (answer.status, answer.reason) == (502, b"upstream_reset")
        assert proxy.handler.exchanges[1].failures == [Reason.UPSTREAM_RESET]
        assert proxy.handler.exchanges[1].commits == 1
