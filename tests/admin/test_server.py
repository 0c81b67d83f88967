"""``sidecar.admin.server``: real requests over loopback, polite ones and others."""

import asyncio
import io
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientSession
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sidecar.admin import server as admin
from sidecar.admin import serving
from sidecar.admin.server import AdminServer
from sidecar.telemetry.log import operator_log
from sidecar.telemetry.metrics import Metrics

MALFORMED = b"HTTP/1.0 400 "
"""How aiohttp answers what it could not parse, whose version it therefore does not know."""


@dataclass
class Running:
    """An admin server on a port of its own, and the state it tells."""

    metrics: Metrics = field(default_factory=lambda: Metrics(version="1.2.3"))
    missing: list[str] = field(default_factory=list)
    live: bool = True
    host: str = ""
    port: int = 0

    def readiness(self) -> list[str]:
        return self.missing

    def url(self, path: str) -> str:
        return f"http://{self.host}:{self.port}{path}"

    async def exchange(self, request: bytes) -> bytes:
        """Send *request* and return everything up to the end of the connection."""
        reader, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(request)
        async with asyncio.timeout(60):
            answer = await reader.read()
        writer.close()
        return answer


@pytest.fixture
async def running() -> AsyncIterator[Running]:
    running = Running()
    server = AdminServer(running.metrics, running.readiness, live=lambda: running.live)
    running.host, running.port = await server.start("127.0.0.1", 0)
    yield running
    await server.stop()


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


# --- metrics ---


async def test_metrics_are_what_was_counted(running: Running, client: ClientSession) -> None:
    """A scrape over HTTP parses and holds the counts."""
    route = running.metrics.direction("inbound", ["profiles"]).route("profiles")
    route.finished(b"GET", 200, 0.004)
    async with client.get(running.url("/metrics")) as response:
        body = await response.text()
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    (family,) = (f for f in parse_text(body) if f.name == "sidecar_requests")
    (sample,) = family.samples
    labels = {"direction": "inbound", "route": "profiles", "method": "GET", "code": "200"}
    assert (sample.labels, sample.value) == (labels, 1.0)


async def test_a_scraper_that_prefers_openmetrics_gets_it(
    running: Running, client: ClientSession
) -> None:
    """Prometheus' own Accept header, split over two fields, is understood."""
    accept = [
        ("Accept", "application/openmetrics-text;version=1.0.0;q=0.6"),
        ("Accept", "text/plain;version=0.0.4;q=0.3"),
    ]
    async with client.get(running.url("/metrics"), headers=accept) as response:
        body = await response.text()
        assert response.content_type == "application/openmetrics-text"
    families = parse_openmetrics(body)  # type: ignore[no-untyped-call] # not annotated
    assert "sidecar_build_info" in {family.name for family in families}


# --- probes ---


async def test_ready_means_nothing_is_missing(running: Running, client: ClientSession) -> None:
    """Readiness follows its callable on each request, and lists what is missing line by line."""
    async with client.get(running.url("/readyz")) as response:
        assert (response.status, await response.text()) == (200, "ready\n")
    running.missing += ["issuer shop: keys not loaded (connection refused)", "a\nb\r\n\tc"]
    async with client.get(running.url("/readyz?verbose")) as response:
        assert response.status == 503
        assert response.content_type == "text/plain"
        assert await response.text() == (
            "issuer shop: keys not loaded (connection refused)\na b c\n"
        )
    running.missing.clear()
    async with client.get(running.url("/readyz?verbose")) as response:
        assert (response.status, await response.text()) == (200, "ready\n")


async def test_live_follows_its_callable(running: Running, client: ClientSession) -> None:
    """Liveness is asked on each request and does not depend on readiness."""
    running.missing.append("keys")
    async with client.get(running.url("/livez")) as response:
        assert (response.status, await response.text()) == (200, "live\n")
    running.live = False
    async with client.get(running.url("/livez")) as response:
        assert (response.status, await response.text()) == (503, "not live\n")


# --- paths and methods ---


async def test_the_index_names_the_other_paths(running: Running, client: ClientSession) -> None:
    """A human who opens the port learns what it serves."""
    async with client.get(running.url("/")) as response:
        text = await response.text()
    assert response.status == 200
    for path in ("/metrics", "/livez", "/readyz"):
        assert path in text


@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/"])
async def test_head_answers_without_content(running: Running, path: str) -> None:
    """HEAD has the status and length of GET and nothing after the head."""
    request = f"HEAD {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    head, _, rest = (await running.exchange(request.encode())).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nContent-Length: 0" not in head
    assert rest == b""


@pytest.mark.parametrize(
    "method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"]
)
@pytest.mark.parametrize("path", ["/metrics", "/livez", "/readyz", "/"])
async def test_other_methods_are_refused(
    running: Running, client: ClientSession, method: str, path: str
) -> None:
    """What reads is GET and HEAD; everything else is 405 and says so."""
    async with client.request(method, running.url(path), data=b"x") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path", ["/metrics/", "/Metrics", "/x", "//metrics", "/debug/pprof", "/../metrics", "*"]
)
async def test_other_paths_are_not_found(running: Running, path: str) -> None:
    """Only the four exact paths exist."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    head, _, text = (await running.exchange(request.encode())).partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 404 ", MALFORMED))
    assert text in (b"not found\n", b"bad request\n")


# --- what it does not say ---


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /metrics HTTP/1.1\r\nHost: x",
        b"GET /nowhere HTTP/1.1\r\nHost: x",
        b"POST /metrics HTTP/1.1\r\nHost: x",
        b"nonsense",
        b"GET / HTTP/1.1\r\nbad header",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1",
    ],
)
async def test_no_answer_names_the_software_behind_it(
    running: Running, request_head: bytes
) -> None:
    """Neither proper answers nor refusals tell library names or versions."""
    answer = await running.exchange(request_head + b"\r\nConnection: close\r\n\r\n")
    head = answer.partition(b"\r\n\r\n")[0].lower()
    assert b"server: jwt-sidecar\r\n" in head + b"\r\n"
    assert b"aiohttp" not in head
    assert b"python" not in head


async def test_malformed_requests_leave_no_line_in_the_log(running: Running) -> None:
    """Whoever can reach the port cannot fill the operator's log."""
    stream = io.StringIO()
    with operator_log("debug", stream):
        for request in (
            b"nonsense\r\n\r\n",
            b"\x16\x03\x01\x02\x00\r\n\r\n",
            b"GET / FTP/1.1\r\n\r\n",
        ):
            assert (await running.exchange(request)).startswith(MALFORMED)
        head = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        assert (await running.exchange(head)).startswith(b"HTTP/1.1 200 ")
    assert stream.getvalue() == ""


