"""Requests that an app keeps open: live ledger entries, in any number, and their handles.

The callers and the app are both here, on a loop in a thread of its own, and do nothing once all
requests have arrived.
"""

import asyncio
import resource
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from bench.programs import BenchError

_ARRIVE_SECONDS: Final = 120.0
_AT_ONCE: Final = 200
_SPARE_FILES: Final = 500
_CONTEXT: Final = b"x-sidecar-context: "
T = TypeVar("T")


class HeldRequests:
    """An app that answers nothing, and callers who wait for it. Leaving the block ends all."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._writers: list[asyncio.StreamWriter] = []
        self._arrived: asyncio.Queue[str] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self.handles: list[str] = []
        """Of the requests that have arrived."""
        self.port = 0
        """Of the app."""

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._serve())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def hold(self, port: int, token: str, count: int) -> None:
        """Send *count* requests with *token* to a sidecar's *port*, and wait until the app has
        them.

        Raises ``BenchError`` when they do not arrive in time.
        """
        allow_open_files(2 * count)
        try:
            self._run(self._hold(port, token, count))
        except TimeoutError:
            raise BenchError(f"{len(self.handles)} of {count} requests arrived") from None

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _serve(self) -> None:
        self._server = await asyncio.start_server(self._receive, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _receive(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            handle = head.partition(_CONTEXT)[2].partition(b"\r\n")[0]
            self._arrived.put_nowait(handle.decode())

    async def _hold(self, port: int, token: str, count: int) -> None:
        request = f"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        async with asyncio.timeout(_ARRIVE_SECONDS):
            for start in range(0, count, _AT_ONCE):
                size = min(_AT_ONCE, count - start)
                for _ in range(size):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    self._writers.append(writer)
                    writer.write(request.encode())
                for _ in range(size):
                    self.handles.append(await self._arrived.get())

    async def _end(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)


def allow_open_files(count: int) -> None:
    """Raise this process's limit, which its children inherit. Raises ``BenchError`` if it may not
    be so high.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + _SPARE_FILES
    if soft >= wanted or soft == resource.RLIM_INFINITY:
        return
    unlimited = hard == resource.RLIM_INFINITY
    try:  # root may raise the hard limit, too
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted, hard if unlimited else max(hard, wanted))
        )
    except (OSError, ValueError):
        raise BenchError(f"{wanted} open files are needed; ulimit -Hn says {hard}") from None
