from collections.abc import AsyncIterator

import aiohttp
import pytest

from sidecar.testbed.identity_provider import IdentityProvider


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    """A serving identity provider."""
    async with IdentityProvider(audience=["user-service"]) as serving:
        yield serving


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client with a bound on its patience."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session:
        yield session
