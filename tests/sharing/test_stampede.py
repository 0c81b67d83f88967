"""How often a provider is asked when many callers come at once: real HTTP, real tokens."""

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sidecar.config import model
from sidecar.core.obtained import Failure, ObtainedToken
from sidecar.core.principal import Credential
from sidecar.credentials.obtained_tokens import ObtainedTokens
from sidecar.credentials.sharing import Sharing
from sidecar.credentials.token_endpoint import TokenEndpoint
from sidecar.credentials.token_source import TokenSource, generation_of
from sidecar.telemetry.shared_tokens import SharedTokenMetrics
from sidecar.telemetry.token_exchanges import TokenExchangeMetrics
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.token_faults import Status
from tests.credentials.sources import settled
from tests.credentials.test_with_a_provider import EXCHANGE, asking, providing, subject
from tests.support.redis import redis_server

MANY = 200
CONCURRENT = 8


@asynccontextmanager
async def source(
    endpoint: TokenEndpoint, shared: model.SharedTokens | None = None
) -> AsyncIterator[TokenSource]:
    """One pod's, as it is wired, but that no time passes by which failures are forgotten."""
    tokens = ObtainedTokens(max_entries=1000, max_bytes=1 << 24)
    sharing = Sharing(tokens, clock=time.monotonic, wall_clock=time.time, report=SharedTokenMetrics)
    sharing.use(shared)
    yield TokenSource(
        EXCHANGE,
        generation=generation_of("c"),
        tokens=tokens,
        ask=endpoint.ask,
        kept=model.ObtainedTokens(),
        clock=lambda: 0.0,
        wall_clock=time.time,
        random=random.random,
        report=TokenExchangeMetrics("billing"),
    )
    await tokens.close()
    await sharing.close()


async def all_of(tokens: TokenSource, callers: list[Credential]) -> list[ObtainedToken | Failure]:
    async def one(caller: Credential) -> ObtainedToken | Failure:
        return await settled(tokens.get(caller))

    return await asyncio.gather(*map(one, callers))


def exchanges(provider: IdentityProvider) -> int:
    return provider.token_requests.total


async def test_many_callers_of_one_subject() -> None:
    """They all have the one token that one request brought."""
    async with providing() as provider, asking(provider) as endpoint, source(endpoint) as tokens:
        got = await all_of(tokens, [subject(provider)] * MANY)
        assert isinstance(got[0], ObtainedToken)
        assert all(each is got[0] for each in got)
        assert exchanges(provider) == 1


async def test_many_subjects() -> None:
    """Each has its own token; the provider is asked once for each, and by few at a time."""
    async with (
        providing() as provider,
        asking(provider, max_concurrent=CONCURRENT, timeout_seconds=30.0) as endpoint,
        source(endpoint) as tokens,
    ):
        names = [f"user{number}" for number in range(MANY)]
        callers = [subject(provider, name) for name in names]
        for _ in range(2):
            got = await all_of(tokens, callers)
            assert [isinstance(each, ObtainedToken) and each.subject for each in got] == names
        assert exchanges(provider) == MANY
        assert provider.token_requests.most_at_once <= CONCURRENT


async def test_many_callers_while_the_provider_fails() -> None:
    """One question tells them all, and those who come right after are told without another."""
    async with providing() as provider, asking(provider) as endpoint, source(endpoint) as tokens:
        provider.faults.instead = Status(500)
        callers = [subject(provider)] * MANY
        for _ in range(3):
            got = await all_of(tokens, callers)
            assert {isinstance(each, Failure) and each.kind for each in got} == {"unavailable"}
        assert exchanges(provider) == 1


async def test_pods_that_share(tmp_path: Path) -> None:
    """What one has obtained the others find, each with the subject's own token."""
    with redis_server(tmp_path) as redis:
        shared = redis.configured()
        async with providing() as provider, asking(provider, timeout_seconds=30.0) as endpoint:
            names = [f"user{number}" for number in range(20)]
            callers = [subject(provider, name) for name in names]
            async with source(endpoint, shared) as one:
                first = await all_of(one, callers)
                store = one._tokens.shared
                while store._writes:  # type: ignore[union-attr] # it is the one for Redis
                    await asyncio.sleep(0)
            async with source(endpoint, shared) as other:
                second = await all_of(other, callers)
            assert [isinstance(each, ObtainedToken) and each.subject for each in second] == names
            assert second == first
            assert exchanges(provider) == len(names)
