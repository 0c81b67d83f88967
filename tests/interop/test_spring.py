"""Spring Authorization Server with the tokens that it issues by itself."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from tests.interop.guard import ACCEPTED, documented, guard
from tests.interop.issuer import claims_of, header_of, several
from tests.interop.needed import needs_program
from tests.interop.programs import SPRING
from tests.interop.spring_server import SpringServer

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def spring() -> AsyncIterator[SpringServer]:
    """Run the service for the tests of this module."""
    server = SpringServer(needs_program(SPRING))
    try:
        await server.process.start()
        yield server
    finally:
        await server.process.stop()


def configuration(spring: SpringServer) -> dict[str, Any]:
    return documented("spring", {"https://auth.example": spring.issuer})


async def test_client_credentials(spring: SpringServer, tmp_path: Path) -> None:
    """The client is subject and audience, and the scopes are a list that rules understand."""
    both = await spring.token()
    reader = await spring.token(scope="profile.read")
    claims = claims_of(both)
    assert (claims["sub"], claims["aud"]) == ("reporter", "reporter")
    assert sorted(claims["scope"]) == ["profile.read", "profile.write"]
    async with guard(tmp_path, configuration(spring)) as guarded:
        assert await guarded.present(both, "/write/x") == ACCEPTED
        (request,) = guarded.app.received
        assert request.values("x-auth-subject") == ["reporter"]
        assert await guarded.present(reader) == ACCEPTED
        outcome = await guarded.present(reader, "/write/x")
        assert (outcome.status, outcome.reason) == (403, "scope_missing")


async def test_the_service_as_audience(spring: SpringServer, tmp_path: Path) -> None:
    """A configuration that expects the service's name is told what the token says instead."""
    token = await spring.token()
    async with guard(tmp_path, configuration(spring), audiences=["user-service"]) as guarded:
        outcome = await guarded.present(token)
        assert (outcome.status, outcome.reason) == (401, "audience_mismatch")
        assert "reporter" in outcome.detail


async def test_keys_rotated_under_load(spring: SpringServer, tmp_path: Path) -> None:
    """A new key refuses nobody; a dropped one refuses its tokens once keys are fetched again."""
    old = await several(spring.token, 4)
    async with guard(tmp_path, configuration(spring)) as guarded:
        async with guarded.under_load([*old]) as load:
            await load.further(200)
            await guarded.until_cool()
            await spring.add_key()
            new = await several(spring.token, 4)
            assert header_of(new[0])["kid"] != header_of(old[0])["kid"]
            load.tokens += new
            await load.further(400)
        assert load.report is not None
        assert (load.report.refused, load.report.broken) == (0, 0), load.report.details
        assert set(load.accepted) == {*old, *new}

        await spring.drop_old_keys()
        await spring.add_key()
        newest = await spring.token()
        await guarded.until_cool()
        assert await guarded.present(newest) == ACCEPTED
        assert await guarded.present(new[0]) == ACCEPTED
        outcome = await guarded.present(old[0])
        assert (outcome.status, outcome.reason) == (401, "key_unknown")
