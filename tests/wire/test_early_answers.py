"""Answers that come before the request has: the caller gets them whole, whoever resets what."""

import asyncio
import os
import select
import socket

import pytest

from sidecar.core.outcome import Reason
from sidecar.wire.pacing import LINGER_BYTES
from sidecar.wire.sockets import LAST_READ_BYTES
from sidecar.wire.upstream import WRITE_HIGH_WATER_BYTES
from tests.support.wire_exchange import FakeExchange
from tests.support.wire_peer import Peer, until
from tests.support.wire_proxy import Proxy, proxied

SIZE = 50_000_000
PUT = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % SIZE
NO = b"HTTP/1.1 413 No\r\nContent-Length: 2\r\n\r\nno"
CHUNKED_NO = b"HTTP/1.1 413 No\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n"


@pytest.mark.parametrize("answer", [NO, CHUNKED_NO], ids=["length", "chunked"])
@pytest.mark.parametrize("paused", [False, True])
async def test_an_answer_that_is_followed_by_a_reset_is_an_answer(
    answer: bytes, paused: bool
) -> None:
    """The origin answers and closes on content it has not read: what the system had received
    before the reset counts, also where writing was the first to notice it."""

    async def script(peer: Peer) -> None:
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asked.wait()
        with socket.socket(fileno=os.dup(peer.writer.get_extra_info("socket").fileno())) as raw:
            raw.send(answer)
        peer.reset()

    asked = asyncio.Event()
    async with proxied(script, small_window=True) as proxy, proxy.client() as client:
        await client.send(PUT)
        sending = asyncio.create_task(client.send(b"x" * SIZE))
        if paused:
            await until(lambda: proxy.pool.buffered_bytes > WRITE_HIGH_WATER_BYTES)
        else:
            await until(lambda: proxy.pool.buffered_bytes > 0)
        asked.set()
        received = await client.message()
        assert (received.status, received.body) == (413, b"no")
        assert received.get(b"connection") == b"close"
        assert proxy.results == [(413, None)]
        await until(lambda: proxy.pool.connections == 0)
        await give_up(sending)


async def give_up(sending: "asyncio.Task[None]") -> None:
    """End an upload that nobody reads."""
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


async def lost_while_writing(proxy: Proxy, client: Peer, peers: list[Peer], said: bytes) -> None:
    """Let the origin say something and reset, both unnoticed until our next write fails."""
    await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\na")
    await until(lambda: peers and proxy.handler.exchanges[0].commits)
    (upstream,) = proxy.pool._all
    upstream.transport.pause_reading()
    await peers[0].send(said)
    peers[0].reset()
    poll = select.poll()
    poll.register(upstream.transport.get_extra_info("socket").fileno(), 0)
    await until(lambda: poll.poll(0))  # the reset is there
    await client.send(b"b")


@pytest.mark.parametrize("said", [NO, CHUNKED_NO, b"HTTP/1.1 103 Hints\r\n\r\n" + NO])
async def test_what_arrived_before_a_failed_write_is_read(said: bytes) -> None:
    """Writing fails first where the loop has not read yet; the transport would forget the rest."""
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await asyncio.Event().wait()

    async with proxied(script) as proxy, proxy.client() as client:
        await lost_while_writing(proxy, client, peers, said)
        answer = await client.message()
        if answer.status == 103:
            answer = await client.message()
        assert (answer.status, answer.body) == (413, b"no")
        assert await client.rest() == b""
        assert not client.was_reset
        assert proxy.results == [(413, None)]


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 413 No\r\nContent-Le", b"garbage\r\n\r\n"])
async def test_what_is_no_answer_before_a_failed_write_is_502(said: bytes) -> None:
    """Nothing of it was passed on, so the caller can be told."""
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await asyncio.Event().wait()

    async with proxied(script) as proxy, proxy.client() as client:
        await lost_while_writing(proxy, client, peers, said)
        assert (await client.refused()).status == 502
        failures = proxy.handler.exchanges[0].failures
        expected = Reason.UPSTREAM_MALFORMED if b"garbage" in said else Reason.UPSTREAM_RESET
        assert failures == [expected]


async def test_half_an_answer_before_a_failed_write_is_cut() -> None:
    """As it would be had the loop read it a moment earlier."""
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await asyncio.Event().wait()

    async with proxied(script) as proxy, proxy.client() as client:
        await lost_while_writing(proxy, client, peers, NO[:-1])
        await client.rest()
        assert proxy.results == [(413, Reason.UPSTREAM_RESET)]


async def test_an_answer_until_close_is_not_whole_after_a_reset() -> None:
    """Only an orderly close ends it, and that was not seen."""
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await asyncio.Event().wait()

    async with proxied(script) as proxy, proxy.client() as client:
        await lost_while_writing(proxy, client, peers, b"HTTP/1.1 200 OK\r\n\r\nhalf?")
        received = await client.rest()
        assert not received.endswith(b"0\r\n\r\n")
        assert proxy.results == [(200, Reason.UPSTREAM_RESET)]


async def test_no_more_is_read_than_the_bound_on_memory_allows() -> None:
    """One read of a loop: an answer that is longer is not whole."""
    peers: list[Peer] = []

    async def script(peer: Peer) -> None:
        peers.append(peer)
        await asyncio.Event().wait()

    body = b"x" * LAST_READ_BYTES
    async with proxied(script) as proxy, proxy.client() as client:
        raw = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        await lost_while_writing(proxy, client, peers, raw)
        assert len(await client.rest()) <= LAST_READ_BYTES + 200
        assert [status for status, _ in proxy.results] == [200]


# --- the caller's side ---


async def test_a_caller_that_is_still_writing_gets_all_of_the_answer() -> None:
    """Its content is read and dropped for a while; no reset takes the answer away."""
    body = b"x" * 100_000

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 403 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    async with proxied(script) as proxy, proxy.client() as client:
        content = b"y" * (LINGER_BYTES // 2)
        await client.send(
            b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (2 * len(content))
        )
        await until(lambda: proxy.results)
        await client.send(content)  # as a client does that reads only when all is written
        answer = await client.message()
        assert (answer.status, answer.body) == (403, body)
        assert await client.rest() == b""
        assert not client.was_reset


@pytest.mark.parametrize("leaves", [Peer.reset, Peer.close, Peer.end])
async def test_leaving_in_the_middle_of_an_early_answer_frees_both(leaves: object) -> None:
    """A caller that goes costs nobody anything."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(PUT + b"x")
        await client.head()
        leaves(client)  # type: ignore[operator]
        await until(lambda: proxy.listener.connections == 0)
        await until(lambda: proxy.pool.connections == 0)
        assert proxy.results == [(200, None)]


async def test_the_next_caller_gets_its_own_answer() -> None:
    """An early answer leaves no connection behind on which content would be read as a request."""
    seen: list[bytes] = []

    async def script(peer: Peer) -> None:
        while True:
            seen.append(await peer.head())
            await peer.send(NO if seen[-1].startswith(b"PUT") else NO.replace(b"413 No", b"200 OK"))

    async with proxied(script) as proxy:
        for _ in range(3):
            async with proxy.client() as client:
                await client.send(PUT)
                assert (await client.message()).status == 413
                await client.send(b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
            async with proxy.client() as client:
                proxy.handler.decide = FakeExchange.forward
                await client.send(b"GET /innocent HTTP/1.1\r\nHost: h\r\n\r\n")
                assert (await client.message()).status == 200
        assert not any(b"smuggled" in head for head in seen)
