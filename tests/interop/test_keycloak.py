"""A Keycloak realm as it comes, and what its operators do to it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from sidecar.testbed.grants import ACCESS_TOKEN, JWT
from tests.interop.asking import OWN, ask_token, exchange, said, signed_by
from tests.interop.exchanging import KEY_FILE, also, arrived, read, two_services, write_key
from tests.interop.guard import ACCEPTED, documented, guard
from tests.interop.issuer import claims_of, header_of, several
from tests.interop.keycloak_server import DEMO, Keycloak
from tests.interop.needed import needs_program
from tests.interop.programs import KEYCLOAK

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def keycloak(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Keycloak]:
    """Run Keycloak for the tests of this module."""
    server = Keycloak(needs_program(KEYCLOAK), tmp_path_factory.mktemp("keycloak"))
    try:
        await server.process.start()
        yield server
    finally:
        await server.process.stop()


def configuration(keycloak: Keycloak) -> dict[str, Any]:
    return documented("keycloak", {"https://keycloak.example": keycloak.public})


async def test_a_client_that_nobody_configured(keycloak: Keycloak, tmp_path: Path) -> None:
    """In the first hour the audience is ``account``: refused, and the log says so."""
    token = await keycloak.service_token("first-hour")
    assert claims_of(token)["aud"] == "account"
    async with guard(tmp_path, configuration(keycloak)) as guarded:
        outcome = await guarded.present(token)
        assert (outcome.status, outcome.reason) == (401, "audience_mismatch")
        assert "account" in outcome.detail
        assert "user-service" in outcome.detail


async def test_client_credentials_with_an_audience_mapper(
    keycloak: Keycloak, tmp_path: Path
) -> None:
    """The mapper of the page is what is missing; the app learns the subject."""
    token = await keycloak.service_token("shop-web")
    async with guard(tmp_path, configuration(keycloak)) as guarded:
        assert await guarded.present(token) == ACCEPTED
        (request,) = guarded.app.received
        assert request.values("x-auth-subject") == [claims_of(token)["sub"]]


async def test_users_and_their_realm_roles(keycloak: Keycloak, tmp_path: Path) -> None:
    """The password grant's tokens carry roles, of realm and clients, and scopes: rules ask."""
    alice = (await keycloak.user_tokens("alice"))["access_token"]
    bob = (await keycloak.user_tokens("bob"))["access_token"]
    async with guard(tmp_path, configuration(keycloak)) as guarded:
        assert await guarded.present(alice, "/admin/x") == ACCEPTED
        assert await guarded.present(bob, "/profile") == ACCEPTED
        assert await guarded.present(alice, "/invoices/7") == ACCEPTED
        for path in ("/admin/x", "/invoices/7"):
            outcome = await guarded.present(bob, path)
            assert (outcome.status, outcome.reason) == (403, "role_missing")


async def test_the_refresh_grant(keycloak: Keycloak, tmp_path: Path) -> None:
    """A refreshed access token is as good as the first."""
    first = await keycloak.user_tokens("bob")
    second = await keycloak.grant(grant_type="refresh_token", refresh_token=first["refresh_token"])
    assert second["access_token"] != first["access_token"]
    async with guard(tmp_path, configuration(keycloak)) as guarded:
        assert await guarded.present(first["access_token"]) == ACCEPTED
        assert await guarded.present(second["access_token"]) == ACCEPTED


async def test_tokens_that_are_no_access_tokens(keycloak: Keycloak, tmp_path: Path) -> None:
    """ID and refresh tokens are refused for what they are, whatever their audience."""
    tokens = await keycloak.user_tokens("bob")
    theirs = [claims_of(tokens[name])["aud"] for name in ("id_token", "refresh_token")]
    async with guard(
        tmp_path, configuration(keycloak), audiences=["user-service", *theirs]
    ) as guarded:
        assert await guarded.present(tokens["access_token"]) == ACCEPTED
        outcome = await guarded.present(tokens["id_token"])
        assert (outcome.status, outcome.reason) == (401, "token_type")
        outcome = await guarded.present(tokens["refresh_token"])
        assert (outcome.status, outcome.reason) == (401, "algorithm_refused")


