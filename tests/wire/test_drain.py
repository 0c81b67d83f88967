"""Stopping: what is in progress finishes, nothing new begins, and it ends in time."""

import asyncio

import pytest

from sidecar.core.outcome import Reason
from tests.support.wire_peer import Peer, connected, until
from tests.support.wire_proxy import answer_each, proxied

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Gate:
    """Script: begin an answer to each request, and finish it when the gate is opened."""

    def __init__(self, *, head_first: bool) -> None:
        self.opened = asyncio.Event()
        self._head_first = head_first

    async def __call__(self, peer: Peer) -> None:
        head, rest = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"done"
        while True:
            await peer.message()
            if self._head_first:
                await peer.send(head)
            await self.opened.wait()
            await peer.send(rest if self._head_first else head + rest)


@pytest.mark.parametrize("head_first", [False, True])
async def test_an_exchange_in_progress_finishes_and_then_its_connection(head_first: bool) -> None:
    """Idle connections close at once; a busy one after its answer, which says so if it can."""
    gate = Gate(head_first=head_first)
    async with proxied(gate) as proxy, proxy.client() as busy, proxy.client() as idle:
        await busy.send(GET + GET)
        await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
        if head_first:
            assert b"connection" not in await busy.head()
        await until(lambda: proxy.listener.connections == 2)
        draining = asyncio.create_task(proxy.listener.drain(20.0))
        assert await idle.rest() == b""
        with pytest.raises(ConnectionError):
            async with connected(*proxy.address):
                pass
        assert not draining.done()
        gate.opened.set()
        if head_first:
            assert await busy.rest() == b"done"
        else:
            assert (await busy.refused()).body == b"done"
        busy.close()
        await draining
        assert proxy.results == [(200, None)]
        assert proxy.listener.connections == 0


async def test_a_request_whose_head_had_begun_is_served_and_closed() -> None:
    """It was sent before the stop; the answer tells the caller to go elsewhere."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        await client.send(GET[:10])
        await until(lambda: proxy.listener.buffered_bytes == 10)
        draining = asyncio.create_task(proxy.listener.drain(20.0))
        await until(lambda: proxy.listener.draining)
        await client.send(GET[10:])
        assert (await client.refused()).status == 200
        client.close()
        await draining


async def test_what_does_not_finish_in_time_is_cut() -> None:
    """The stop is bounded; exchanges that are cut are finished before it returns."""
    gate = Gate(head_first=False)
    async with proxied(gate) as proxy, proxy.client() as client:
        await client.send(GET)
        await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
        await proxy.listener.drain(0.01)
        assert proxy.listener.connections == 0
        assert len(proxy.results) == 1
        assert await client.rest() == b""


async def test_a_connection_accepted_after_the_stop_is_told_so() -> None:
    """What the kernel had accepted for us is not left waiting for a request."""
    async with proxied(answer_each) as proxy:
        proxy.listener.stopped = True
        async with proxy.client() as client:
            answer = await client.refused()
            assert (answer.status, answer.reason) == (503, b"draining")


@pytest.mark.parametrize(
    ("begun", "reason"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nhalf", Reason.UPSTREAM_RESET),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf", Reason.UPSTREAM_RESET),
    ],
)
async def test_closing_the_pool_does_not_make_half_an_answer_whole(
    begun: bytes, reason: Reason
) -> None:
    """Content that would end with the origin's connection does not end with our giving up."""

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(begun)
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(GET)
        await client.head()
        proxy.pool.close()
        assert not (await client.rest()).endswith(b"0\r\n\r\n")
        assert proxy.results == [(200, reason)]


async def test_closing_the_pool_answers_who_still_waits() -> None:
    """A request without an answer gets 502 rather than silence."""

    async def script(peer: Peer) -> None:
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(GET)
        await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
        proxy.pool.close()
        assert (await client.message()).status == 502


async def test_winding_down_serves_and_tells_to_close() -> None:
    """Old and new connections get their answers, each with the word that it was the last one."""
    async with proxied(answer_each) as proxy, proxy.client() as old:
        await old.send(GET)
        assert (await old.message()).get(b"connection") is None
        proxy.listener.wind_down(20.0)
        async with proxy.client() as new:
            for client in (old, new):
                await client.send(GET)
                assert b"\r\nconnection: close\r\n" in (await client.rest()).lower()


async def test_who_is_idle_after_the_grace_is_closed() -> None:
    """An exchange in progress goes on; new connections are accepted still."""
    gate = Gate(head_first=False)
    async with proxied(gate) as proxy, proxy.client() as idle, proxy.client() as busy:
        gate.opened.set()
        await idle.send(GET)
        assert (await idle.message()).body == b"done"
        gate.opened.clear()
        await busy.send(GET)
        await until(lambda: proxy.handler.exchanges[-1].commits)
        proxy.listener.wind_down(0.0)
        assert await idle.rest() == b""
        gate.opened.set()
        assert b"connection: close" in (await busy.rest()).lower()
        async with proxy.client() as late:
            await late.send(GET)
            assert (await late.head()).startswith(b"HTTP/1.1 200 ")
