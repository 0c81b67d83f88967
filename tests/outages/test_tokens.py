"""The identity provider is gone or ill while calls need its tokens."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from sidecar.config.model import RedisServer, SharedTokens, SharingKey
from sidecar.testbed.ports import free_ports
from sidecar.testbed.token_faults import Cut, Page, Refusal, Status
from tests.outages.token_rows import SERVED, TOKEN_ROWS, TokenRow
from tests.outages.tokens import Depending, depending


@pytest.fixture
def row(request: pytest.FixtureRequest) -> TokenRow:
    """What docs/outages.md says of this test."""
    function: pytest.Function = request.node
    return TOKEN_ROWS[function.originalname]


async def ill(depending: Depending, row: TokenRow, fault: Cut | Page | Refusal | Status) -> None:
    """Have the provider answer with *fault*, its keys' place too where the row says so."""
    depending.provider.faults.instead = fault
    depending.provider.faults.everywhere = row.keys_too
    await depending.suffers(row)


async def test_provider_killed(tmp_path: Path, row: TokenRow) -> None:
    """What is at hand serves to its end; once the provider is back, all is as before."""
    async with depending(tmp_path) as it:
        await it.provider.go_down()
        await it.suffers(row)
        await it.provider.come_back()
        async with asyncio.timeout(30):
            while await it.call(it.waiting[0]) != SERVED:
                await asyncio.sleep(0.05)
        assert await it.calls(it.held) == SERVED


async def test_connections_cut(tmp_path: Path, row: TokenRow) -> None:
    """As good as gone."""
    async with depending(tmp_path) as it:
        await ill(it, row, Cut())


async def test_silent_token_endpoint(tmp_path: Path, row: TokenRow) -> None:
    """Nobody waits longer than the client's timeout."""
    async with depending(tmp_path, timeout_seconds=0.2) as it:
        it.provider.faults.hold = asyncio.Event()
        await it.suffers(row)
        it.provider.faults.clear()


async def test_slow_token_endpoint(tmp_path: Path, row: TokenRow) -> None:
    """Who needs a token waits for it; who has one does not."""
    async with depending(tmp_path) as it:
        it.provider.faults.delay_seconds = 0.05
        await it.suffers(row)


@pytest.mark.parametrize("code", [500, 502, 503, 404])
async def test_token_endpoint_errors(tmp_path: Path, row: TokenRow, code: int) -> None:
    """No error of the server's is the caller's or the configuration's."""
    async with depending(tmp_path) as it:
        await ill(it, row, Status(code))


async def test_token_endpoint_limits(tmp_path: Path, row: TokenRow) -> None:
    """It is left alone as long as it asks for, and callers are told."""
    async with depending(tmp_path) as it:
        before = it.provider.token_requests.total
        await ill(it, row, Status(429, retry_after="7"))
        assert it.provider.token_requests.total - before <= 2 * len(it.waiting)


async def test_page_for_a_token(tmp_path: Path, row: TokenRow) -> None:
    """A portal in between is not the authorization server."""
    async with depending(tmp_path) as it:
        await ill(it, row, Page())


async def test_client_not_known(tmp_path: Path, row: TokenRow) -> None:
    """Asking again mends nothing, so that it is done every few seconds for all callers together."""
    async with depending(tmp_path) as it:
        before = it.provider.token_requests.total
        await ill(it, row, Refusal("invalid_client", 401))
        # Of callers that came at once, each had begun to ask; and so had what was refreshed.
        assert it.provider.token_requests.total - before <= 4 * len(it.waiting)


async def test_target_not_allowed(tmp_path: Path, row: TokenRow) -> None:
    """The operator's to mend, and what is at hand serves meanwhile."""
    async with depending(tmp_path) as it:
        await ill(it, row, Refusal("invalid_target"))


async def test_callers_refused(tmp_path: Path, row: TokenRow) -> None:
    """The caller's to mend, by signing in again."""
    async with depending(tmp_path) as it:
        await ill(it, row, Refusal("invalid_grant"))


async def test_redis_killed(tmp_path: Path, row: TokenRow) -> None:
    """Redis is never needed: each pod asks for itself."""
    (port,) = free_ports(1)
    async with depending(tmp_path, shared_tokens=shared(port)) as it:
        await it.suffers(row)


async def test_redis_silent(tmp_path: Path, row: TokenRow) -> None:
    """Nor is it waited for longer than its own short timeout."""

    async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await reader.read(1024):
                pass
        writer.close()

    async with await asyncio.start_server(ignore, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with depending(tmp_path, shared_tokens=shared(port)) as it:
            await it.suffers(row)


def shared(port: int) -> SharedTokens:
    """Say that tokens are shared through what should listen at *port*."""
    key = SharingKey("one", bytes(32))
    return SharedTokens(RedisServer("127.0.0.1", port), (key,), timeout_seconds=0.05)


async def test_token_for_somebody_else(tmp_path: Path, row: TokenRow) -> None:
    """It is not sent anywhere."""
    async with depending(tmp_path) as it:
        it.provider.faults.claims = {"aud": "somebody-else"}
        await it.suffers(row)
