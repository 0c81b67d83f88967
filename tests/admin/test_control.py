"""``sidecar.admin.control``: real requests over the socket, by those who may and others."""

import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from sidecar.admin import control
from sidecar.admin.control import ControlServer
from sidecar.admin.status import AttributionStatus, LedgerStatus, Status, TokenCacheStatus

STATUS = Status(
    version="1.2.3",
    uptime_seconds=1.5,
    ready=True,
    draining=False,
    missing=(),
    issuers=(),
    ledger=LedgerStatus(entries=0, capacity=1),
    token_cache=TokenCacheStatus(hits=0, misses=0),
    attribution=AttributionStatus(carrier="none", expectation="", seen=()),
    destinations=(),
)
ASK = b"GET /status HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@asynccontextmanager
async def serving(path: Path, *, keepalive_seconds: float = 15.0) -> AsyncIterator[ControlServer]:
    server = ControlServer(str(path), lambda: STATUS, keepalive_seconds=keepalive_seconds)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


@pytest.fixture
async def path(tmp_path: Path) -> AsyncIterator[Path]:
    """A control socket that is served."""
    async with serving(tmp_path / "c.sock"):
        yield tmp_path / "c.sock"


async def exchange(path: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(request)
    async with asyncio.timeout(60):
        answer = await reader.read()
    writer.close()
    return answer


async def test_status_is_what_the_source_says(path: Path) -> None:
    """The document arrives as JSON, named and not to be kept."""
    head, _, body = (await exchange(path, ASK)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    for field in (b"Content-Type: application/json", b"Cache-Control: no-store"):
        assert field in head
    assert b"Server: jwt-sidecar" in head
    assert json.loads(body)["version"] == "1.2.3"


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        (b"POST /status", b"405"),
        (b"DELETE /status", b"405"),
        (b"GET /", b"404"),
        (b"GET /metrics", b"404"),
        (b"GET /status/", b"404"),
        (b"POST /revoke", b"404"),
    ],
)
async def test_nothing_else_is_there(path: Path, request_line: bytes, status: bytes) -> None:
    """Other paths and methods are refused."""
    head = b"%b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % request_line
    assert (await exchange(path, head)).startswith(b"HTTP/1.1 " + status)


async def test_nonsense_is_refused(path: Path) -> None:
    """What is no request is 400 and the end of the connection."""
    assert b" 400 " in (await exchange(path, b"\x16\x03\x01\r\n\r\n"))[:20]


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
@pytest.mark.parametrize(("mode", "expected"), [(0o600, "Permission denied"), (0o666, "403")])
async def test_another_user_is_not_answered(mode: int, expected: str) -> None:
    """The mode keeps others out, and where somebody widened it, they are told nothing."""
    script = (
        "import os, socket, sys\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX)\n"
        "try:\n    s.connect(sys.argv[1])\n"
        "except OSError as error:\n    print(error.strerror); sys.exit()\n"
        f"s.sendall({ASK!r})\n"
        "print(s.makefile().read())\n"
    )
    directory = Path(tempfile.mkdtemp())  # pytest's own are closed to other users
    directory.chmod(0o755)
    path = directory / "c.sock"
    try:
        async with serving(path):
            path.chmod(mode)
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", script, str(path), stdout=subprocess.PIPE
            )
            output, _ = await process.communicate()
    finally:
        directory.rmdir()
    assert expected in output.decode()
    assert "version" not in output.decode()
    if mode == 0o666:
        assert f"only user {os.geteuid()} and root are answered here" in output.decode()


async def test_connections_are_bounded_and_the_newest_wins(path: Path) -> None:
    """Whoever leaves connections open cannot keep the operator out."""
    held = [
        await asyncio.open_unix_connection(str(path)) for _ in range(control.MAX_CONNECTIONS + 1)
    ]
    assert b" 200 " in (await exchange(path, ASK))[:20]
    async with asyncio.timeout(60):
        with suppress(ConnectionResetError):
            assert await held[0][0].read() == b""
    for _, writer in held:
        writer.close()


@pytest.mark.parametrize("sent", [b"", b"GET /sta"])
async def test_a_connection_that_falls_silent_is_closed(sent: bytes, tmp_path: Path) -> None:
    """Before a request or within its head, silence ends the connection."""
    async with serving(tmp_path / "c.sock", keepalive_seconds=0.05):
        assert await exchange(tmp_path / "c.sock", sent) == b""


async def test_stopping_removes_the_socket_and_ends_connections(tmp_path: Path) -> None:
    """Afterwards nothing listens, nothing is left, and stopping again is harmless."""
    path = tmp_path / "c.sock"
    async with serving(path) as server:
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"[]}")
        writer.write(b"GET /sta")
        await server.stop()
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        assert list(tmp_path.iterdir()) == []
    async with serving(path):
        assert b" 200 " in (await exchange(path, ASK))[:20]


async def test_stopping_what_never_started_is_harmless(tmp_path: Path) -> None:
    """A start that failed elsewhere ends without touching the path."""
    (tmp_path / "c.sock").write_text("precious")
    await ControlServer(str(tmp_path / "c.sock"), lambda: STATUS).stop()
    assert (tmp_path / "c.sock").read_text() == "precious"
