"""A real client, and real servers on loopback for it to ask."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack

import pytest

from sidecar.fetch.client import Fetcher

ServeBytes = Callable[[bytes], Awaitable[str]]


class Names:
    """A resolver whose answers a test writes down; it remembers what it was asked."""

    def __init__(self) -> None:
        self.addresses: dict[str, list[str]] = {}
        self.asked: list[str] = []

    async def lookup(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.addresses:
            raise OSError("name unknown")
        return self.addresses[host]


@pytest.fixture
def names() -> Names:
    """Names as the test defines them."""
    return Names()


@pytest.fixture
async def fetcher(names: Names) -> AsyncIterator[Fetcher]:
    """A client that resolves by *names*."""
    async with Fetcher(lookup=names.lookup) as fetcher:
        yield fetcher


@pytest.fixture
async def serve_bytes() -> AsyncIterator[ServeBytes]:
    """Serve the same bytes, whatever is asked, and return the URL."""

    async def serve(answer: bytes) -> str:
        async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(65_536)
            writer.write(answer)
            writer.close()

        server = await stack.enter_async_context(
            await asyncio.start_server(converse, "127.0.0.1", 0)
        )
        return f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"

    async with AsyncExitStack() as stack:
        yield serve
