"""WebSockets with a real client and server: through the pod everything is as it is direct."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from sidecar.config.model import Address, Origin
from tests.support.http import fetch
from tests.support.pod import LOOPBACK, Pod, pod, records
from tests.support.websocket import UPGRADE, read_frame, text
from tests.support.wire_peer import connected, until

Serving = Callable[[ServerConnection], Awaitable[None]]
STRICT = ("x-sidecar-carrier", "python/0.1; grade=strict")
MIB = 1024 * 1024


async def echo(connection: ServerConnection) -> None:
    """Send back every message until the connection ends, in whichever way."""
    with suppress(ConnectionClosed):
        async for message in connection:
            await connection.send(message)


@asynccontextmanager
async def app(serving: Serving, **options: Any) -> AsyncIterator[Origin]:
    """A WebSocket server."""
    server = await serve(serving, "127.0.0.1", 0, max_size=None, close_timeout=5, **options)
    async with server:
        yield Origin("http", *next(iter(server.sockets)).getsockname()[:2])


@asynccontextmanager
async def websocket_pod(
    directory: Path, serving: Serving, *, options: dict[str, Any] | None = None, **pod_options: Any
) -> AsyncIterator[Pod]:
    """A pod whose app is a WebSocket server."""
    async with (
        app(serving, **(options or {})) as origin,
        pod(directory, inbound={"app": origin}, **pod_options) as running,
    ):
        yield running


def dial(address: Address, path: str = "/users/chat", **options: Any) -> connect:
    options.setdefault("max_size", None)
    return connect(f"ws://{address}{path}", proxy=None, **options)


def dial_in(running: Pod, path: str = "/users/chat", **options: Any) -> connect:
    token = running.mint.token("alice")
    headers = {"Authorization": f"Bearer {token}"}
    return dial(running.bound.inbound, path, additional_headers=headers, **options)


async def conversation(client: ClientConnection) -> list[Any]:
    """Everything a client can do with an echo server, and what came of it."""
    assert client.response is not None
    extensions = client.response.headers.get("Sec-WebSocket-Extensions")
    heard: list[Any] = [client.subprotocol, extensions]
    for message in ("", "text", b"bytes", "ü" * 1000, b"\x00\xff" * 40_000):
        await client.send(message)
        heard.append(await client.recv())
    await client.send(["in ", "three ", "fragments"])
    heard.append([part async for part in client.recv_streaming()])
    await client.send([b"a" * 100_000, b"b" * 100_000])
    heard.append(b"".join([part async for part in client.recv_streaming(decode=False)]))
    for payload in ("", "x" * 125):
        await (await client.ping(payload))
    big = bytes(range(256)) * (16 * MIB // 256)
    await client.send(big)
    heard.append(hashlib.sha256(await client.recv(decode=False)).hexdigest())
    await client.close(4001, "enough")
    heard.append((client.close_code, client.close_reason))
    return heard


@pytest.mark.parametrize("compression", ["deflate", None])
async def test_through_the_pod_everything_is_as_it_is_direct(
    tmp_path: Path, compression: str | None
) -> None:
    """Fragments, pings, 16 MiB, compression, subprotocol, close code: inbound and outbound."""
    codes: list[Any] = []

    async def serving(connection: ServerConnection) -> None:
        await echo(connection)
        codes.append((connection.close_code, connection.close_reason))

    options: dict[str, Any] = {
        "compression": compression,
        "subprotocols": [Subprotocol("chat")],
    }
    async with app(serving, **options) as origin:
        async with dial(origin.address, **options) as client:
            direct = await conversation(client)
        async with pod(
            tmp_path,
            inbound={"app": origin},
            destination={"upstream": origin, "token": "none"},
            outbound={"proxy": LOOPBACK},
        ) as running:
            async with dial_in(running, **options) as client:
                inbound = await conversation(client)
            async with dial(running.bound.outbound["profiles"], "/x", **options) as client:
                outbound = await conversation(client)
    assert inbound == outbound == direct
    assert codes == [(4001, "enough")] * 3
    assert direct[0] == "chat"
    assert bool(direct[1]) == (compression is not None)


async def test_the_entry_lives_as_long_as_the_websocket(tmp_path: Path) -> None:
    """Calls that a message causes carry the caller's token; after the end they carry nothing."""
    handles: list[str] = []

    async def serving(connection: ServerConnection) -> None:
        assert connection.request is not None
        handles.append(connection.request.headers["x-sidecar-context"])
        assert connection.request.headers["x-auth-subject"] == "alice"
        assert "Authorization" not in connection.request.headers
        await echo(connection)

    async with websocket_pod(tmp_path, serving) as running:
        token = running.mint.token("alice")
        headers = {"Authorization": f"Bearer {token}"}
        async with dial(running.bound.inbound, additional_headers=headers) as client:
            await client.send("a")
            await client.recv()
            answer = await running.call_out(handles[0])
            assert answer.status == 200
            request = running.destination.received[-1]
            assert request.values("authorization") == [f"Bearer {token}"]
            text = await running.metrics()
            assert 'sidecar_tunnels_open{direction="inbound"} 1.0' in text
            assert "sidecar_ledger_entries 1.0" in text
        await until(lambda: running.wiring.inbound.connections == 0)
        answer = await running.call_out(handles[0])
        assert answer.reason == "attribution_dead"
        text = await running.metrics()
        assert 'sidecar_tunnels_open{direction="inbound"} 0.0' in text
        assert (
            'sidecar_requests_total{code="101",direction="inbound",method="GET",route="users"} 1.0'
        ) in text
        assert 'duration_seconds_count{direction="inbound",route="users"}' not in text
    (record,) = [each for each in records(running) if each["direction"] == "inbound"]
    assert (record["status"], record["subject"], record["path"]) == (101, "alice", "/users/chat")
    assert record["duration_ms"] > record["overhead_ms"]


