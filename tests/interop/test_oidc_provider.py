"""npm ``oidc-provider``: access tokens by RFC 9068, of elliptic curves, and keys by restart."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from sidecar.testbed.signing_key import SigningKey
from tests.interop.asking import OWN, ask_token, said, signed_by
from tests.interop.exchanging import KEY_FILE, also, arrived, read, two_services, write_key
from tests.interop.guard import ACCEPTED, documented, guard
from tests.interop.issuer import claims_of, header_of, several
from tests.interop.needed import needs_program
from tests.interop.oidc_provider_server import RESOURCE, OidcProvider
from tests.interop.programs import OIDC_PROVIDER
from tests.support.certificates import Authority

pytestmark = pytest.mark.timeout(240)


@pytest_asyncio.fixture
async def provider(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OidcProvider]:
    """Have an issuer that no test shares: its keys are each test's own."""
    server = OidcProvider(needs_program(OIDC_PROVIDER), tmp_path_factory.mktemp("keys"))
    try:
        yield server
    finally:
        await server.stop()


def configuration(provider: OidcProvider) -> dict[str, Any]:
    return documented("oidc-provider", {"https://op.example": provider.issuer})


@pytest.mark.parametrize("alg", ["ES256", "EdDSA"])
async def test_access_tokens_of_a_resource(
    alg: str, provider: OidcProvider, tmp_path: Path
) -> None:
    """The strict profile takes them for the resource they name, with the scopes they have."""
    await provider.start(f"only:{alg}")
    token = await provider.token()
    assert header_of(token) == {"alg": alg, "typ": "at+jwt", "kid": "only"}
    elsewhere = await provider.token(resource="https://billing.example")
    writer = await provider.token(scope="profile.read profile.write")
    async with guard(tmp_path, configuration(provider)) as guarded:
        assert await guarded.present(token) == ACCEPTED
        (request,) = guarded.app.received
        assert request.values("x-auth-subject") == [claims_of(token)["sub"]] == ["reporter"]
        assert await guarded.present(writer, "/write/x") == ACCEPTED
        outcome = await guarded.present(token, "/write/x")
        assert (outcome.status, outcome.reason) == (403, "scope_missing")
        outcome = await guarded.present(elsewhere)
        assert (outcome.status, outcome.reason) == (401, "audience_mismatch")
        assert "https://billing.example" in outcome.detail


async def test_clients_without_a_secret(provider: OidcProvider, tmp_path: Path) -> None:
    """One signs an assertion, one shows its certificate (RFC 8705): by plain HTTP, and by us."""
    key, authority = SigningKey.generate("ES256", kid="signing-service"), Authority()
    provider.add_clients(key, authority)
    await provider.start("only:ES256")
    form = {**OWN, "scope": "profile.read", "resource": RESOURCE}
    for audience in (provider.issuer, provider.token_url):
        status, answer = await ask_token(provider.token_url, {**form, **signed_by(key, audience)})
        assert (status, *said(answer, "sub", "aud")) == (200, "signing-service", RESOURCE)
    form["client_id"] = "certified-service"
    for name, expected in (("certified-service", 200), ("another-service", 401)):
        shown = ssl.create_default_context(cadata=authority.pem.decode())
        pair = authority.issue(f"{name}.shop.test", usage="client")
        shown.load_cert_chain(*pair.write(tmp_path))
        status, _ = await ask_token(provider.tls_token_url, form, ssl=shown)
        assert status == expected

    place = {"https://op.example": provider.issuer}
    configured = read("oidc-provider", {**place, KEY_FILE: write_key(key, tmp_path)})
    certificate, private = authority.issue("certified-service.shop.test", usage="client").write(
        tmp_path, "client"
    )
    shown_by_us = {
        **place,
        "https://mtls.op.example/token": provider.tls_token_url,
        "/run/secrets/client.crt": certificate,
        "/run/secrets/client.key": private,
        "/run/secrets/op-ca.crt": authority.write(tmp_path, "op-ca.crt"),
    }
    also(configured, "/certificate/**", read("oidc-provider-certificate", shown_by_us))
    token = await provider.token()
    there = "https://profile-service.example"
    async with two_services(tmp_path, configured, there) as row:
        for path, client in (("/x", "signing-service"), ("/certificate/x", "certified-service")):
            claims = arrived(await row.visit(token, path))
            assert (claims["sub"], claims["aud"]) == (client, there)


async def test_keys_rotated_by_restarts_under_load(provider: OidcProvider, tmp_path: Path) -> None:
    """Neither the restarts nor the new key refuse anybody; the old key is refused when dropped."""
    await provider.start("first:ES256")
    old = await several(provider.token, 4)
    async with guard(tmp_path, configuration(provider)) as guarded:
        async with guarded.under_load([*old]) as load:
            await load.further(200)
            await guarded.until_cool()
            await provider.start("second:EdDSA", "first:ES256")
            new = await several(provider.token, 4)
            assert {header_of(token)["kid"] for token in new} == {"second"}
            load.tokens += new
            await load.further(400)
        assert load.report is not None
        assert (load.report.refused, load.report.broken) == (0, 0), load.report.details
        assert set(load.accepted) == {*old, *new}

        await provider.start("third:ES256", "second:EdDSA")
        newest = await provider.token()
        await guarded.until_cool()
        assert await guarded.present(newest) == ACCEPTED
        assert await guarded.present(new[0]) == ACCEPTED
        outcome = await guarded.present(old[0])
        assert (outcome.status, outcome.reason) == (401, "key_unknown")
