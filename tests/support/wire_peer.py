"""The other end of a connection, as a test drives it: bytes out, bytes or messages in."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

_WITHOUT_CONTENT = re.compile(rb"HTTP/1\.[01] (?:1..|204|304) ")
PATIENCE_SECONDS = 20.0
"""Bound of every wait; reached only by a test that fails."""


@dataclass(frozen=True)
class Message:
    """One HTTP message as it arrived, framing removed."""

    start: bytes
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    framing: str = "none"
    """``none``, ``length``, ``chunked`` or ``close``."""

    @property
    def status(self) -> int:
        return int(self.start.split(b" ")[1])

    def all(self, name: bytes) -> list[bytes]:
        return [value for each, value in self.fields if each.lower() == name]

    def get(self, name: bytes) -> bytes | None:
        values = self.all(name)
        assert len(values) < 2, f"{name!r} occurs {len(values)} times"
        return values[0] if values else None

    @property
    def reason(self) -> bytes | None:
        """The reason's code, on answers that the fake handler made."""
        return self.get(b"x-reason")


class Peer:
    """One end of a TCP connection. Every wait is bounded."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.was_reset = False

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.writer.drain()

    async def head(self) -> bytes:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def exactly(self, size: int) -> bytes:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.readexactly(size)

    async def some(self) -> bytes:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self.reader.read(65_536)

    async def rest(self) -> bytes:
        """Everything until the connection ends, in whichever way (``was_reset`` says)."""
        received = b""
        try:
            while data := await self.some():
                received += data
        except ConnectionError:
            self.was_reset = True
        return received

    async def message(self, *, head_only: bool = False, until_close: bool = False) -> Message:
        """Read one message by its own framing."""
        start, *lines = (await self.head()).removesuffix(b"\r\n\r\n").split(b"\r\n")
        fields = []
        for line in lines:
            name, colon, value = line.partition(b":")
            assert colon, line
            fields.append((name, value.strip()))
        message = Message(start, fields)
        length, coding = message.get(b"content-length"), message.get(b"transfer-encoding")
        assert length is None or coding is None, message
        if head_only or _WITHOUT_CONTENT.match(start):
            return message
        if coding is not None:
            assert coding == b"chunked", message
            return Message(start, fields, await self.chunks(), "chunked")
        if length is not None:
            return Message(start, fields, await self.exactly(int(length)), "length")
        if until_close:
            return Message(start, fields, await self.rest(), "close")
        return message

    async def chunks(self) -> bytes:
        """Read chunked content to its end, which must be strictly as we write it."""
        content = b""
        while True:
            async with asyncio.timeout(PATIENCE_SECONDS):
                line = await self.reader.readuntil(b"\r\n")
            size = int(line.removesuffix(b"\r\n"), 16)
            content += await self.exactly(size)
            assert await self.exactly(2) == b"\r\n"
            if size == 0:
                return content

    async def refused(self) -> Message:
        """Read an answer after which the connection ends."""
        message = await self.message()
        assert message.get(b"connection") == b"close", message
        assert await self.rest() == b""
        return message

    def end(self) -> None:
        """Send no more (half-close)."""
        self.writer.write_eof()

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        self.writer.transport.abort()

    def close(self) -> None:
        self.writer.close()

    @property
    def has_ended(self) -> bool:
        """Whether the other side has closed, as far as this end has noticed."""
        return self.reader.at_eof() or self.reader.exception() is not None


@asynccontextmanager
async def connected(host: str, port: int) -> AsyncIterator[Peer]:
    """A client's connection."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()


@contextmanager
def full_backlog() -> Iterator[int]:
    """Give a port whose queue of connections is full: whoever connects gets no answer at all."""
    fillers = []
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        try:
            for _ in range(4):
                filler = socket.socket()
                filler.setblocking(False)
                filler.connect_ex(full.getsockname())
                fillers.append(filler)
            yield full.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()


async def until(condition: Callable[[], object]) -> None:
    """Let the loop run until *condition* holds."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.001)
