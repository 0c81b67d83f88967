"""A provider on loopback and one issuer's keys, wired as assembly wires them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.config.model import Issuer, JwksUri
from sidecar.fetch.client import Fetcher
from sidecar.issuers.keys import IssuerKeys
from tests.issuers.support import Installed, ManualTime, Provider, Report, issuer

AiohttpServer = Callable[[web.Application], Awaitable[TestServer]]


@dataclass
class Bench:
    """One issuer's keys with everything around them in the test's hands."""

    keys: IssuerKeys
    time: ManualTime
    report: Report
    installed: Installed

    def is_loaded(self) -> bool:
        """Tell what ``loaded`` says now; a type checker takes an attribute to stay as it is."""
        return self.keys.loaded

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the background until the block ends."""
        task = asyncio.create_task(self.keys.run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


@dataclass
class Jitter:
    """Not random: returns *value*."""

    value: float = 0.5

    def __call__(self) -> float:
        return self.value


@dataclass
class Benches:
    """Makes benches that share one client."""

    fetcher: Fetcher
    jitter: Jitter = field(default_factory=Jitter)

    def make(self, configured: Issuer) -> Bench:
        time, report, installed = ManualTime(), Report(), Installed()
        keys = IssuerKeys(
            configured,
            fetch=self.fetcher,
            install=installed,
            clock=time,
            jitter=self.jitter,
            report=report,
            sleep=time.sleep,
        )
        return Bench(keys, time, report, installed)


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    """The real client."""
    async with Fetcher() as fetcher:
        yield fetcher


@pytest.fixture
def benches(fetcher: Fetcher) -> Benches:
    """Benches around the real client."""
    return Benches(fetcher)


@pytest.fixture
def provider() -> Provider:
    """A provider that publishes the key ``one``."""
    return Provider()


@pytest.fixture
async def server(provider: Provider, aiohttp_server: AiohttpServer) -> TestServer:
    """The provider, listening on loopback."""
    return await aiohttp_server(provider.application())


@pytest.fixture
async def bench(benches: Benches, server: TestServer) -> Bench:
    """Keys fetched from the provider's key set."""
    return benches.make(issuer(JwksUri(str(server.make_url("/jwks")))))
