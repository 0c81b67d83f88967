"""The embedded provider's token exchange (RFC 8693)."""

import time
from collections.abc import AsyncIterator

import jwt
import pytest

from sidecar.testbed.grants import ACCESS_TOKEN, JWT, TOKEN_EXCHANGE, TRANSACTION_TOKEN
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.token_mint import TokenMint
from sidecar.testbed.users import Service
from tests.testbed.asking import ask, claims

A = Service("a", audiences=frozenset({"b", "https://b.example/api", "shop.example"}))
B = Service("b")


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    """A provider with two services, of which one may ask for some targets only."""
    async with IdentityProvider(
        audience=["a"], services=[A, B], algorithms=("ES256",), lifetime_seconds=300
    ) as serving:
        yield serving


def form(subject: str, **others: str) -> dict[str, str]:
    return {
        "grant_type": TOKEN_EXCHANGE,
        "subject_token": subject,
        "subject_token_type": ACCESS_TOKEN,
        **others,
    }


async def test_a_token_for_another_audience(provider: IdentityProvider) -> None:
    """It speaks for the same subject, to whom was asked for, and says which client asked."""
    subject = provider.mint.token("alice", scope="profile.read profile.write")
    status, answer = await ask(
        provider, form(subject, audience="b", scope="profile.read"), client=A
    )
    assert status == 200
    said = claims(answer.pop("access_token"))
    assert (said["sub"], said["aud"], said["client_id"]) == ("alice", ["b"], "a")
    assert (said["scope"], said["iss"]) == ("profile.read", provider.issuer)
    assert "act" not in said
    assert answer == {
        "token_type": "Bearer",
        "expires_in": 300,
        "scope": "profile.read",
        "issued_token_type": ACCESS_TOKEN,
    }


async def test_several_audiences_and_resources(provider: IdentityProvider) -> None:
    """Both may be repeated (section 2.1), and ``aud`` names all once."""
    fields = [*form(provider.mint.token("alice")).items()]
    fields += [("audience", "b"), ("resource", "https://b.example/api"), ("audience", "b")]
    _, answer = await ask(provider, fields, client=A)
    assert claims(answer["access_token"])["aud"] == ["b", "https://b.example/api"]


async def test_it_lasts_no_longer_than_the_subject(provider: IdentityProvider) -> None:
    """A token that ends in a minute is exchanged for one that ends then."""
    ends = int(time.time()) + 60
    _, answer = await ask(provider, form(provider.mint.token("alice", exp=ends)), client=A)
    assert claims(answer["access_token"])["exp"] == ends
    assert answer["expires_in"] <= 60


async def test_who_acts_is_added_before_who_acted(provider: IdentityProvider) -> None:
    """Delegation nests: outermost the current actor, within it the ones before (section 4.1)."""
    actors = {}
    for service in (A, B):
        _, answer = await ask(provider, {"grant_type": "client_credentials"}, client=service)
        actors[service] = {"actor_token": answer["access_token"], "actor_token_type": ACCESS_TOKEN}
    subject = provider.mint.token("alice")
    _, first = await ask(provider, form(subject, audience="b", **actors[A]), client=A)
    assert claims(first["access_token"])["act"] == {"sub": "a", "iss": provider.issuer}
    passed = first["access_token"]
    _, second = await ask(provider, form(passed, audience="c", **actors[B]), client=B)
    said = claims(second["access_token"])
    assert said["sub"] == "alice"
    assert said["act"] == {
        "sub": "b",
        "iss": provider.issuer,
        "act": {"sub": "a", "iss": provider.issuer},
    }
    _, third = await ask(provider, form(passed, audience="c"), client=B)
    assert claims(third["access_token"])["act"] == {"sub": "a", "iss": provider.issuer}


async def test_another_providers_token_is_taken_once_it_is_trusted() -> None:
    """Before, it is a stranger's."""
    other = TokenMint("https://other.test", audience=["a"], algorithms=("ES256",))
    subject = other.token("alice")
    async with IdentityProvider(audience=["a"], services=[A], algorithms=("ES256",)) as provider:
        status, answer = await ask(provider, form(subject, audience="b"), client=A)
        assert (status, answer["error"]) == (400, "invalid_request")
        provider.trust(other)
        _, answer = await ask(provider, form(subject, audience="b"), client=A)
        said = claims(answer["access_token"])
        assert (said["iss"], said["sub"]) == (provider.issuer, "alice")


