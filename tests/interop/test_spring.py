"""Spring Authorization Server with the tokens that it issues by itself."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sidecar.testbed.grants import ACCESS_TOKEN
from tests.interop.asking import OWN, ask_token, exchange, said, signed_by
from tests.interop.exchanging import also, arrived, read, two_services
from tests.interop.guard import ACCEPTED, documented, guard
from tests.interop.issuer import claims_of, header_of, post_form, several
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


async def test_what_it_exchanges(spring: SpringServer) -> None:
    """By plain HTTP: the same ``sub``, and with an actor's token who acts (``act``)."""
    alice = (await spring.user_tokens("alice"))["access_token"]
    asked = exchange(alice, audience="profile-service")
    status, answer = await ask_token(spring.token_url, asked, secret_of="user-service")
    assert (status, answer["issued_token_type"]) == (200, ACCESS_TOKEN)
    assert said(answer, "sub", "aud", "act") == ("alice", "profile-service", None)

    _, own = await ask_token(spring.token_url, OWN, secret_of="user-service")
    actor = {"actor_token": own["access_token"], "actor_token_type": ACCESS_TOKEN}
    _, answer = await ask_token(spring.token_url, {**asked, **actor}, secret_of="user-service")
    act = {"iss": spring.issuer, "sub": "user-service"}
    assert said(answer, "sub", "aud", "act") == ("alice", "profile-service", act)


async def test_what_it_does_not_exchange(spring: SpringServer) -> None:
    """By plain HTTP: other scopes, tokens that it did not issue or that are no user's."""
    alice = await spring.user_tokens("alice")
    good = alice["access_token"]
    own = await spring.token()
    for form, client, error in (
        (exchange(good, scope="nonsense"), "user-service", "invalid_scope"),
        (exchange(good), "reporter", "unauthorized_client"),
        (exchange("x.y.z"), "user-service", "invalid_grant"),
        (exchange(own), "user-service", "invalid_grant"),
    ):
        status, answer = await ask_token(spring.token_url, form, secret_of=client)
        assert (status, answer["error"]) == (400, error)


async def test_a_client_that_signs(spring: SpringServer) -> None:
    """By plain HTTP: the form must name the client besides."""
    signed = {**OWN, **signed_by(spring.client_key, spring.token_url)}
    status, answer = await ask_token(spring.token_url, signed)
    assert (status, *said(answer, "sub")) == (200, "signing-service")
    signed = {**OWN, **signed_by(spring.client_key, spring.token_url)}
    del signed["client_id"]
    status, answer = await ask_token(spring.token_url, signed)
    assert (status, answer["error"]) == (400, "invalid_request")


async def test_a_token_for_the_next_service(
    spring: SpringServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next service's sidecar gets one for itself and the user, which says who acts."""
    monkeypatch.setenv("USER_SERVICE_SECRET", "user-service-secret")
    place = {"https://auth.example": spring.issuer}
    configured = read("spring", place)
    also(configured, "/alone/**", read("spring", place), actor="none")
    alice = await spring.user_tokens("alice")
    token = alice["access_token"]
    async with two_services(tmp_path, configured, "profile-service") as row:
        for path, act in (
            ("/x", {"iss": spring.issuer, "sub": "user-service"}),
            ("/alone/x", None),
        ):
            claims = arrived(await row.visit(token, path))
            assert (claims["sub"], claims["aud"]) == ("alice", "profile-service")
            assert claims.get("act") == act
        renewed = await post_form(
            spring.token_url,
            {"grant_type": "refresh_token", "refresh_token": alice["refresh_token"]},
            client=("shop-web", "shop-web-secret"),
        )
        assert arrived(await row.visit(renewed["access_token"]))["sub"] == "alice"


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
