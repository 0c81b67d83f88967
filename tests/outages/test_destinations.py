"""A destination is ill that calls have tokens for: what the app sees, and what becomes of them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import cycle
from pathlib import Path

import pytest

from sidecar.config.model import CircuitBreaker, DestinationLimits, Origin
from sidecar.testbed.ports import free_ports
from tests.outages.token_rows import DESTINATION_ROWS, DestinationRow
from tests.outages.tokens import Depending, depending
from tests.support.http import Request

LIMITS = DestinationLimits(connect_retries=0)


@pytest.fixture
def row(request: pytest.FixtureRequest) -> DestinationRow:
    """What docs/outages.md says of this test."""
    function: pytest.Function = request.node
    return DESTINATION_ROWS[function.originalname]


@asynccontextmanager
async def answering(
    directory: Path, answer: Callable[[Request], None], **destination: object
) -> AsyncIterator[Depending]:
    """Run a pod whose destination does with each request what *answer* does."""
    async with depending(directory, destination={"limits": LIMITS, **destination}) as it:
        it.running.destination.automatic = False

        async def serve() -> None:
            while True:
                answer(await it.running.destination.next())

        serving = asyncio.create_task(serve())
        yield it
        serving.cancel()
        await asyncio.wait((serving,))


async def test_destination_killed(tmp_path: Path, row: DestinationRow) -> None:
    """The token is good for whoever comes after."""
    (port,) = free_ports(1)
    nobody = Origin("http", "127.0.0.1", port)
    async with depending(tmp_path, destination={"limits": LIMITS, "upstream": nobody}) as it:
        await it.meets(row)


async def test_destination_hangs_up(tmp_path: Path, row: DestinationRow) -> None:
    """It may have done what it was asked for, so that nothing is repeated by itself."""
    async with answering(tmp_path, Request.hang_up) as it:
        await it.meets(row)


async def test_destination_silent(tmp_path: Path, row: DestinationRow) -> None:
    """The app learns it in time to answer its own caller."""
    limits = DestinationLimits(connect_retries=0, total_timeout_seconds=0.2)
    async with answering(tmp_path, lambda _request: None, limits=limits) as it:
        await it.meets(row)


async def test_destination_failing(tmp_path: Path, row: DestinationRow) -> None:
    """It is left alone, and the app waits for nothing."""
    circuit = CircuitBreaker(failures=1)
    async with answering(tmp_path, Request.hang_up, circuit=circuit) as it:
        await it.meets(row)


async def test_destination_errors(tmp_path: Path, row: DestinationRow) -> None:
    """An answer is an answer."""
    codes = cycle((500, 429))
    async with answering(tmp_path, lambda request: request.answer(next(codes))) as it:
        await it.meets(row)


async def test_destination_refuses_tokens(tmp_path: Path, row: DestinationRow) -> None:
    """The fault may be the token's, once."""
    async with answering(tmp_path, lambda request: request.answer(401)) as it:
        await it.meets(row)
