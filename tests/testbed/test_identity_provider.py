"""The embedded identity provider over real HTTP."""

from typing import Any
from urllib.parse import urlencode

import aiohttp
import jwt
import pytest

from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.users import ALICE, SERVICES, USERS

SERVICE = SERVICES[0]


async def ask_for_token(
    client: aiohttp.ClientSession, provider: IdentityProvider, **request: Any
) -> tuple[aiohttp.ClientResponse, dict[str, Any]]:
    async with client.post(provider.token_url, **request) as response:
        return response, await response.json()


def subject(token: str) -> str:
    claimed: str = jwt.decode(token, options={"verify_signature": False})["sub"]
    return claimed


async def test_discovery_leads_to_keys_that_verify(
    provider: IdentityProvider, client: aiohttp.ClientSession
) -> None:
    """A relying party that knows only the issuer finds the key of a token."""
    async with client.get(provider.discovery_url) as response:
        metadata = await response.json()
    async with client.get(metadata["jwks_uri"]) as response:
        keys = jwt.PyJWKSet.from_dict(await response.json())
    assert metadata["issuer"] == provider.issuer
    token = provider.mint.token("alice")
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(
        token, key, algorithms=["RS256"], audience="user-service", issuer=metadata["issuer"]
    )
    assert claims["sub"] == "alice"
    assert provider.key_set_requests == 1


async def test_every_synthetic_user_can_have_a_token(
    provider: IdentityProvider, client: aiohttp.ClientSession
) -> None:
    """The password grant speaks for exactly the user who asked, and forbids caching."""
    assert len({user.name for user in USERS}) == 32
    for user in USERS:
        form = {"grant_type": "password", "username": user.name, "password": user.password}
        response, answer = await ask_for_token(client, provider, data=form)
        assert (response.status, response.headers["Cache-Control"]) == (200, "no-store")
        assert subject(answer["access_token"]) == user.name
        assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 300)


async def test_a_service_gets_its_own_token_in_either_way(
    provider: IdentityProvider, client: aiohttp.ClientSession
) -> None:
    """client_credentials takes the secret in the form or as HTTP Basic (RFC 6749, 2.3.1)."""
    grant = {"grant_type": "client_credentials"}
    form = {**grant, "client_id": SERVICE.client_id, "client_secret": SERVICE.client_secret}
    _, posted = await ask_for_token(client, provider, data=form)
    basic = aiohttp.encode_basic_auth(SERVICE.client_id, SERVICE.client_secret)
    _, by_basic = await ask_for_token(
        client, provider, data=grant, headers={"Authorization": basic}
    )
    assert subject(posted["access_token"]) == SERVICE.client_id
    assert subject(by_basic["access_token"]) == SERVICE.client_id


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({}, 400, "invalid_request"),
        ({"grant_type": "authorization_code"}, 400, "unsupported_grant_type"),
        ({"grant_type": "password", "username": "alice"}, 400, "invalid_request"),
        (
            {"grant_type": "password", "username": "alice", "password": "guess"},
            400,
            "invalid_grant",
        ),
        (
            {"grant_type": "password", "username": "nobody", "password": "nobody-password"},
            400,
            "invalid_grant",
        ),
        ({"grant_type": "client_credentials"}, 401, "invalid_client"),
        (
            {"grant_type": "client_credentials", "client_id": "user-service"},
            401,
            "invalid_client",
        ),
        (
            {"grant_type": "client_credentials", "client_id": "x", "client_secret": "x-secret"},
            401,
            "invalid_client",
        ),
    ],
)
async def test_a_wrong_request_gets_the_error_of_the_rfc(
    provider: IdentityProvider,
    client: aiohttp.ClientSession,
    form: dict[str, str],
    status: int,
    error: str,
) -> None:
    """Errors are JSON with the codes of RFC 6749, section 5.2, and are not cached."""
    encoded = {"Content-Type": "application/x-www-form-urlencoded"}
    response, answer = await ask_for_token(
        client, provider, data=urlencode(form).encode(), headers=encoded
    )
    assert (response.status, answer["error"]) == (status, error)
    assert answer["error_description"]
    assert response.headers["Cache-Control"] == "no-store"
    assert "WWW-Authenticate" not in response.headers


@pytest.mark.parametrize("credentials", ["Basic %%%", "Basic dXNlcjp4", "Basic /w==", "Bearer x"])
async def test_a_client_that_fails_at_basic_is_told_to_use_basic(
    provider: IdentityProvider, client: aiohttp.ClientSession, credentials: str
) -> None:
    """401 answers to an Authorization field carry a challenge of its scheme (RFC 6749, 5.2)."""
    response, answer = await ask_for_token(
        client,
        provider,
        data={"grant_type": "client_credentials"},
        headers={"Authorization": credentials},
    )
    assert (response.status, answer["error"]) == (401, "invalid_client")
    assert response.headers["WWW-Authenticate"].startswith("Basic ")


async def test_two_ways_of_authenticating_are_one_too_many(
    provider: IdentityProvider, client: aiohttp.ClientSession
) -> None:
    """A client must not use two methods at once (RFC 6749, section 2.3)."""
    secret = SERVICE.client_secret
    response, answer = await ask_for_token(
        client,
        provider,
        data={"grant_type": "client_credentials", "client_secret": secret},
        headers={"Authorization": aiohttp.encode_basic_auth(SERVICE.client_id, secret)},
    )
    assert (response.status, answer["error"]) == (400, "invalid_request")


async def test_a_repeated_parameter_is_refused(
    provider: IdentityProvider, client: aiohttp.ClientSession
) -> None:
    """Parameters must not be sent more than once (RFC 6749, section 3.2)."""
    form = [("grant_type", "password"), ("username", "alice"), ("username", "bob")]
    form.append(("password", ALICE.password))
    response, answer = await ask_for_token(client, provider, data=aiohttp.FormData(form))
    assert (response.status, answer["error"]) == (400, "invalid_request")


async def test_anything_but_a_form_is_refused(
    provider: IdentityProvider, client: aiohttp.ClientSession
) -> None:
    """The endpoint reads application/x-www-form-urlencoded and nothing else."""
    response, answer = await ask_for_token(client, provider, json={"grant_type": "password"})
    assert (response.status, answer["error"]) == (400, "invalid_request")


async def test_a_huge_form_is_refused(
    provider: IdentityProvider, client: aiohttp.ClientSession
) -> None:
    """Requests are bounded: 16 KiB, then 413."""
    async with client.post(provider.token_url, data={"grant_type": "x" * 20_000}) as response:
        assert response.status == 413


async def test_a_taken_port_is_an_error_and_leaves_nothing(provider: IdentityProvider) -> None:
    """A second provider on the same port fails to start; the first one goes on."""
    port = int(provider.issuer.rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        async with IdentityProvider(audience=["x"], port=port, algorithms=("ES256",)):
            pass


async def test_its_name_may_be_another_than_its_address(client: aiohttp.ClientSession) -> None:
    """In a cluster it listens on all addresses, and is called by its Service's name."""
    url = "http://identity-provider.example:9000"
    async with IdentityProvider(audience=["a"], host="127.0.0.1", issuer=url) as named:
        host, port = named.address
        async with client.get(f"http://{host}:{port}/.well-known/openid-configuration") as response:
            metadata = await response.json()
        assert metadata["issuer"] == url
        assert metadata["jwks_uri"] == f"{url}/jwks"
        claims = jwt.decode(named.mint.token("alice"), options={"verify_signature": False})
        assert claims["iss"] == url