@pytest.mark.parametrize(
    ("path", "token", "status"),
    [("/users/chat", None, 401), ("/scoped", "alice", 403), ("/nowhere", "alice", 403)],
)
async def test_an_upgrade_is_decided_like_every_request(
    tmp_path: Path, path: str, token: str | None, status: int
) -> None:
    """Without token, without scope, without rule: refused, and the app hears nothing."""
    called: list[str] = []

    async def serving(connection: ServerConnection) -> None:
        called.append("called")

    async with websocket_pod(tmp_path, serving) as running:
        headers = {} if token is None else {"Authorization": f"Bearer {running.mint.token(token)}"}
        with pytest.raises(InvalidStatus) as caught:
            async with dial(running.bound.inbound, path, additional_headers=headers):
                pass
        assert caught.value.response.status_code == status
        assert called == []


async def test_the_callers_token_goes_out_with_the_apps_upgrade(tmp_path: Path) -> None:
    """On a mapped port and through the proxy; without a handle there is no upgrade."""
    seen: list[str | None] = []

    async def serving(connection: ServerConnection) -> None:
        assert connection.request is not None
        headers = connection.request.headers
        assert not [name for name, _ in headers.raw_items() if name.lower().startswith("x-side")]
        seen.append(headers.get("Authorization"))
        await echo(connection)

    async with (
        app(serving) as origin,
        pod(tmp_path, automatic=False, destination={"upstream": origin}) as running,
    ):
        token = running.mint.token("alice")
        inbound = asyncio.create_task(fetch(running.bound.inbound, "/users/x", bearer=token))
        request = await running.app.next()
        headers = dict([STRICT, ("x-sidecar-context", request.handle)])
        address = running.bound.outbound["profiles"]
        async with dial(address, "/x", additional_headers=headers) as client:
            await client.send("hello")
            assert await client.recv() == "hello"
        with pytest.raises(InvalidStatus) as caught:
            async with dial(address, "/x", additional_headers=dict([STRICT])):
                pass
        assert caught.value.response.headers["x-sidecar-reason"] == "attribution_missing"
        request.answer()
        await inbound
    assert seen == [f"Bearer {token}"]


