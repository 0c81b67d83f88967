"""What an idle connection costs."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench.held import allow_open_files
from bench.programs import BenchError

_TIMEOUT_SECONDS: Final = 10.0


@contextmanager
def idle_connections(port: int, token: str, count: int) -> Iterator[None]:
    """Open *count* connections, make one request on each, and keep them.

    Raises ``BenchError`` when one is refused.
    """
    allow_open_files(count)
    request = f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    opened: list[socket.socket] = []
    try:
        for _ in range(count):
            connection = socket.create_connection(("127.0.0.1", port), _TIMEOUT_SECONDS)
            opened.append(connection)
            connection.sendall(request)
            if not connection.recv(65536).startswith(b"HTTP/1.1 200"):
                raise BenchError(f"connection {len(opened)} was refused")
        yield
    except OSError as error:
        raise BenchError(f"connection {len(opened) + 1}: {error}") from error
    finally:
        for connection in opened:
            connection.close()
