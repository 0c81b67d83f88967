"""A client and an app on raw sockets that show exactly which fields were on the wire."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import h11

from sidecar.config.model import Address, Origin

LIMIT_SECONDS = 10.0
Fields = Iterable[tuple[str, str]]


@dataclass(frozen=True)
class Response:
    """An answer as received; names are lower case."""

    status: int
    fields: list[tuple[str, str]]
    body: bytes

    def values(self, name: str) -> list[str]:
        """Return all values of *name*."""
        return [value for each, value in self.fields if each == name]

    @property
    def reason(self) -> str:
        """Return the code of our refusal, empty when somebody else answered."""
        return next(iter(self.values("x-sidecar-reason")), "")


@dataclass
class Request:
    """A request as the app received it, waiting for its answer."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes
    peer: tuple[str, int]
    _answered: "asyncio.Future[tuple[int, list[tuple[str, str]], bytes] | None]" = field(repr=False)

    def values(self, name: str) -> list[str]:
        """Return all values of *name*."""
        return [value for each, value in self.fields if each == name]

    @property
    def handle(self) -> str:
        """Return the one handle the sidecar gave."""
        (value,) = self.values("x-sidecar-context")
        return value

    def answer(self, status: int = 200, fields: Fields = (), body: bytes = b"ok") -> None:
        """Answer and keep the connection."""
        self._answered.set_result((status, list(fields), body))

    def hang_up(self) -> None:
        """Close the connection without an answer."""
        self._answered.set_result(None)


class App:
    """A server whose every answer is the test's to give, or ``ok`` where *automatic*."""

    def __init__(self, *, automatic: bool = False) -> None:
        self.automatic = automatic
        self.received: list[Request] = []
        self.origin: Origin
        self._waiting: asyncio.Queue[Request] = asyncio.Queue()
        self._tasks: set[asyncio.Task[None]] = set()

    async def next(self) -> Request:
        """Wait for the next request."""
        async with asyncio.timeout(LIMIT_SECONDS):
            return await self._waiting.get()

    @asynccontextmanager
    async def running(self) -> AsyncIterator["App"]:
        """Serve on a free port of loopback."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.origin = Origin("http", *server.sockets[0].getsockname()[:2])
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(ConnectionError, asyncio.CancelledError):
            await self._serve(reader, writer)
        self._tasks.discard(task)
        writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = h11.Connection(h11.SERVER)
        while True:
            head, body = await _read_message(connection, reader)
            if not isinstance(head, h11.Request):
                return
            request = Request(
                head.method.decode(),
                head.target.decode(),
                _text(head.headers),
                body,
                writer.get_extra_info("peername"),
                asyncio.get_running_loop().create_future(),
            )
            self.received.append(request)
            self._waiting.put_nowait(request)
            if self.automatic:
                request.answer()
            answer = await request._answered
            if answer is None:
                return
            status, fields, content = answer
            named = {name.lower() for name, _ in fields}
            if not named & {"content-length", "transfer-encoding"}:
                fields = [*fields, ("content-length", str(len(content)))]
            for event in (
                h11.Response(status_code=status, headers=fields),
                h11.Data(data=content if head.method != b"HEAD" else b""),
                h11.EndOfMessage(),
            ):
                writer.write(connection.send(event) or b"")
            await writer.drain()
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()


async def _read_message(
    connection: h11.Connection, reader: asyncio.StreamReader
) -> tuple[h11.Event | None, bytes]:
    head: h11.Event | None = None
    body = b""
    while True:
        event = connection.next_event()
        if event is h11.NEED_DATA:
            connection.receive_data(await reader.read(65536))
        elif isinstance(event, h11.Request | h11.Response):
            head = event
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            return head, body


def _text(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers]


async def fetch(
    address: Address,
    target: str = "/",
    *,
    method: str = "GET",
    fields: Fields = (),
    bearer: str | None = None,
    body: bytes = b"",
    host: str | None = None,
    limit_seconds: float = LIMIT_SECONDS,
) -> Response:
    """Send one request on a connection of its own and return the answer."""
    async with asyncio.timeout(limit_seconds):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            connection = h11.Connection(h11.CLIENT)
            headers = [("host", host or str(address)), *fields]
            if bearer is not None:
                headers.append(("authorization", f"Bearer {bearer}"))
            if body:
                headers.append(("content-length", str(len(body))))
            for event in (
                h11.Request(method=method, target=target, headers=headers),
                h11.Data(data=body),
                h11.EndOfMessage(),
            ):
                writer.write(connection.send(event) or b"")
            head, content = await _read_message(connection, reader)
            assert isinstance(head, h11.Response)
            return Response(head.status_code, _text(head.headers), content)
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()