async def test_a_client_that_was_told_of_a_proxy_gets_through(tmp_path: Path) -> None:
    """The library asks by ``CONNECT``, so that nobody sees what it says: as direct, no token."""
    seen: list[str | None] = []

    async def serving(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(connection.request.headers.get("Authorization"))
        await echo(connection)

    async with app(serving) as origin:
        options: dict[str, Any] = {"compression": None, "subprotocols": None}
        async with dial(origin.address, **options) as client:
            direct = await conversation(client)
        ports = {"proxy": LOOPBACK, "connect_ports": (origin.port,)}
        async with pod(tmp_path, outbound=ports) as running:
            url, proxy = f"ws://{origin.address}/x", f"http://{running.bound.proxy}"
            async with connect(url, proxy=proxy, max_size=None, **options) as client:
                assert await conversation(client) == direct
    assert seen == [None, None]


async def test_an_upgrade_through_the_proxy_gets_the_callers_token(tmp_path: Path) -> None:
    """In absolute form, where the request can be read: like any call to a destination."""
    seen: list[str | None] = []

    async def serving(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(connection.request.headers.get("Authorization"))
        await echo(connection)

    async with (
        app(serving) as origin,
        pod(
            tmp_path,
            automatic=False,
            destination={"upstream": origin},
            outbound={"proxy": LOOPBACK},
        ) as running,
    ):
        token = running.mint.token("alice")
        inbound = asyncio.create_task(fetch(running.bound.inbound, "/users/x", bearer=token))
        request = await running.app.next()
        proxy = running.bound.proxy
        assert proxy is not None
        async with connected(proxy.host, proxy.port) as peer:
            await peer.send(
                b"GET http://profiles/x HTTP/1.1\r\nHost: profiles\r\n"
                b"X-Sidecar-Carrier: python/0.1; grade=strict\r\nX-Sidecar-Context: "
                + request.handle.encode()
                + b"\r\n"
                + UPGRADE
                + b"\r\n"
            )
            assert (await peer.message()).status == 101
            await peer.send(text(b"hello", masked=True))
            assert await read_frame(peer, masked=False) == (1, b"hello")
        request.answer()
        await inbound
    assert seen == [f"Bearer {token}"]


async def test_both_ways_at_once_under_backpressure(tmp_path: Path) -> None:
    """Slow readers on both sides: everything arrives in order and nothing piles up with us."""
    count, size = 48, 256 * 1024

    async def pour(connection: Any, mark: int) -> None:
        for number in range(count):
            await connection.send(bytes((mark, number)) * (size // 2))

    async def sip(connection: Any, mark: int, most: Callable[[], int]) -> int:
        highest = 0
        for number in range(count):
            highest = max(highest, most())
            for _ in range(20):
                await asyncio.sleep(0)  # slower than whoever sends
            assert await connection.recv() == bytes((mark, number)) * (size // 2)
        return highest

    done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    running: Pod

    def held() -> int:
        wiring = running.wiring
        return wiring.inbound.buffered_bytes + sum(p.buffered_bytes for p in wiring.pools)

    async def serving(connection: ServerConnection) -> None:
        _, highest = await asyncio.gather(pour(connection, 1), sip(connection, 2, held))
        done.set_result(highest)
        await connection.wait_closed()

    small: dict[str, Any] = {"max_queue": 2, "compression": None}
    async with (
        websocket_pod(tmp_path, serving, options=small) as running,
        dial_in(running, **small) as client,
    ):
        _, highest = await asyncio.gather(pour(client, 2), sip(client, 1, held))
        highest = max(highest, await done)
    assert 0 < highest <= 2 * (64 * 1024 + 256 * 1024 + 10)


async def test_a_server_that_vanishes_closes_the_client_abnormally(tmp_path: Path) -> None:
    """1006, as direct: nobody makes up a Close frame that the app did not send."""

    async def serving(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            await connection.recv()
        connection.transport.abort()

    async with websocket_pod(tmp_path, serving) as running, dial_in(running) as client:
        await client.send("now")
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1006


async def test_a_client_that_vanishes_is_noticed_by_the_server(tmp_path: Path) -> None:
    """And its identity ends with it."""
    code: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def serving(connection: ServerConnection) -> None:
        await connection.wait_closed()
        code.set_result(connection.close_code)

    async with websocket_pod(tmp_path, serving) as running:
        async with dial_in(running) as client:
            client.transport.abort()
            async with asyncio.timeout(20):
                assert await code == 1006
        await until(lambda: len(running.wiring.ledger) == 0)


async def test_stopping_the_pod_closes_websockets_with_1001(tmp_path: Path) -> None:
    """Both sides learn in time that they must go elsewhere."""
    code: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    async def serving(connection: ServerConnection) -> None:
        await connection.wait_closed()
        code.set_result(connection.close_code)

    async with websocket_pod(tmp_path, serving) as running, dial_in(running) as client:
        stopping = asyncio.create_task(running.sidecar.drain())
        with pytest.raises(ConnectionClosed):
            await client.recv()
        assert client.close_code == 1001
        async with asyncio.timeout(20):
            assert await code == 1001
        await stopping