async def test_the_internal_address_as_issuer(keycloak: Keycloak, tmp_path: Path) -> None:
    """It is not what tokens say: refused, and both addresses are named, to whoever asks why."""
    token = await keycloak.service_token()
    internal = documented("keycloak", {"https://keycloak.example": keycloak.internal})
    async with guard(tmp_path, internal, ready=False) as guarded:
        outcome = await guarded.present(token)
        assert (outcome.status, outcome.reason) == (401, "issuer_mismatch")
        assert keycloak.public in outcome.detail
        assert keycloak.internal in outcome.detail
        readiness = await guarded.admin("/readyz")
        assert readiness.status == 503
        said = readiness.body.decode()
        assert keycloak.public in said
        assert keycloak.internal in said


async def test_the_internal_address_for_discovery(keycloak: Keycloak, tmp_path: Path) -> None:
    """The public address as issuer and the internal one for the keys is what works."""
    token = await keycloak.service_token()
    settings = documented(
        "keycloak-internal",
        {
            "https://keycloak.example": keycloak.public,
            "http://keycloak.identity.svc:8080": keycloak.internal,
        },
    )
    async with guard(tmp_path, settings) as guarded:
        assert await guarded.present(token) == ACCEPTED


async def test_what_it_exchanges(keycloak: Keycloak) -> None:
    """By plain HTTP: the audience asked for and the same ``sub``, but no ``act`` for an actor."""
    alice = (await keycloak.user_tokens("alice"))["access_token"]
    asked = exchange(
        alice, audience="profile-service", actor_token=alice, actor_token_type=ACCESS_TOKEN
    )
    status, answer = await ask_token(keycloak.token_url, asked, secret_of="user-service")
    assert (status, answer["issued_token_type"]) == (200, ACCESS_TOKEN)
    assert said(answer, "sub", "aud", "azp", "act") == (
        claims_of(alice)["sub"],
        "profile-service",
        "user-service",
        None,
    )


async def test_what_it_does_not_exchange(keycloak: Keycloak) -> None:
    """By plain HTTP: unknown audiences, other types, bad tokens, clients without the switch."""
    alice = (await keycloak.user_tokens("alice"))["access_token"]
    for form, client, error in (
        (exchange(alice, audience="nobody"), "user-service", "invalid_client"),
        (exchange(alice, scope="nonsense"), "user-service", "invalid_scope"),
        (exchange(alice, requested_token_type=JWT), "user-service", "invalid_request"),
        (exchange("x.y.z"), "user-service", "invalid_request"),
        (exchange(alice), "shop-web", "invalid_request"),
    ):
        status, answer = await ask_token(keycloak.token_url, form, secret_of=client)
        assert (status, answer["error"]) == (400, error)


async def test_it_exchanges_no_token_of_a_session_that_ended(keycloak: Keycloak) -> None:
    """By plain HTTP: the code is one that elsewhere means a wrong configuration."""
    alice = (await keycloak.user_tokens("alice"))["access_token"]
    await keycloak.end_session(claims_of(alice)["sid"])
    status, answer = await ask_token(keycloak.token_url, exchange(alice), secret_of="user-service")
    assert (status, answer["error"]) == (400, "invalid_request")
    assert answer["error_description"] == "Invalid token"


async def test_a_client_that_signs(keycloak: Keycloak) -> None:
    """By plain HTTP: one audience in the assertion, the endpoint's or the issuer's; not both."""
    url, key = keycloak.token_url, keycloak.client_key
    for audience in (url, f"{keycloak.public}/realms/shop"):
        status, answer = await ask_token(url, {**OWN, **signed_by(key, audience)})
        assert (status, *said(answer, "azp")) == (200, "signing-service")
    status, _ = await ask_token(url, {**OWN, **signed_by(key, "https://elsewhere.example")})
    assert status == 400


