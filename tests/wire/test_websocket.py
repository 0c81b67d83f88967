"""Upgrades and the tunnel after them, byte by byte, with peers that behave and that do not."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sidecar.core.outcome import Reason
from tests.support.websocket import (
    ACCEPT,
    AGREE,
    ASK,
    UPGRADE,
    accept_of,
    ask,
    closing,
    read_frame,
    text,
)
from tests.support.wire_peer import Peer, until
from tests.support.wire_proxy import Proxy, answering, proxied


class Server:
    """Script: agree to a WebSocket, then leave the connection to the test."""

    def __init__(self, agreement: bytes = AGREE) -> None:
        self.agreement = agreement
        self.request: Any = None
        self._peer: asyncio.Future[Peer] = asyncio.get_running_loop().create_future()
        self._over = asyncio.Event()

    async def __call__(self, peer: Peer) -> None:
        self.request = await peer.message()
        await peer.send(self.agreement)
        self._peer.set_result(peer)
        await self._over.wait()

    async def peer(self) -> Peer:
        async with asyncio.timeout(10):
            return await self._peer

    def over(self) -> None:
        self._over.set()


@asynccontextmanager
async def tunnelled(
    agreement: bytes = AGREE, **options: Any
) -> AsyncIterator[tuple[Proxy, Peer, Peer]]:
    """A WebSocket through the proxy: the proxy, its client and its server."""
    server = Server(agreement)
    async with proxied(server, **options) as proxy, proxy.client() as client:
        await ask(client)
        try:
            yield proxy, client, await server.peer()
        finally:
            server.over()


async def test_a_caller_that_takes_trailers_asks_for_the_upgrade_alone() -> None:
    """``TE`` goes no further: a second ``Connection`` could be read instead of the first."""
    server = Server()
    async with proxied(server) as proxy, proxy.client() as client:
        await client.send(ASK[:-2] + b"TE: trailers\r\n\r\n")
        assert (await client.message()).status == 101
        await server.peer()
        assert server.request.all(b"connection") == [b"upgrade"]
        assert server.request.all(b"te") == []
        server.over()


async def test_a_websocket_is_asked_for_and_agreed_to_as_it_was() -> None:
    """The handshake's own fields, subprotocols and extensions pass; ours and secret ones do not."""
    agreement = (
        AGREE[:-2] + b"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Extensions: permessage-deflate"
        b"\r\nX-Secret: s\r\n\r\n"
    )
    server = Server(agreement)
    async with proxied(server) as proxy, proxy.client() as client:
        await client.send(
            ASK[:-2] + b"Sec-WebSocket-Protocol: chat, other\r\nSec-WebSocket-Extensions: "
            b"permessage-deflate; client_max_window_bits\r\nX-Secret: s\r\n\r\n"
        )
        answer = await client.message()
        assert answer.status == 101
        assert answer.get(b"upgrade") == b"websocket"
        assert answer.get(b"connection") == b"upgrade"
        assert answer.get(b"sec-websocket-accept") == ACCEPT
        assert answer.get(b"sec-websocket-protocol") == b"chat"
        assert answer.get(b"sec-websocket-extensions") == b"permessage-deflate"
        assert answer.get(b"x-secret") is None
        request = server.request
        assert request.get(b"upgrade") == b"websocket"
        assert request.get(b"connection") == b"upgrade"
        assert request.get(b"sec-websocket-version") == b"13"
        assert request.get(b"sec-websocket-protocol") == b"chat, other"
        assert request.get(b"x-permit") == b"yes"
        assert request.get(b"x-secret") is None
        assert accept_of(request.get(b"sec-websocket-key")) == ACCEPT
        assert proxy.listener.tunnels == 1
        server.over()
    assert proxy.listener.tunnels == 0
    assert proxy.results == [(101, None)]


