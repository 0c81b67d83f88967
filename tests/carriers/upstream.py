"""An upstream on loopback that records the bytes of every head it receives."""

import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

TIMEOUT_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Head:
    """One request's line and header section, as received."""

    raw: bytes

    @property
    def method(self) -> str:
        return self.raw.split(b" ", 2)[0].decode()

    @property
    def target(self) -> str:
        return self.raw.split(b" ", 2)[1].decode()

    def values(self, name: str) -> list[str]:
        """Every value of the field *name*, one per line it stood on."""
        fields = [line.split(b":", 1) for line in self.raw.split(b"\r\n")[1:] if line]
        return [value.strip().decode() for key, value in fields if key.lower() == name.encode()]


class Upstream:
    """Answers 200 to everything; a path that is held is answered when it is let go."""

    def __init__(self, address: Any = ("127.0.0.1", 0), tls: ssl.SSLContext | None = None) -> None:
        family = socketserver.ThreadingUnixStreamServer if isinstance(address, str) else _Tcp
        self._server = family(address, _make_handler(self))
        if tls is not None:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self._server.daemon_threads = True
        self._heads: list[Head] = []
        self._changed = threading.Condition()
        self._held: dict[str, threading.Event] = {}
        self._scheme = "https" if tls else "http"

    def url(self, path: str) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}{path}"

    @property
    def port(self) -> int:
        return int(self._server.socket.getsockname()[1])

    @contextmanager
    def running(self) -> Iterator[Self]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            thread.join()
            self._server.socket.close()

    @contextmanager
    def holding(self, path: str) -> Iterator[None]:
        self._held[path] = threading.Event()
        try:
            yield
        finally:
            self._held.pop(path).set()

    def heads(self, path: str) -> list[Head]:
        with self._changed:
            return [head for head in self._heads if head.target.endswith(path)]

    def wait_for(self, path: str) -> Head:
        """Return the first head for *path* as soon as there is one."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: any(head.target == path for head in self._heads), TIMEOUT_SECONDS
            ), f"no call to {path}"
            return next(head for head in self._heads if head.target == path)

    def wait_for_count(self, path: str, count: int) -> None:
        """Return as soon as there are *count* heads for *path*."""
        with self._changed:
            assert self._changed.wait_for(
                lambda: sum(head.target == path for head in self._heads) >= count,
                TIMEOUT_SECONDS,
            ), f"fewer than {count} calls to {path}"

    def answer(self, head: Head, nth: int) -> bytes | None:
        """What is sent in reply to the *nth* head of a connection; ``None`` closes it instead."""
        length = "" if head.method == "CONNECT" else "content-length: 0\r\n"
        return f"HTTP/1.1 200 OK\r\n{length}\r\n".encode()

    def receive(self, head: Head) -> None:
        with self._changed:
            self._heads.append(head)
            self._changed.notify_all()
        held = self._held.get(head.target)
        if held is not None:
            assert held.wait(TIMEOUT_SECONDS)


class SlowUpstream(Upstream):
    """Takes a moment, so that those who share connections have to wait for them."""

    def answer(self, head: Head, nth: int) -> bytes | None:
        time.sleep(0.003)
        return super().answer(head, nth)


class FickleUpstream(Upstream):
    """Leaves every second request of a connection without an answer, and hangs up."""

    def answer(self, head: Head, nth: int) -> bytes | None:
        return super().answer(head, nth) if nth == 1 else None


class RedirectingUpstream(Upstream):
    """Sends everybody to *location*, once for each path, and answers there if it is its own."""

    def __init__(self, location: str = "") -> None:
        super().__init__()
        self.location = location

    def answer(self, head: Head, nth: int) -> bytes | None:
        if head.target.endswith("/moved"):
            return super().answer(head, nth)
        location = (self.location or self.url("")) + head.target + "/moved"
        return f"HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode()


class _Tcp(socketserver.ThreadingTCPServer):
    request_queue_size = 128


def _make_handler(upstream: Upstream) -> Any:
    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            nth = 0
            while head := self._read_head():
                nth += 1
                self._skip_body(head)
                upstream.receive(head)
                answer = upstream.answer(head, nth)
                if answer is None:
                    return
                self.wfile.write(answer)

        def _read_head(self) -> Head | None:
            lines = []
            while line := self.rfile.readline():
                lines.append(line)
                if line == b"\r\n":
                    return Head(b"".join(lines))
            return None

        def _skip_body(self, head: Head) -> None:
            for length in head.values("content-length"):
                self.rfile.read(int(length))
            if head.values("transfer-encoding"):
                while size := int(self.rfile.readline(), 16):
                    self.rfile.read(size + 2)
                self.rfile.readline()

    return Handler