async def test_a_token_for_the_next_service(
    keycloak: Keycloak, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next service's sidecar gets one for itself and the user, or for a client that signs."""
    monkeypatch.setenv("USER_SERVICE_SECRET", "user-service-secret")
    place = {"https://keycloak.example": keycloak.public}
    configured = read("keycloak", place)
    signed = {**place, KEY_FILE: write_key(keycloak.client_key, tmp_path)}
    also(configured, "/own/**", read("keycloak-signed", signed))
    also(configured, "/nobody/**", read("keycloak", place), audience=["nobody"])
    alice, bob = [await keycloak.user_tokens(user) for user in ("alice", "bob")]
    async with two_services(tmp_path, configured, "profile-service") as row:
        for token in (alice["access_token"], bob["access_token"]):
            for _ in range(2):
                claims = arrived(await row.visit(token))
                expected = (claims_of(token)["sub"], "profile-service", "user-service")
                assert (claims["sub"], claims["aud"], claims["azp"]) == expected
        own = arrived(await row.visit(alice["access_token"], "/own/x"))
        assert (own["azp"], "profile-service" in own["aud"]) == ("signing-service", True)
        visit = await row.visit(alice["access_token"], "/nobody/x")
        assert visit.seen[1] == {"status": 500, "reason": "exchange_misconfigured"}

        renewed = await keycloak.grant(
            grant_type="refresh_token", refresh_token=alice["refresh_token"]
        )
        again = arrived(await row.visit(renewed["access_token"]))
        assert again["sub"] == claims_of(alice["access_token"])["sub"]
        counted = await row.links[0].samples("sidecar_token_exchanges_total")
        assert counted['{destination="profile-service",result="obtained"}'] == 4
        assert counted['{destination="profile-service",result="cached"}'] == 2

        signed_out = (await keycloak.user_tokens("bob"))["access_token"]
        await keycloak.end_session(claims_of(signed_out)["sid"])
        visit = await row.visit(signed_out)
        assert visit.seen[1] == {"status": 403, "reason": "exchange_refused"}


async def test_keys_rotated_under_load(keycloak: Keycloak, tmp_path: Path) -> None:
    """A new key refuses nobody; a removed one refuses its tokens once keys are fetched again."""
    old = await several(keycloak.service_token, 4)
    old_kid = header_of(old[0])["kid"]
    async with guard(tmp_path, configuration(keycloak)) as guarded:
        async with guarded.under_load([*old]) as load:
            await load.further(200)
            await guarded.until_cool()
            await keycloak.add_key(priority=200)
            new = await several(keycloak.service_token, 4)
            assert {header_of(token)["kid"] for token in new}.isdisjoint({old_kid})
            load.tokens += new
            await load.further(400)
        assert load.report is not None
        assert (load.report.refused, load.report.broken) == (0, 0), load.report.details
        assert set(load.accepted) == {*old, *new}

        await keycloak.drop_key(old_kid)
        await keycloak.add_key(priority=300)
        newest = await keycloak.service_token()
        await guarded.until_cool()
        assert await guarded.present(newest) == ACCEPTED
        assert await guarded.present(new[0]) == ACCEPTED
        outcome = await guarded.present(old[0])
        assert (outcome.status, outcome.reason) == (401, "key_unknown")


async def test_keycloak_stopped_and_started(keycloak: Keycloak, tmp_path: Path) -> None:
    """While it is down, tokens of loaded keys are accepted, known and not; then it is as before."""
    known, unseen = await several(keycloak.service_token, 2)
    async with guard(tmp_path, configuration(keycloak)) as guarded:
        try:
            async with guarded.under_load([known]) as load:
                await load.further(100)
                await keycloak.process.stop()
                load.tokens.append(unseen)
                await load.further(100)
            assert load.report is not None
            assert (load.report.refused, load.report.broken) == (0, 0), load.report.details
            assert set(load.accepted) == {known, unseen}
            assert (await guarded.admin("/readyz")).status == 200
        finally:
            await keycloak.process.stop()
            await keycloak.process.start()
        assert await guarded.present(await keycloak.service_token()) == ACCEPTED
        assert await guarded.present(known) == ACCEPTED


async def test_the_realm_of_the_demo_on_kubernetes(keycloak: Keycloak, tmp_path: Path) -> None:
    """deploy/k8s/overlays/keycloak: its realm's tokens are what its configurations ask for."""
    alice, bob = [await keycloak.demo_token(user) for user in ("alice", "bob")]
    assert {"user-service", "profile-service"} <= set(claims_of(alice)["aud"])
    written = (DEMO / "profile-service.yaml").read_text()
    ours = "http://keycloak.jwt-sidecar-demo.svc:8080"
    assert ours in written
    configuration = yaml.safe_load(written.replace(ours, keycloak.public))
    async with guard(tmp_path, configuration) as guarded:
        assert await guarded.present(alice, "/admin/profiles") == ACCEPTED
        assert await guarded.present(bob, "/profiles/bob") == ACCEPTED
        outcome = await guarded.present(bob, "/admin/profiles")
        assert (outcome.status, outcome.reason) == (403, "role_missing")
