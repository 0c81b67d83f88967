"""Servers that do on a socket what a library would not let a server do."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field

Behave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Rude:
    """One such server on loopback."""

    port: int = 0
    heads: list[bytes] = field(default_factory=list)
    """What was asked, as it was received."""
    left: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once a client is gone."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/realms/secret?token=s3cret"


@asynccontextmanager
async def rude(behave: Behave, *, reads_head: bool = True) -> AsyncIterator[Rude]:
    """Serve by *behave*, which gets each connection after the request unless not *reads_head*."""
    server = Rude()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if reads_head:
                server.heads.append(await reader.readuntil(b"\r\n\r\n"))
            await behave(reader, writer)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client had enough
        finally:
            server.left.set()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    conversations: set[asyncio.Task[None]] = set()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversations.add(asyncio.create_task(converse(reader, writer)))

    async with AsyncExitStack() as stack:
        listening = await stack.enter_async_context(
            await asyncio.start_server(begin, "127.0.0.1", 0)
        )
        server.port = listening.sockets[0].getsockname()[1]
        try:
            yield server
        finally:
            for each in conversations:
                each.cancel()
            await asyncio.gather(*conversations, return_exceptions=True)


def says(*parts: bytes, ends: bool = True) -> Behave:
    """Send *parts*; then end, or keep the connection until the client leaves."""

    async def behave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if not ends:
            await reader.read()

    return behave


def repeats(head: bytes, part: bytes, *, pause_seconds: float = 0) -> Behave:
    """Send *head*, and then *part* without end."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause_seconds)

    return behave
