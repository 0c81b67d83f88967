"""Content that does not end soon: events arrive one by one, and size costs no memory."""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.config.model import Origin
from sidecar.testbed.processes import sidecar as sidecar_process
from tests.support.pod import LOOPBACK, Pod, pod

MIB = 1024 * 1024
STREAM_BYTES = 64 * MIB
BOUND = 2 * (64 * 1024 + 256 * 1024)
"""What waits to be written on either side, and one read of each."""


class Ticker:
    """Sends an event when it is told that the one before was seen."""

    def __init__(self) -> None:
        self.seen: asyncio.Queue[None] = asyncio.Queue()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        for number in range(20):
            await answer.write(f"data: {number}\n\n".encode())
            await self.seen.get()
        return answer


@asynccontextmanager
async def served(handler: Callable[[web.Request], object]) -> AsyncIterator[Origin]:
    application = web.Application(client_max_size=1 << 40)
    application.router.add_route("*", "/{path:.*}", handler)  # type: ignore[arg-type]
    async with TestServer(application, host="127.0.0.1") as server:
        assert server.port is not None
        yield Origin("http", "127.0.0.1", server.port)


@pytest.mark.parametrize("way", ["inbound", "outbound", "proxy"])
async def test_each_event_arrives_before_the_next_is_sent(tmp_path: Path, way: str) -> None:
    """Nothing is held back until there is more of it: otherwise this waits for ever."""
    ticker = Ticker()
    async with (
        served(ticker.serve) as origin,
        pod(
            tmp_path,
            inbound={"app": origin},
            destination={"upstream": origin, "token": "none"},
            outbound={"proxy": LOOPBACK},
        ) as running,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session,
    ):
        bound = running.bound
        url, proxy = {
            "inbound": (f"http://{bound.inbound}/open/events", None),
            "outbound": (f"http://{bound.outbound['profiles']}/events", None),
            "proxy": ("http://profiles/events", f"http://{bound.proxy}"),
        }[way]
        async with session.get(url, proxy=proxy) as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            for number in range(20):
                assert await answer.content.readuntil(b"\n\n") == f"data: {number}\n\n".encode()
                ticker.seen.put_nowait(None)
            assert await answer.content.read() == b""


def held(running: Pod) -> int:
    """What the sidecar keeps in its own memory for all its connections."""
    wiring = running.wiring
    listeners = (wiring.inbound, *wiring.outbound.values())
    ours = sum(each.buffered_bytes for each in listeners)
    return ours + sum(each.buffered_bytes for each in wiring.pools)


async def test_a_large_upload_is_never_kept(tmp_path: Path) -> None:
    """64 MiB to an app that reads as it likes; at no moment is more than the bound with us."""
    received, highest = 0, 0

    async def sink(request: web.Request) -> web.Response:
        nonlocal received, highest
        async for chunk in request.content.iter_any():
            received += len(chunk)
            for _ in range(10):
                await asyncio.sleep(0)  # slower than whoever sends
            highest = max(highest, held(running))
        return web.Response(text=str(received))

    async def content() -> AsyncIterator[bytes]:
        for _ in range(STREAM_BYTES // MIB):
            yield bytes(MIB)

    async with (
        served(sink) as origin,
        pod(tmp_path, inbound={"app": origin}) as running,
        aiohttp.ClientSession() as session,
        session.post(f"http://{running.bound.inbound}/open/x", data=content()) as answer,
    ):
        assert await answer.text() == str(STREAM_BYTES)
    assert 0 < highest <= BOUND


async def test_a_large_download_is_never_kept(tmp_path: Path) -> None:
    """64 MiB to a caller that stops now and then: the app waits, and we hold next to nothing."""
    highest = 0

    async def source(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for _ in range(STREAM_BYTES // MIB):
            await answer.write(bytes(MIB))
        return answer

    async with (
        served(source) as origin,
        pod(tmp_path, inbound={"app": origin}) as running,
        aiohttp.ClientSession() as session,
        session.get(f"http://{running.bound.inbound}/open/x") as answer,
    ):
        received = 0
        async for chunk in answer.content.iter_chunked(MIB):
            received += len(chunk)
            highest = max(highest, held(running))
            for _ in range(10):
                await asyncio.sleep(0)
    assert received == STREAM_BYTES
    assert 0 < highest <= BOUND


# --- a gibibyte through the real process ---

GIB = 1024 * MIB
GROWTH_BYTES = 16 * MIB


def resident_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Flood:
    """A server on a thread of its own that takes or gives a gibibyte, with as little as it can."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.origin = Origin("http", *self._listening.getsockname()[:2])
        self.received = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with connection:
                self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (read := connection.recv(65536)):
                return  # it was asked only whether it is there
            head += read
        if head.startswith(b"POST"):
            self.received = len(head) - head.index(b"\r\n\r\n") - 4
            buffer = bytearray(MIB)
            while self.received < GIB:
                self.received += connection.recv_into(buffer)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")
        else:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % GIB)
            block = bytes(MIB)
            for _ in range(GIB // MIB):
                connection.sendall(block)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()


def upload(connection: socket.socket, pid: int) -> int:
    highest, block = 0, bytes(MIB)
    connection.sendall(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % GIB)
    for _ in range(GIB // MIB):
        connection.sendall(block)
        highest = max(highest, resident_bytes(pid))
    assert connection.recv(65536).startswith(b"HTTP/1.1 200 ")
    return highest


def download(connection: socket.socket, pid: int) -> int:
    highest, received, count = 0, 0, 0
    buffer = bytearray(MIB)
    connection.sendall(b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    while size := connection.recv_into(buffer):
        received += size
        count += 1
        if count % 16 == 0:
            highest = max(highest, resident_bytes(pid))
    assert received > GIB
    return highest


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("carry", [upload, download])
async def test_a_gibibyte_costs_no_memory(
    tmp_path: Path, carry: Callable[[socket.socket, int], int]
) -> None:
    """The process as it runs in a pod: what it holds does not grow with what passes."""
    flood = Flood()
    configuration = tmp_path / "sidecar.yaml"
    configuration.write_text(
        f"version: 1\ninbound:\n  listen: 127.0.0.1:0\n  app: {flood.origin}\n"
        "  rules: [{paths: [/**], allow: anyone}]\nadmin: {listen: 127.0.0.1:0}\n"
    )
    try:
        async with sidecar_process("a sidecar", configuration) as sidecar:
            host, _, port = sidecar.listener("inbound").rpartition(":")
            before = resident_bytes(sidecar.process.pid)
            with socket.create_connection((host, int(port)), timeout=60) as connection:
                highest = await asyncio.to_thread(carry, connection, sidecar.process.pid)
            assert highest - before <= GROWTH_BYTES
    finally:
        flood.close()
