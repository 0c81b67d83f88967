from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

import sidecar.demo
from sidecar.testbed.processes import child_environment, service

DEMO = Path(sidecar.demo.__file__).parent


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client with a bound on its patience."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.fixture
async def profile_service() -> AsyncIterator[str]:
    """The URL of profile-service, with no sidecar before it."""
    script = DEMO / "profile_service.py"
    environment = child_environment()
    async with service("p", script, "--port", "0", environment=environment) as (_, address):
        yield f"http://{address}"


@pytest.fixture
async def user_service(profile_service: str) -> AsyncIterator[str]:
    """The URL of user-service, which calls profile-service with nobody in between."""
    environment = child_environment(PROFILES_URL=profile_service, WARM_UP="1")
    script = DEMO / "user_service.py"
    async with service("u", script, "--port", "0", environment=environment) as (_, address):
        yield f"http://{address}"