async def test_a_transaction_token(provider: IdentityProvider) -> None:
    """It is no access token: its type says so, in answer and header."""
    _, answer = await ask(
        provider,
        form(
            provider.mint.token("alice"),
            audience="shop.example",
            requested_token_type=TRANSACTION_TOKEN,
            request_context='{"ip": "192.0.2.1"}',
            request_details='{"order": 7}',
        ),
        client=A,
    )
    assert (answer["token_type"], answer["issued_token_type"]) == ("N_A", TRANSACTION_TOKEN)
    assert jwt.get_unverified_header(answer["access_token"])["typ"] == "txntoken+jwt"
    said = claims(answer["access_token"])
    assert (said["aud"], said["sub"], said["req_wl"]) == (["shop.example"], "alice", "a")
    assert said["txn"]
    assert (said["rctx"], said["tctx"]) == ({"ip": "192.0.2.1"}, {"order": 7})
    assert {"roles", "client_id", "typ"}.isdisjoint(said)


async def test_opaque_tokens_unless_a_jwt_is_asked_for() -> None:
    """The subject's may be opaque too; introspection knows what comes of it."""
    async with IdentityProvider(
        audience=["a"], services=[A], algorithms=("ES256",), issues_opaque=True
    ) as provider:
        subject = provider.opaque.issue("alice")
        _, answer = await ask(provider, form(subject, audience="b"), client=A)
        assert answer["issued_token_type"] == ACCESS_TOKEN
        said = provider.opaque.answer(answer["access_token"])
        assert (said["active"], said["sub"], said["aud"]) == (True, "alice", ["b"])
        _, answer = await ask(provider, form(subject, requested_token_type=JWT), client=A)
        assert answer["issued_token_type"] == JWT
        assert claims(answer["access_token"])["sub"] == "alice"
        provider.opaque.revoke(subject)
        status, answer = await ask(provider, form(subject), client=A)
        assert (status, answer["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("others", "error"),
    [
        ({"audience": "c"}, "invalid_target"),
        ({"resource": "https://c.example"}, "invalid_target"),
        ({"resource": "not a URI"}, "invalid_target"),
        ({"resource": "https://b.example/api#x"}, "invalid_target"),
        ({"scope": "profile.read admin"}, "invalid_scope"),
        ({"subject_token": ""}, "invalid_request"),
        ({"subject_token": "x.y.z"}, "invalid_request"),
        ({"subject_token_type": ""}, "invalid_request"),
        ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "invalid_request"),
        ({"actor_token_type": ACCESS_TOKEN}, "invalid_request"),
        ({"actor_token": "x.y.z", "actor_token_type": ACCESS_TOKEN}, "invalid_request"),
        ({"request_context": "{", "requested_token_type": TRANSACTION_TOKEN}, "invalid_request"),
    ],
)
async def test_what_is_not_exchanged(
    provider: IdentityProvider, others: dict[str, str], error: str
) -> None:
    """Each kind of wrong request has the code of section 2.2.2."""
    request = form(provider.mint.token("alice"), **others)
    status, answer = await ask(provider, request, client=A)
    assert (status, answer["error"]) == (400, error)


async def test_a_token_that_is_not_good_is_not_exchanged(provider: IdentityProvider) -> None:
    """Neither one that has ended nor a forged one."""
    for token in (provider.mint.expired("alice"), provider.mint.forged("alice")):
        status, answer = await ask(provider, form(token), client=A)
        assert (status, answer["error"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    ("may_act", "status"), [({"sub": "a"}, 200), ({"sub": "b"}, 400), ({}, 400), ("a", 400)]
)
async def test_the_subject_may_say_who_acts(
    provider: IdentityProvider, may_act: object, status: int
) -> None:
    """``may_act`` names the one who may (section 4.4)."""
    subject = provider.mint.token("alice", may_act=may_act)
    answered, _ = await ask(provider, form(subject, audience="b"), client=A)
    assert answered == status


async def test_nobody_exchanges_without_being_a_client(provider: IdentityProvider) -> None:
    """The token alone is not enough."""
    status, answer = await ask(provider, form(provider.mint.token("alice")))
    assert (status, answer["error"]) == (401, "invalid_client")
