"""An app that ignores a request's content must not take it for a request nobody checked.

Python's ``http.server`` keeps a connection and reads on after a handler that left the content
unread: the caller's bytes, identity headers and all, would be its next request.
"""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sidecar.config.model import Address, Origin
from tests.support.http import fetch
from tests.support.pod import pod

SMUGGLED = b"GET /admin/x HTTP/1.1\r\nHost: app\r\nx-auth-subject: root\r\n\r\n"


class CarelessApp(ThreadingHTTPServer):
    """Answers every GET at once and never reads content."""

    daemon_threads = True

    def __init__(self) -> None:
        self.seen: list[str] = []
        seen = self.seen

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                seen.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@pytest.fixture
def careless() -> Iterator[CarelessApp]:
    """Run the app in a thread of its own."""
    with CarelessApp() as app:
        thread = threading.Thread(target=app.serve_forever, args=(0.01,))
        thread.start()
        yield app
        app.shutdown()
        thread.join(10)


async def raw_exchange(address: Address, data: bytes) -> bytes:
    """Send *data* and read until the sidecar has answered and closed."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        writer.write(data)
        answer = await reader.read(-1)
        writer.close()
        return answer


@pytest.mark.parametrize(
    "content",
    [
        b"Content-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED),
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED),
    ],
    ids=["length", "chunked"],
)
async def test_ignored_content_never_becomes_a_request(
    tmp_path: Path, careless: CarelessApp, content: bytes
) -> None:
    """The app sees the request that was permitted, and after it only what comes through us."""
    app = Origin("http", "127.0.0.1", careless.server_address[1])
    async with pod(tmp_path, inbound={"app": app}) as running:
        head = b"GET /open/page HTTP/1.1\r\nHost: app\r\nConnection: close\r\n"
        answer = await raw_exchange(running.bound.inbound, head + content)
        assert answer.startswith(b"HTTP/1.1 200 ")
        for _ in range(3):
            assert (await fetch(running.bound.inbound, "/open/next")).status == 200
    assert careless.seen == ["/open/page", *["/open/next"] * 3]


@pytest.mark.parametrize(("reuse", "connections"), [(False, 3), (True, 1)])
async def test_connections_are_reused_after_content_only_where_the_app_is_trusted_to_read_it(
    tmp_path: Path, reuse: bool, connections: int
) -> None:
    """By default a request with content is the last one on its connection, and says so."""
    async with pod(tmp_path, inbound={"reuse_after_content": reuse}) as running:
        token = running.mint.token("alice")
        for body in (b"", b"abc", b"", b"abc", b""):
            await fetch(
                running.bound.inbound,
                "/users/a",
                method="POST" if body else "GET",
                bearer=token,
                body=body,
            )
        received = running.app.received
        assert len({request.peer for request in received}) == connections
        closing = [request.values("connection") for request in received]
        assert closing == [[], [] if reuse else ["close"]] * 2 + [[]]
