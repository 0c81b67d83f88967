"""The embedded provider's opaque tokens: issued, asked about, revoked (RFC 7662)."""

import aiohttp
import pytest

from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.opaque_tokens import OpaqueTokens
from sidecar.testbed.token_mint import TokenMint

CLIENT = aiohttp.encode_basic_auth("user-service", "user-service-secret")
Form = dict[str, str]


async def post(url: str, form: Form, client: str | None) -> tuple[int, dict[str, object]]:
    headers = {} if client is None else {"Authorization": client}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, data=form) as answer,
    ):
        return answer.status, await answer.json()


async def test_a_token_that_was_issued_is_active_until_it_is_revoked() -> None:
    """The token endpoint gives it, introspection reads it, and says nothing once it is revoked."""
    async with IdentityProvider(audience=["a"], issues_opaque=True) as provider:
        _, issued = await post(provider.token_url, {"grant_type": "client_credentials"}, CLIENT)
        token = str(issued["access_token"])
        assert "." not in token
        status, said = await post(provider.introspection_url, {"token": token}, CLIENT)
        assert (status, said["active"], said["sub"]) == (200, True, "user-service")
        assert (said["iss"], said["aud"]) == (provider.issuer, ["a"])
        provider.opaque.revoke(token)
        assert await post(provider.introspection_url, {"token": token}, CLIENT) == (
            200,
            {"active": False},
        )
        assert provider.introspections == 2


@pytest.mark.parametrize(
    ("form", "client", "error"),
    [
        ({"token": "t"}, None, (401, "invalid_client")),
        (
            {"token": "t"},
            aiohttp.encode_basic_auth("user-service", "guess"),
            (401, "invalid_client"),
        ),
        ({"token": "t", "client_id": "x", "client_secret": "y"}, None, (401, "invalid_client")),
        ({}, CLIENT, (400, "invalid_request")),
    ],
)
async def test_who_may_not_ask(form: Form, client: str | None, error: tuple[int, str]) -> None:
    """Nobody without a client's secret, and not without a token."""
    async with IdentityProvider(audience=["a"]) as provider:
        status, said = await post(provider.introspection_url, form, client)
        assert (status, said["error"]) == error


async def test_discovery_names_the_endpoint() -> None:
    """RFC 8414, section 2."""
    async with (
        IdentityProvider(audience=["a"]) as provider,
        aiohttp.ClientSession() as session,
        session.get(provider.discovery_url) as answer,
    ):
        assert (await answer.json())["introspection_endpoint"] == provider.introspection_url


def test_a_token_ends_at_exp() -> None:
    """Just before it is active, at its end it is not."""
    now = [1000.0]
    mint = TokenMint("https://i.test", audience=["a"], clock=lambda: now[0], algorithms=["ES256"])
    tokens = OpaqueTokens(mint, clock=lambda: now[0])
    token = tokens.issue("alice", exp=1010)
    now[0] = 1009.9
    assert tokens.answer(token)["active"] is True
    now[0] = 1010.0
    assert tokens.answer(token) == {"active": False}