async def test_a_fault_of_ours_is_one_line_and_500() -> None:
    """A readiness check that raises is answered without details and logged in one line."""

    def broken() -> list[str]:
        raise RuntimeError("wires\ncrossed")

    server = AdminServer(Metrics(version="1"), broken, live=lambda: True)
    running = Running()
    running.host, running.port = await server.start("127.0.0.1", 0)
    stream = io.StringIO()
    with operator_log("info", stream):
        answer = await running.exchange(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    await server.stop()
    assert answer.startswith(b"HTTP/1.1 500 ")
    assert answer.endswith(b"\r\n\r\ninternal error\n")
    (line,) = stream.getvalue().splitlines()
    assert "GET /readyz failed: RuntimeError: wires\\ncrossed" in line


# --- bounds ---


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET /" + b"x" * serving.MAX_LINE_BYTES + b" HTTP/1.1\r\nHost: x",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"x" * (serving.MAX_LINE_BYTES + 1),
        b"GET / HTTP/1.1\r\nHost: x" + b"\r\nX: 1" * (serving.MAX_HEADERS + 1),
    ],
)
async def test_large_heads_are_refused(running: Running, request_head: bytes) -> None:
    """A target, a field or a number of fields over its limit is 400, and the connection ends."""
    answer = await running.exchange(request_head + b"\r\n\r\n")
    assert answer.startswith(MALFORMED)


async def test_connections_are_bounded_and_the_newest_wins(running: Running) -> None:
    """Whoever holds every connection open cannot keep a probe out: the oldest one is closed."""
    held = [
        await asyncio.open_connection(running.host, running.port)
        for _ in range(admin.MAX_CONNECTIONS)
    ]
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert (await running.exchange(request)).startswith(b"HTTP/1.1 200 ")
    async with asyncio.timeout(60):
        with suppress(ConnectionResetError):
            assert await held[0][0].read() == b""
    newest_reader, newest_writer = held[-1]
    newest_writer.write(request)
    assert (await newest_reader.read()).startswith(b"HTTP/1.1 200 ")
    for _, writer in held:
        writer.close()


async def test_one_connection_serves_many_requests(running: Running) -> None:
    """Connections are kept alive between scrapes."""
    reader, writer = await asyncio.open_connection(running.host, running.port)
    for _ in range(3):
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert await reader.readexactly(5) == b"live\n"
    writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET /met", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_a_connection_that_falls_silent_is_closed(sent: bytes) -> None:
    """Before a request, within its head or after its answer: silence ends the connection."""
    server = AdminServer(Metrics(version="1"), list, live=lambda: True, keepalive_seconds=0.05)
    running = Running()
    running.host, running.port = await server.start("127.0.0.1", 0)
    answer = await running.exchange(sent)
    await server.stop()
    assert answer.startswith(b"HTTP/1.1 200 ") if sent.endswith(b"\n") else answer == b""


# --- start and stop ---


async def test_a_port_in_use_is_an_error() -> None:
    """start() raises OSError, and stop() afterwards is harmless."""
    first, second = (AdminServer(Metrics(version="1"), list, live=lambda: True) for _ in range(2))
    _, port = await first.start("127.0.0.1", 0)
    with pytest.raises(OSError, match="address already in use"):
        await second.start("127.0.0.1", port)
    await second.stop()
    await first.stop()


async def test_stopping_closes_every_connection() -> None:
    """After stop() nothing listens, and connections that were idle or half-way are at an end."""
    server = AdminServer(Metrics(version="1"), list, live=lambda: True)
    host, port = await server.start("127.0.0.1", 0)
    idle_reader, idle_writer = await asyncio.open_connection(host, port)
    half_reader, half_writer = await asyncio.open_connection(host, port)
    idle_writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    await idle_reader.readuntil(b"live\n")
    half_writer.write(b"GET /metr")
    await half_writer.drain()
    await server.stop()
    await server.stop()
    for reader, writer in ((idle_reader, idle_writer), (half_reader, half_writer)):
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, port)


async def test_a_peer_that_never_reads_does_not_hold_up_stopping() -> None:
    """An answer that nobody takes ends with its connection: stop() is bounded."""
    larger_than_socket_buffers = ["x" * 30_000_000]
    server = AdminServer(
        Metrics(version="1"), lambda: larger_than_socket_buffers, live=lambda: True
    )
    host, port = await server.start("127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(host, port, limit=1024)
    writer.write(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    async with asyncio.timeout(60):
        await server.stop(timeout_seconds=0.01)
    with suppress(ConnectionResetError):
        assert len(await reader.read()) < 30_000_000
    writer.close()
