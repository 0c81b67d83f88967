"""An app that answers without reading an upload, and closes, must not turn its answer into a 502.

Its system resets the connection because of the unread content. The answer had arrived by then, but
writing more content failed before the answer was read, and the proxy threw it away.
"""

import asyncio
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from sidecar.config.model import Origin
from tests.support.pod import pod
from tests.support.wire_peer import Peer, connected

SIZE = 8 * 1024 * 1024


@pytest.fixture
def picky() -> Iterator[ThreadingHTTPServer]:
    """An app that refuses every upload unread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_PUT(self) -> None:
            self.close_connection = True
            self.send_response(413)
            self.send_header("Content-Length", "8")
            self.end_headers()
            self.wfile.write(b"too much")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as app:
        app.daemon_threads = True
        thread = threading.Thread(target=app.serve_forever, args=(0.01,))
        thread.start()
        yield app
        app.shutdown()
        thread.join(10)


async def upload(peer: Peer) -> None:
    """Send as much as is taken."""
    for _ in range(SIZE // 65_536):
        await peer.send(b"x" * 65_536)


async def test_an_upload_that_is_refused_unread_gets_the_refusal(
    tmp_path: Path, picky: ThreadingHTTPServer
) -> None:
    """Every time, whoever wins the race."""
    app = Origin("http", "127.0.0.1", picky.server_address[1])
    statuses = []
    async with pod(tmp_path, inbound={"app": app}) as running:
        address = running.bound.inbound
        for _ in range(30):
            async with connected(address.host, address.port) as client:
                await client.send(
                    b"PUT /open/x HTTP/1.1\r\nHost: app\r\nContent-Length: %d\r\n\r\n" % SIZE
                )
                sending = asyncio.create_task(upload(client))
                answer = await client.message()
                statuses.append((answer.status, answer.body))
                sending.cancel()
                await asyncio.gather(sending, return_exceptions=True)
    assert statuses == [(413, b"too much")] * 30
