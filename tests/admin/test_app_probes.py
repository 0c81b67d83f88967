"""``/app-probe/<n>``: the app is asked exactly what is configured, and only its status is told."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sidecar.admin.app_probes import MAX_INTERIM, SHARED_SECONDS, app_probe_routes
from sidecar.admin.server import AdminServer
from sidecar.config.model import Address, AppProbe
from sidecar.telemetry.metrics import Metrics
from tests.support.certificates import Authority, server_context
from tests.support.http import Response, fetch
from tests.support.pod import pod

SPOKEN = (
    b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Auth-Subject: app\r\nSet-Cookie: a=b\r\n"
    b"Location: http://elsewhere.example/\r\n\r\nsecret"
)
HIDDEN = AppProbe(1, "/", headers=(("Authorization", "Basic c2VjcmV0"),))


@dataclass
class Probed:
    """An app that answers each connection with *answer*, and the admin port that asks it."""

    answer: bytes = SPOKEN
    asked: list[bytes] = field(default_factory=list)
    connections: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    now: float = 0.0
    admin: Address = field(default_factory=lambda: Address("", 0))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            self.asked.append(await reader.readuntil(b"\r\n\r\n"))
            await self.gate.wait()
            writer.write(self.answer)
        except asyncio.IncompleteReadError:
            pass  # it only connected
        finally:
            writer.close()

    async def probe(self, target: str = "/app-probe/0", **options: object) -> Response:
        self.now += SHARED_SECONDS
        return await fetch(self.admin, target, **options)  # type: ignore[arg-type]


Ask = Callable[..., Awaitable[Response]]


@asynccontextmanager
async def probed(
    *probes: AppProbe, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[Probed]:
    """Serve an app, and *probes* of it, whose port is put in."""
    running = Probed()
    running.gate.set()
    app = await asyncio.start_server(running.serve, host, 0, ssl=tls)
    port = app.sockets[0].getsockname()[1]
    aimed = [
        AppProbe(port, each.path, each.scheme, each.headers, each.tcp, each.timeout_seconds)
        for each in probes or (AppProbe(1, "/healthz?full=1"),)
    ]
    routes = app_probe_routes(aimed, host, clock=lambda: running.now)
    admin = AdminServer(Metrics(version="1"), list, live=lambda: True, app_probes=routes)
    running.admin = Address(*await admin.start("127.0.0.1", 0))
    async with app:
        try:
            yield running
        finally:
            running.gate.set()
            await admin.stop()


async def test_the_app_gets_one_fixed_request_and_its_prober_one_line() -> None:
    """Nothing of the prober goes on, and nothing of the answer but its status comes back."""
    async with probed() as running:
        fields = [
            ("authorization", "Bearer x"), ("x-auth-subject", "admin"), ("cookie", "a=b"),
            ("x-forwarded-for", "192.0.2.1"),
        ]  # fmt: skip
        answer = await running.probe(fields=fields, body=b"x", host="evil.example")
        (asked,) = running.asked
    assert re.fullmatch(
        rb"GET /healthz\?full=1 HTTP/1\.1\r\nHost: 127\.0\.0\.1:[0-9]+\r\n"
        rb"User-Agent: kube-probe/jwt-sidecar\r\nAccept: \*/\*\r\nConnection: close\r\n\r\n",
        asked,
    )
    assert (answer.status, answer.body) == (200, b"the app answers 200\n")
    names = {name for name, _ in answer.fields}
    assert names == {"content-type", "cache-control", "server", "content-length", "date"}


async def test_configured_headers_are_sent_and_replace_ours() -> None:
    """As a kubelet sends ``httpHeaders``; a ``Host`` among them too. No ``repr`` shows them."""
    headers = (("Host", "health.example"), ("accept", "text/plain"), ("Authorization", "Basic x"))
    async with probed(AppProbe(1, "/", headers=headers)) as running:
        assert (await running.probe()).status == 200
        (asked,) = running.asked
    assert asked == (
        b"GET / HTTP/1.1\r\nHost: health.example\r\nUser-Agent: kube-probe/jwt-sidecar\r\n"
        b"accept: text/plain\r\nAuthorization: Basic x\r\nConnection: close\r\n\r\n"
    )
    assert "Basic" not in repr(HIDDEN)


@pytest.mark.parametrize(
    ("status", "content"),
    [(200, True), (204, False), (302, True), (304, False), (401, True), (404, True), (503, True)],
)
async def test_the_status_is_the_apps(status: int, content: bool) -> None:
    """Whatever it says is said; a redirection is not followed, and leads nowhere."""
    async with probed() as running:
        running.answer = b"HTTP/1.1 %d Word\r\nLocation: /x\r\nConnection: close\r\n\r\n" % status
        answer = await running.probe()
        assert len(running.asked) == 1
    assert (answer.status, answer.values("location")) == (status, [])
    assert answer.body == (f"the app answers {status}\n".encode() if content else b"")


@pytest.mark.parametrize(
    ("answer", "status", "line"),
    [
        (b"HTTP/1.1 103 Early\r\n\r\nHTTP/1.0 200 OK\r\n\r\n", 200, "the app answers 200"),
        (b"HTTP/1.1 100 On\r\n\r\n" * MAX_INTERIM, 502, "what the app answers is no HTTP"),
        (b"HTTP/1.1 101 Up\r\n\r\n", 502, "what the app answers is no HTTP"),
        (b"HTTP/1.1 999 What\r\n\r\n", 502, "what the app answers is no HTTP"),
        (b"HTTP/2 200\r\n\r\n", 502, "what the app answers is no HTTP"),
        (b"220 mail.example ESMTP\r\n\r\n", 502, "what the app answers is no HTTP"),
        (b"HTTP/1.1 200", 502, "what the app answers is no HTTP"),
        (b"", 502, "what the app answers is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000, 502, "what the app answers is no HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\n\r\nx", 200, "the app answers 200"),
    ],
)
async def test_what_is_odd_is_bounded(answer: bytes, status: int, line: str) -> None:
    """No answer of the app can hold up a probe, or be taken for a good one."""
    async with probed() as running:
        running.answer = answer
        told = await running.probe()
    assert (told.status, told.body.decode()) == (status, f"{line}\n")


async def test_an_app_that_does_not_answer() -> None:
    """It cannot be reached, or it is too slow: two codes, and neither is one of its own."""
    async with probed(AppProbe(1, timeout_seconds=0.1)) as running:
        running.gate.clear()
        answer = await running.probe()
        assert (answer.status, answer.body) == (504, b"the app did not answer within 0.1 s\n")
    routes = app_probe_routes([AppProbe(9), AppProbe(9, tcp=True)], "127.0.0.1", clock=float)
    admin = AdminServer(Metrics(version="1"), list, live=lambda: True, app_probes=routes)
    address = Address(*await admin.start("127.0.0.1", 0))
    for number in (0, 1):
        answer = await fetch(address, f"/app-probe/{number}")
        assert (answer.status, answer.body) == (
            502,
            b"the app cannot be reached: Connection refused\n",
        )
    await admin.stop()


async def test_only_a_connection() -> None:
    """``tcp: true`` says nothing to the app."""
    async with probed(AppProbe(1, tcp=True)) as running:
        answer = await running.probe()
        assert (answer.status, answer.body) == (200, b"the app accepts connections\n")
        assert running.asked == []


async def test_https_as_the_kubelet_does_it(tmp_path: Path) -> None:
    """A certificate that nobody vouches for will do; what is no TLS will not."""
    authority = Authority("nobody's")
    tls = server_context(authority.issue("elsewhere.example"), tmp_path)
    async with probed(AppProbe(1, scheme="https"), tls=tls) as running:
        assert (await running.probe()).status == 200

    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    app = await asyncio.start_server(plain, "127.0.0.1", 0)
    probe = AppProbe(app.sockets[0].getsockname()[1], scheme="https")
    routes = app_probe_routes([probe], "127.0.0.1", clock=float)
    admin = AdminServer(Metrics(version="1"), list, live=lambda: True, app_probes=routes)
    async with app:
        answer = await fetch(Address(*await admin.start("127.0.0.1", 0)), "/app-probe/0")
        assert (answer.status, answer.body) == (502, b"the app cannot be reached: no TLS there\n")
        await admin.stop()


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [
        ("/app-probe/1", "GET", 404),
        ("/app-probe/-1", "GET", 404),
        ("/app-probe/00", "GET", 404),
        ("/app-probe/", "GET", 404),
        ("/app-probe", "GET", 404),
        ("/app-probe/0/", "GET", 404),
        ("/app-probe/0/../x", "GET", 404),
        ("/app-probe/x/../0", "GET", 404),
        ("/app-probe//0", "GET", 404),
        ("//app-probe/0", "GET", 404),
        ("/app-probe/0?", "GET", 404),
        ("/app-probe/0?path=/admin", "GET", 404),
        ("/app-probe/%30", "GET", 404),
        ("/app-probe%2f0", "GET", 404),
        ("/app-probe/0%2f..%2fx", "GET", 404),
        ("/app-probe/0;x", "GET", 404),
        ("http://127.0.0.1/app-probe/0", "GET", 404),
        ("/APP-PROBE/0", "GET", 404),
        ("/app-probe/0", "HEAD", 405),
        ("/app-probe/0", "POST", 405),
        ("/app-probe/0", "OPTIONS", 405),
    ],
)
async def test_there_is_no_other_way_in(target: str, method: str, status: int) -> None:
    """Other spellings, indices and methods find nothing, and the app is not asked."""
    async with probed() as running:
        assert (await running.probe(target, method=method)).status == status
        assert running.connections == 0


async def test_however_many_ask_the_app_is_asked_once() -> None:
    """Requests at the same time share one answer, and so do those that come right after it."""
    async with probed() as running:
        running.gate.clear()
        asking = [asyncio.create_task(fetch(running.admin, "/app-probe/0")) for _ in range(20)]
        while not running.asked:
            await asyncio.sleep(0)
        running.gate.set()
        answers = await asyncio.gather(*asking)
        assert {each.status for each in answers} == {200}
        running.now = SHARED_SECONDS - 0.001
        await fetch(running.admin, "/app-probe/0")
        assert running.connections == 1
        running.now = SHARED_SECONDS
        await fetch(running.admin, "/app-probe/0")
        assert running.connections == 2


async def test_each_probe_is_its_own() -> None:
    """A slow one does not hold up another."""
    async with probed(AppProbe(1, "/slow"), AppProbe(1, tcp=True)) as running:
        running.gate.clear()
        slow = asyncio.create_task(running.probe("/app-probe/0"))
        assert (await running.probe("/app-probe/1")).status == 200
        assert not slow.done()
        running.gate.set()
        assert (await slow).status == 200


async def test_in_a_pod(tmp_path: Path) -> None:
    """What is configured is served on the admin port, and told on its first page."""
    async with pod(tmp_path) as running:
        assert (await fetch(running.bound.admin, "/app-probe/0")).status == 404
        assert b"app-probe" not in (await fetch(running.bound.admin, "/")).body
        port = running.app.origin.port
        (tmp_path / "probed").mkdir()
        probes = (AppProbe(port, "/healthz"),)
        async with pod(tmp_path / "probed", admin={"app_probes": probes}) as other:
            assert b"/app-probe/" in (await fetch(other.bound.admin, "/")).body
            answer = await fetch(other.bound.admin, "/app-probe/0")
            assert (answer.status, answer.body) == (200, b"the app answers 200\n")
            assert running.app.received[0].target == "/healthz"