@pytest.mark.parametrize(
    "fields",
    [
        UPGRADE.replace(b"13", b"8"),
        UPGRADE.replace(b"Sec-WebSocket-Version: 13\r\n", b""),
        UPGRADE.replace(b"Connection: Upgrade\r\n", b""),
        UPGRADE.replace(b"Connection: Upgrade", b"Connection: upgrade, sec-websocket-key"),
        UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZSBub25j"),
        UPGRADE.replace(b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhlIHNhbXBsZ!!ub25jZQ=="),
        UPGRADE + b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n",
        UPGRADE + b"Upgrade: h2c\r\n",
        UPGRADE.replace(b"websocket", b"h2c, websocket"),
        UPGRADE.replace(b"websocket", b"tls/1.0"),
        UPGRADE + b"Content-Length: 4\r\n",
        UPGRADE + b"Transfer-Encoding: chunked\r\n",
    ],
    ids=[
        "version-8", "no-version", "no-connection", "connection-drops-key", "short-key", "bad-key",
        "two-keys", "two-upgrades", "list", "tls", "content", "chunked",
    ],
)  # fmt: skip
async def test_a_half_proper_upgrade_is_refused(fields: bytes) -> None:
    """It never reaches the app: the two could disagree what the next bytes are."""
    async with proxied(answering(AGREE)) as proxy, proxy.client() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n")
        answer = await client.refused()
        assert (answer.status, answer.reason) == (501, b"upgrade_unsupported")
        assert proxy.handler.exchanges == []


@pytest.mark.parametrize(
    "start",
    [b"POST / HTTP/1.1\r\nHost: h\r\n", b"HEAD / HTTP/1.1\r\nHost: h\r\n", b"GET / HTTP/1.0\r\n"],
)
async def test_only_get_in_http_1_1_may_ask(start: bytes) -> None:
    """RFC 6455, 4.1."""
    async with proxied(answering(AGREE)) as proxy, proxy.client() as client:
        await client.send(start + UPGRADE + b"\r\n")
        assert b" 501 " in await client.head()
        assert proxy.handler.exchanges == []


@pytest.mark.parametrize(
    "agreement",
    [
        AGREE.replace(ACCEPT, b"x" + ACCEPT[1:]),
        AGREE.replace(b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n", b""),
        AGREE.replace(b"Upgrade: websocket\r\n", b""),
        AGREE.replace(b"Upgrade: websocket", b"Upgrade: h2c"),
        AGREE.replace(b"Connection: Upgrade\r\n", b""),
        AGREE.replace(b"Connection: Upgrade", b"Connection: upgrade, close"),
        AGREE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        AGREE[:-2] + b"Content-Length: 0\r\n\r\n",
        AGREE[:-2] + b"Transfer-Encoding: chunked\r\n\r\n",
        AGREE[:-2] + b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n",
    ],
    ids=["wrong", "no-accept", "no-upgrade", "h2c", "no-connection", "close", "old", "length",
         "chunked", "two-accepts"],
)  # fmt: skip
async def test_a_101_that_does_not_agree_is_502(agreement: bytes) -> None:
    """A tunnel is made of one request and one answer that fit each other, or not at all."""
    async with proxied(answering(agreement)) as proxy, proxy.client() as client:
        await client.send(ASK)
        answer = await client.refused()
        assert (answer.status, answer.reason) == (502, b"upstream_malformed")
        await until(lambda: proxy.pool.connections == 0)


async def test_a_101_to_an_ordinary_request_is_502() -> None:
    """Nobody asked."""
    async with proxied(answering(AGREE)) as proxy, proxy.client() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.message()).status == 502


async def test_an_ordinary_answer_is_passed_on_and_ends_the_connection() -> None:
    """What was sent too early could be frames: it is never read as a request."""
    refusal = b"HTTP/1.1 401 No\r\nContent-Length: 2\r\nX-Why: because\r\n\r\nno"
    async with proxied(answering(refusal)) as proxy, proxy.client() as client:
        await client.send(ASK + b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
        answer = await client.refused()
        assert (answer.status, answer.body, answer.get(b"x-why")) == (401, b"no", b"because")
        assert len(proxy.handler.exchanges) == 1


async def test_frames_sent_before_the_101_arrive_after_it() -> None:
    """A client in a hurry loses nothing, provided that the app agrees."""
    server = Server(AGREE + text(b"first", masked=False))
    async with proxied(server) as proxy, proxy.client() as client:
        await client.send(ASK + text(b"early", masked=True))
        assert (await client.message()).status == 101
        assert await read_frame(client) == (1, b"first")
        assert await read_frame(await server.peer()) == (1, b"early")
        assert proxy.listener.tunnels == 1
        server.over()


async def test_every_byte_is_carried_both_ways_as_it_came() -> None:
    """Masks too: frames are followed and not rewritten."""
    async with tunnelled() as (proxy, client, server):
        out, back = text(b"hello", masked=True), text(b"world", masked=False, fin=False)
        for index in range(len(out)):
            await client.send(out[index : index + 1])
        assert await server.exactly(len(out)) == out
        await server.send(back)
        assert await client.exactly(len(back)) == back
        assert proxy.results == []


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_reset_in_the_middle_of_a_frame_is_passed_on(side: str) -> None:
    """The other one must not take what it has for everything."""
    async with tunnelled() as (proxy, client, server):
        half = text(b"hello", masked=side == "client")[:4]
        rude, other = (client, server) if side == "client" else (server, client)
        await rude.send(half)
        assert await other.exactly(4) == half
        rude.reset()
        await other.rest()
        assert other.was_reset
        fault = None if side == "client" else Reason.UPSTREAM_RESET
        await until(lambda: proxy.results == [(101, fault)])


@pytest.mark.parametrize("side", ["client", "server"])
async def test_whoever_sends_no_more_is_still_answered(side: str) -> None:
    """Half-close is passed on in its direction; the end comes when both are done."""
    async with tunnelled() as (proxy, client, server):
        one, other = (client, server) if side == "client" else (server, client)
        last = text(b"last", masked=side == "client")
        answer = text(b"answer", masked=side != "client")
        await one.send(last)
        one.end()
        assert await other.rest() == last
        if side == "client":  # its identity ends with it
            await until(lambda: proxy.results == [(101, None)])
        await other.send(answer)
        other.end()
        assert await one.rest() == answer
        assert not one.was_reset
        await until(lambda: proxy.listener.connections == 0 and proxy.pool.connections == 0)
        assert proxy.results == [(101, None)]


@pytest.mark.parametrize("side", ["client", "server"])
async def test_what_is_no_frame_ends_the_tunnel_with_1002(side: str) -> None:
    """Garbage never reaches the other one; both are told between two frames."""
    async with tunnelled() as (proxy, client, server):
        rude, other = (client, server) if side == "client" else (server, client)
        good = text(b"good", masked=side == "client")
        await rude.send(good + b"\xff\xffgarbage" + bytes(100))
        assert await other.exactly(len(good)) == good
        assert await read_frame(other) == (8, (1002).to_bytes(2, "big"))
        assert await other.rest() == b""
        assert await read_frame(rude) == (8, (1002).to_bytes(2, "big"))
        assert await rude.rest() == b""
        fault = Reason.MESSAGE_MALFORMED if side == "client" else Reason.UPSTREAM_MALFORMED
        await until(lambda: proxy.results == [(101, fault)])
        client.close()
        server.close()
        await until(lambda: proxy.listener.connections == 0 and proxy.pool.connections == 0)


async def test_what_comes_after_a_close_frame_is_dropped() -> None:
    """The handshake of closing ends as the two want it."""
    async with tunnelled() as (proxy, client, server):
        await client.send(closing(1000, masked=True) + b"garbage")
        assert await read_frame(server) == (8, (1000).to_bytes(2, "big"))
        await server.send(closing(1000, masked=False))
        server.close()
        assert await read_frame(client) == (8, (1000).to_bytes(2, "big"))
        assert await client.rest() == b""
        client.close()
        await until(lambda: proxy.listener.connections == 0 and proxy.pool.connections == 0)
        assert proxy.results == [(101, None)]


async def test_a_peer_that_never_answers_a_close_is_cut_off() -> None:
    """It has the time of a body, and not that of an idle tunnel."""
    async with tunnelled() as (proxy, client, server):
        await client.send(closing(1000, masked=True))
        await read_frame(server)
        proxy.time.passes(29.9)
        assert proxy.listener.connections == 1
        proxy.time.passes(0.2)
        assert await read_frame(client) == (8, (1001).to_bytes(2, "big"))
        assert await client.rest() == await server.rest() == b""
        proxy.time.passes(2.1)  # neither closes
        await until(lambda: proxy.listener.connections == 0 and proxy.pool.connections == 0)
        assert proxy.results == [(101, None)]


async def test_an_idle_tunnel_ends_after_its_time() -> None:
    """Every byte in either direction begins the time anew."""
    async with tunnelled() as (proxy, client, server):
        for _ in range(3):
            proxy.time.passes(599.0)
            await server.send(text(b"alive", masked=False))
            await read_frame(client)
        proxy.time.passes(599.9)
        assert proxy.results == []
        proxy.time.passes(0.2)
        assert await read_frame(client) == (8, (1001).to_bytes(2, "big"))
        assert await read_frame(server) == (8, (1001).to_bytes(2, "big"))
        assert await client.rest() == await server.rest() == b""
        client.close()
        server.close()
        await until(lambda: proxy.listener.connections == 0)
        assert proxy.results == [(101, None)]


async def test_draining_says_goodbye_between_two_frames() -> None:
    """Both sides get a Close frame with 1001 and have time to answer it."""
    async with tunnelled() as (proxy, client, server):
        draining = asyncio.create_task(proxy.listener.drain(20.0))
        assert await read_frame(client, masked=False) == (8, (1001).to_bytes(2, "big"))
        assert await read_frame(server, masked=True) == (8, (1001).to_bytes(2, "big"))
        assert await client.rest() == b""
        await client.send(closing(1001, masked=True))
        client.close()
        server.close()
        await draining
        assert proxy.results == [(101, None)]


async def test_draining_waits_for_the_end_of_a_frame() -> None:
    """A frame in progress is finished; then comes the Close frame and nothing else."""
    async with tunnelled() as (proxy, client, server):
        frame = text(b"in two parts", masked=False)
        await server.send(frame[:5])
        assert await client.exactly(5) == frame[:5]
        draining = asyncio.create_task(proxy.listener.drain(20.0))
        assert await read_frame(server) == (8, (1001).to_bytes(2, "big"))
        await server.send(frame[5:] + text(b"late", masked=False))
        assert await client.exactly(len(frame) - 5) == frame[5:]
        assert await read_frame(client) == (8, (1001).to_bytes(2, "big"))
        assert await client.rest() == b""
        client.close()
        server.close()
        await draining


async def test_draining_ends_in_time_whatever_the_peers_do() -> None:
    """A frame that never ends does not hold up the pod."""
    async with tunnelled() as (proxy, client, server):
        await server.send(text(b"in two parts", masked=False)[:5])
        await client.exactly(5)
        await proxy.listener.drain(0.05)
        assert proxy.listener.connections == 0
        assert proxy.results == [(101, None)]


async def test_stopping_the_pool_ends_its_tunnels() -> None:
    """What was handed over is still the pool's to close."""
    async with tunnelled() as (proxy, client, _server):
        assert proxy.pool.connections == 1
        proxy.pool.close()
        await client.rest()
        await until(lambda: proxy.listener.connections == 0 and proxy.pool.connections == 0)


@pytest.mark.parametrize("side", ["client", "server"])
async def test_a_reader_that_stops_pauses_the_writer(side: str) -> None:
    """Memory is bounded, and everything arrives once the reader goes on."""
    total = (4 if side == "client" else 24) << 20  # the client's window is not small
    masked = side == "client"
    head = (b"\x82\xff" if masked else b"\x82\x7f") + total.to_bytes(8, "big")
    payload = (b"mask" if masked else b"") + bytes(range(256)) * (total // 256)
    async with tunnelled(small_window=True) as (proxy, client, server):
        fast, slow = (client, server) if side == "client" else (server, client)
        fast.writer.write(head + payload)
        writing = fast.writer.transport
        last = -1
        while (left := writing.get_write_buffer_size()) != last:  # until nobody takes any more
            last = left
            for _ in range(50):
                await asyncio.sleep(0)
            assert proxy.buffered_bytes <= 64 * 1024 + 256 * 1024 + 16
        assert left > 0
        received = await slow.exactly(len(head))
        received += await slow.exactly(len(payload))
        assert received == head + payload
