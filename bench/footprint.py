"""What connections cost that do nothing: idle ones, and ones whose callers do not read."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench.held import allow_open_files
from bench.programs import BenchError

_TIMEOUT_SECONDS: Final = 10.0
_SMALL_BUFFER: Final = 4096
"""Of the kernel, for a caller that does not read: what it cannot hide, the proxy must."""
_SETTLE_SECONDS: Final = 2.0
"""Until proxies have taken in what they are going to keep."""


@contextmanager
def idle_connections(port: int, token: str, count: int) -> Iterator[None]:
    """Open *count* connections, make one request on each, and keep them.

    Raises ``BenchError`` when one is refused.
    """
    with _connections(port, count) as opened:
        for connection in opened:
            connection.sendall(_request("/", token))
            if not connection.recv(65536).startswith(b"HTTP/1.1 200"):
                raise BenchError("a connection was refused")
        yield


@contextmanager
def slow_readers(port: int, token: str, count: int) -> Iterator[None]:
    """Ask for 1 MiB on each of *count* connections and read the first bytes of it, no more.

    Raises ``BenchError`` when one is refused.
    """
    with _connections(port, count, receive_buffer=_SMALL_BUFFER) as each:
        opened = list(each)
        for connection in opened:
            connection.sendall(_request("/size/1MiB", token))
        for connection in opened:
            if connection.recv(12) != b"HTTP/1.1 200":
                raise BenchError("a connection was refused")
        time.sleep(_SETTLE_SECONDS)
        yield


def _request(path: str, token: str) -> bytes:
    lines = f"GET {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}", "", ""
    return "\r\n".join(lines).encode()


@contextmanager
def _connections(
    port: int, count: int, *, receive_buffer: int | None = None
) -> Iterator[Iterator[socket.socket]]:
    """Give *count* connections one after the other, and close all at the end."""
    allow_open_files(count)
    opened: list[socket.socket] = []

    def open_each() -> Iterator[socket.socket]:
        for _ in range(count):
            connection = socket.socket()
            opened.append(connection)
            if receive_buffer is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.settimeout(_TIMEOUT_SECONDS)
            connection.connect(("127.0.0.1", port))
            yield connection

    try:
        yield open_each()
    except OSError as error:
        raise BenchError(f"connection {len(opened)}: {error}") from error
    finally:
        for connection in opened:
            connection.close()
