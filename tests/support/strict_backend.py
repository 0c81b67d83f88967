"""A server that forgives nothing, keeps every byte, and answers each request in its own words.

It reads what we write and not what HTTP allows: a head in CRLF lines of plain text, one ``Host``,
at most one framing field, chunks without extensions. Whatever else arrives is a fault that the
test sees. Each answer names the request that it answers, so that nobody gets somebody else's.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import h11

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00-\x08\x0a-\x1f\x7f]*)")
_REQUEST = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Z-]+) ([!-~]+) HTTP/1\.1")
_ENDS_BEFORE_US = re.compile(rb"keep-alive|proxy-.*")
_OURS_TO_SAY = {b"close", b"te", b"upgrade"}
"""What a proxy itself may have to tell the next hop."""


@dataclass(frozen=True)
class Received:
    """A request that arrived whole."""

    method: bytes
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    """Names in lower case."""
    body: bytes
    connection: int
    """Index of the connection it came on."""

    def all(self, name: bytes) -> list[bytes]:
        """Return every value of *name*."""
        return [value for each, value in self.fields if each == name]

    @property
    def names(self) -> set[bytes]:
        return {name for name, _ in self.fields}


@dataclass
class Connection:
    """One connection and all that came on it."""

    raw: bytes = b""
    requests: int = 0
    has_ended: bool = False


@dataclass
class Script:
    """What to send instead of the usual answer."""

    raw: bytes
    close: bool = False
    """Close after it, without waiting for anything."""


class Fault(Exception):
    """What arrived is not what a careful proxy sends."""


def usual_answer(request: Received) -> bytes:
    """200, whose content repeats the method and the target."""
    body = request.method + b" " + request.target
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body)
    return head if request.method == b"HEAD" else head + body


@dataclass
class StrictBackend:
    """Records, answers, and notes each fault."""

    received: list[Received] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    connections: list[Connection] = field(default_factory=list)
    scripts: dict[bytes, Script] = field(default_factory=dict)
    """By target."""
    port: int = 0
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["StrictBackend"]:
        """Serve on a free port of loopback."""
        server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
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
        index = len(self.connections)
        connection = Connection()
        self.connections.append(connection)
        try:
            await self._serve(_Recording(reader, connection), writer, index)
        except Fault as fault:
            self.faults.append(f"{fault}: {connection.raw[-300:]!r}")
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the proxy left: what that means is for the test to say
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _serve(self, reader: "_Recording", writer: asyncio.StreamWriter, index: int) -> None:
        while True:
            request = await _read(reader, index)
            self.received.append(request)
            self.connections[index].requests += 1
            script = self.scripts.get(request.target)
            writer.write(usual_answer(request) if script is None else script.raw)
            await writer.drain()
            if script is not None and script.close:
                writer.close()
                await writer.wait_closed()
                return
            if b"close" in request.all(b"connection"):
                return

    def check_with_h11(self) -> None:
        """Read every connection a second time with h11: it must find the same requests."""
        for connection in self.connections:
            if not connection.raw:
                continue  # the sidecar has looked whether the app is there
            assert _count_by_h11(connection.raw) == connection.requests, connection.raw[:2000]


class _Recording:
    """A reader that remembers what it gave."""

    def __init__(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        self._reader = reader
        self._connection = connection

    async def until(self, end: bytes) -> bytes:
        try:
            data = await self._reader.readuntil(end)
        except asyncio.IncompleteReadError as error:
            self._connection.raw += error.partial
            raise
        self._connection.raw += data
        return data.removesuffix(end)

    async def exactly(self, size: int) -> bytes:
        data = await self._reader.readexactly(size)
        self._connection.raw += data
        return data


async def _read(reader: _Recording, index: int) -> Received:
    start, *lines = (await reader.until(b"\r\n\r\n")).split(b"\r\n")
    match = _REQUEST.fullmatch(start)
    if match is None:
        raise Fault("the request line is not well-formed")
    fields = tuple(map(_field, lines))
    return Received(match[1], match[2], fields, await _read_body(reader, fields), index)


def _field(line: bytes) -> tuple[bytes, bytes]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise Fault(f"not a field: {line!r}")
    name, value = match.groups()
    name = name.lower()
    if _ENDS_BEFORE_US.fullmatch(name):
        raise Fault(f"{name!r} was passed on")
    if name == b"connection" and not set(value.lower().split(b", ")) <= _OURS_TO_SAY:
        raise Fault(f"Connection says {value!r}")
    return name, value.rstrip(b" \t")


async def _read_body(reader: _Recording, fields: tuple[tuple[bytes, bytes], ...]) -> bytes:
    hosts = [value for name, value in fields if name == b"host"]
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    if len(hosts) != 1 or not hosts[0]:
        raise Fault(f"Host: {hosts}")
    if len(lengths) + len(codings) > 1:
        raise Fault(f"Content-Length {lengths} and Transfer-Encoding {codings}")
    if codings:
        if codings != [b"chunked"]:
            raise Fault(f"Transfer-Encoding: {codings}")
        return await _read_chunks(reader)
    if not lengths:
        return b""
    if not re.fullmatch(rb"[0-9]{1,18}", lengths[0]):
        raise Fault(f"Content-Length: {lengths}")
    return await reader.exactly(int(lengths[0]))


async def _read_chunks(reader: _Recording) -> bytes:
    content = b""
    while True:
        line = await reader.until(b"\r\n")
        if not re.fullmatch(rb"[0-9a-f]{1,15}", line):
            raise Fault(f"a chunk begins with {line!r}")
        size = int(line, 16)
        content += await reader.exactly(size)
        if await reader.exactly(2) != b"\r\n":
            raise Fault("a chunk is not followed by CRLF")
        if size == 0:
            return content


def _count_by_h11(raw: bytes) -> int:
    """Whole requests in *raw*, which may end in the middle of one."""
    methods, _ = _by_h11(raw)
    return len(methods)


def whole_requests(raw: bytes) -> list[bytes] | None:
    """The methods of the requests that *raw* consists of, to its last byte, as h11 reads it.

    ``None`` where it refuses some of it or waits for more: what follows *raw* on its connection
    is then not sure to be a request of its own.
    """
    try:
        methods, is_whole = _by_h11(raw)
    except (h11.RemoteProtocolError, h11.LocalProtocolError):
        return None
    return methods if is_whole else None


def _by_h11(raw: bytes) -> tuple[list[bytes], bool]:
    reader = h11.Connection(h11.SERVER)
    assert raw  # for h11 the end, of which it says so for ever
    reader.receive_data(raw)
    method = b""
    methods: list[bytes] = []
    while True:
        event = reader.next_event()
        if event is h11.NEED_DATA:
            return methods, reader.their_state in (h11.DONE, h11.MUST_CLOSE)
        if event is h11.PAUSED:
            reader.send(h11.Response(status_code=200, headers=[("content-length", "0")]))
            reader.send(h11.EndOfMessage())
            reader.start_next_cycle()
        elif isinstance(event, h11.Request):
            method = bytes(event.method)
        elif isinstance(event, h11.EndOfMessage):
            methods.append(method)
