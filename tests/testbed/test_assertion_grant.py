"""The embedded provider's grant jwt-bearer (RFC 7523, section 2.1) and on-behalf-of."""

from collections.abc import AsyncIterator

import pytest

from sidecar.testbed.grants import JWT_BEARER
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.users import Service
from tests.testbed.asking import ask, claims

A = Service("a", audiences=frozenset({"b", "api://b"}))


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    """A provider with one service."""
    async with IdentityProvider(audience=["a"], services=[A], algorithms=("ES256",)) as serving:
        yield serving


async def test_an_assertion_for_the_server(provider: IdentityProvider) -> None:
    """Its subject gets a token for the audience asked for, without what only exchanges answer."""
    assertion = provider.mint.token("alice", aud=provider.token_url)
    form = {"grant_type": JWT_BEARER, "assertion": assertion, "audience": "b"}
    status, answer = await ask(provider, form, client=A)
    assert status == 200
    assert "issued_token_type" not in answer
    said = claims(answer["access_token"])
    assert (said["sub"], said["aud"], said["scope"]) == ("alice", ["b"], "profile.read")


async def test_on_behalf_of_a_user(provider: IdentityProvider) -> None:
    """The user's token is for the client that shows it, and the scopes say for whom the next is."""
    form = {
        "grant_type": JWT_BEARER,
        "requested_token_use": "on_behalf_of",
        "assertion": provider.mint.token("alice", scope="profile.read x"),
        "scope": "api://b/.default",
    }
    _, answer = await ask(provider, form, client=A)
    said = claims(answer["access_token"])
    assert (said["sub"], said["aud"], said["scope"]) == ("alice", ["api://b"], "profile.read x")
    assert said["azp"] == "a"
    _, answer = await ask(provider, {**form, "scope": "api://b/one api://b/two"}, client=A)
    assert claims(answer["access_token"])["scope"] == "one two"


@pytest.mark.parametrize(
    ("aud", "others", "error"),
    [
        ("a", {"audience": "b"}, "invalid_grant"),
        (None, {"audience": "c"}, "invalid_target"),
        (None, {"scope": "admin"}, "invalid_scope"),
        (None, {"assertion": ""}, "invalid_request"),
        (None, {"assertion": "x.y.z"}, "invalid_grant"),
        (None, {"requested_token_use": "else"}, "invalid_request"),
        ("b", {"requested_token_use": "on_behalf_of"}, "invalid_grant"),
        ("a", {"requested_token_use": "on_behalf_of", "scope": "plain"}, "invalid_scope"),
        ("a", {"requested_token_use": "on_behalf_of", "scope": "api://b/x c/y"}, "invalid_scope"),
        ("a", {"requested_token_use": "on_behalf_of", "scope": "api://c/x"}, "invalid_target"),
    ],
)
async def test_what_is_refused(
    provider: IdentityProvider, aud: str | None, others: dict[str, str], error: str
) -> None:
    """Each kind of wrong request has its code (RFC 6749, section 5.2; RFC 7523, section 3.1)."""
    assertion = provider.mint.token("alice", aud=aud or provider.token_url)
    form = {"grant_type": JWT_BEARER, "assertion": assertion, **others}
    status, answer = await ask(provider, form, client=A)
    assert (status, answer["error"]) == (400, error)


async def test_a_service_asks_for_itself_and_for_a_target() -> None:
    """client_credentials takes audience, resource and scope like the rest."""
    async with IdentityProvider(audience=["x"], services=[A], algorithms=("ES256",)) as provider:
        form = {"grant_type": "client_credentials", "audience": "b", "scope": "profile.read"}
        _, answer = await ask(provider, form, client=A)
        assert claims(answer["access_token"])["aud"] == ["b"]
        for wrong, error in (
            ({"audience": "c"}, "invalid_target"),
            ({"scope": "z"}, "invalid_scope"),
        ):
            _, answer = await ask(provider, {**form, **wrong}, client=A)
            assert answer["error"] == error
