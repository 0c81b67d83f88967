"""What the embedded provider does wrong when it is told to, and what it counts."""

import asyncio
from collections.abc import AsyncIterator

import aiohttp
import pytest

from sidecar.testbed.grants import ACCESS_TOKEN, CLIENT_CREDENTIALS, TOKEN_EXCHANGE
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.token_faults import Cut, Faults, Page, Refusal, Status
from sidecar.testbed.token_mint import ABSENT
from sidecar.testbed.users import SERVICES
from tests.testbed.asking import ask, claims

SERVICE = SERVICES[0]
OWN = {"grant_type": CLIENT_CREDENTIALS}


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    """A provider that does nothing wrong yet."""
    async with IdentityProvider(audience=["a"], algorithms=("ES256",)) as serving:
        yield serving


def secret(provider: IdentityProvider) -> dict[str, str]:
    return {**OWN, "client_id": SERVICE.client_id, "client_secret": SERVICE.client_secret}


async def test_answers_that_are_none(
    provider: IdentityProvider, client: aiohttp.ClientSession
) -> None:
    """A status, a page, an error of the RFC or nothing at all; the end of it all is a token."""
    provider.faults.instead = Status(429, retry_after="7")
    async with client.post(provider.token_url, data=secret(provider)) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
    provider.faults.instead = Status(500)
    async with client.post(provider.token_url, data=secret(provider)) as answer:
        assert answer.status == 500
    provider.faults.instead = Page()
    async with client.post(provider.token_url, data=secret(provider)) as answer:
        assert (answer.status, answer.content_type) == (200, "text/html")
    provider.faults.instead = Cut()
    with pytest.raises(aiohttp.ClientConnectionError):
        await client.post(provider.token_url, data=secret(provider))
    provider.faults.instead = Refusal("invalid_target")
    assert (await ask(provider, OWN, client=SERVICE))[1]["error"] == "invalid_target"
    async with client.get(provider.jwks_url) as answer:
        assert answer.status == 200
    provider.faults.everywhere = True
    async with client.get(provider.jwks_url) as answer:
        assert answer.status == 400
    provider.faults.clear()
    assert provider.faults == Faults()
    assert (await ask(provider, OWN, client=SERVICE))[0] == 200


async def test_answers_and_tokens_that_are_wrong(provider: IdentityProvider) -> None:
    """Any member and any claim may be replaced or left out."""
    provider.faults.answer = {"expires_in": ABSENT, "issued_token_type": "else"}
    provider.faults.claims = {"aud": "else", "sub": "mallory"}
    form = {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": provider.mint.token("alice"),
        "subject_token_type": ACCESS_TOKEN,
    }
    _, answer = await ask(provider, form, client=SERVICE)
    said = claims(answer["access_token"])
    assert ("expires_in" in answer, answer["issued_token_type"]) == (False, "else")
    assert (said["aud"], said["sub"]) == ("else", "mallory")


async def test_requests_are_counted_by_grant_and_at_once(provider: IdentityProvider) -> None:
    """Those that wait together are seen together, and what was asked is kept."""
    provider.faults.hold = asyncio.Event()
    asking = [asyncio.create_task(ask(provider, OWN, client=SERVICE)) for _ in range(5)]
    while provider.token_requests.in_flight < 5:
        await asyncio.sleep(0.001)
    provider.faults.clear()
    assert {status for status, _ in await asyncio.gather(*asking)} == {200}
    await ask(provider, {"grant_type": TOKEN_EXCHANGE, "audience": "b"}, client=SERVICE)
    requests = provider.token_requests
    assert (requests.total, requests.most_at_once, requests.in_flight) == (6, 5, 0)
    assert requests.per_grant == {CLIENT_CREDENTIALS: 5, TOKEN_EXCHANGE: 1}
    assert requests.latest[-1].audience == ("b",)
    assert SERVICE.client_secret not in repr(requests.latest)


async def test_it_goes_down_and_comes_back(
    provider: IdentityProvider, client: aiohttp.ClientSession
) -> None:
    """Down it refuses connections and ends those it has; back it has the same address and keys."""
    before = provider.issuer, provider.mint.jwks()
    provider.faults.hold = asyncio.Event()
    waiting = asyncio.create_task(ask(provider, OWN, client=SERVICE))
    while not provider.token_requests.in_flight:
        await asyncio.sleep(0.001)
    await provider.go_down()
    with pytest.raises(aiohttp.ClientConnectionError):
        await waiting
    with pytest.raises(aiohttp.ClientConnectorError):
        await ask(provider, OWN, client=SERVICE)
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.get(provider.jwks_url)
    provider.faults.clear()
    await provider.come_back()
    assert (await ask(provider, OWN, client=SERVICE))[0] == 200
    assert (provider.issuer, provider.mint.jwks()) == before


async def test_a_slow_answer(provider: IdentityProvider, client: aiohttp.ClientSession) -> None:
    """A client that waits less than it takes gets nothing."""
    provider.faults.delay_seconds = 30
    brief = aiohttp.ClientTimeout(total=0.05)
    with pytest.raises(TimeoutError):
        await client.post(provider.token_url, data=secret(provider), timeout=brief)


async def test_discovery_says_what_there_is(
    provider: IdentityProvider, client: aiohttp.ClientSession
) -> None:
    """Every grant and every way of authenticating that it has without TLS."""
    async with client.get(provider.discovery_url) as answer:
        said = await answer.json()
    assert TOKEN_EXCHANGE in said["grant_types_supported"]
    assert said["token_endpoint_auth_methods_supported"] == [
        "client_secret_basic",
        "client_secret_post",
        "private_key_jwt",
    ]
    assert "ES256" in said["token_endpoint_auth_signing_alg_values_supported"]
