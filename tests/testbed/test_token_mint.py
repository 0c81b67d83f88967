"""Tokens of the synthetic issuer, checked with PyJWT as an independent reader."""

from typing import Any

import jwt
import pytest

from sidecar.testbed.token_mint import ABSENT, TokenMint

ISSUER = "https://shop.example"


@pytest.fixture(scope="module")
def mint() -> TokenMint:
    return TokenMint(ISSUER, audience=["user-service"], algorithms=("RS256", "ES256", "EdDSA"))


def read(mint: TokenMint, token: str, **options: Any) -> dict[str, Any]:
    """Verify *token* as a strict relying party does, against the published keys alone."""
    kid = jwt.get_unverified_header(token)["kid"]
    key = next(key for key in jwt.PyJWKSet.from_dict(mint.jwks()).keys if key.key_id == kid)
    claims: dict[str, Any] = jwt.decode(
        token,
        key,
        algorithms=[key.algorithm_name],
        audience=options.pop("audience", "user-service"),
        issuer=ISSUER,
        options={"require": ["exp", "iat", "sub"]},
    )
    return claims


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_token_verifies_under_the_published_key(mint: TokenMint, algorithm: str) -> None:
    """Every algorithm's tokens verify against the key set and say who they speak for."""
    claims = read(mint, mint.token("alice", algorithm=algorithm))
    assert (claims["sub"], claims["scope"]) == ("alice", "profile.read")
    assert "ADMIN" in claims["realm_access"]["roles"]


def test_the_key_set_holds_no_private_parameter(mint: TokenMint) -> None:
    """What is published is the public half only (RFC 7518, section 6)."""
    published = {name for key in mint.jwks()["keys"] for name in key}
    assert published.isdisjoint({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


def test_bob_has_no_admin_role(mint: TokenMint) -> None:
    """Roles follow the user, so one user can be refused where another is not."""
    assert read(mint, mint.token("bob"))["realm_access"]["roles"] == ["USER"]


def test_any_claim_can_be_replaced_or_removed(mint: TokenMint) -> None:
    """A test can have exactly the token it needs, wrong types and absent claims included."""
    token = mint.token("alice", sub=7, scope=ABSENT)
    claims = jwt.decode(token, options={"verify_signature": False, "verify_sub": False})
    assert claims["sub"] == 7
    assert "scope" not in claims


def test_another_audience_is_refused_by_the_first(mint: TokenMint) -> None:
    """A token for another service does not verify for this one, and does for that."""
    token = mint.token("alice", aud=["billing-service"])
    with pytest.raises(jwt.InvalidAudienceError):
        read(mint, token)
    assert read(mint, token, audience="billing-service")["sub"] == "alice"


def test_an_expired_token_was_right_once(mint: TokenMint) -> None:
    """Of the expired token, nothing but its time is wrong."""
    with pytest.raises(jwt.ExpiredSignatureError):
        read(mint, mint.expired("alice"))


def test_an_expired_token_was_good_at_its_own_time() -> None:
    """The clock is an argument: what expires for one clock is good for an earlier one."""
    mint = TokenMint(ISSUER, audience=["a"], algorithms=("ES256",), clock=lambda: 2_000_000_000)
    claims = jwt.decode(mint.expired("alice"), options={"verify_signature": False})
    assert claims["exp"] == 2_000_000_000 - 60


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_forged_token_names_a_published_key_it_was_not_signed_with(
    mint: TokenMint, algorithm: str
) -> None:
    """A forged token finds a key by its kid and fails at the signature, not before."""
    with pytest.raises(jwt.InvalidSignatureError):
        read(mint, mint.forged("alice", algorithm=algorithm))


def test_rotation_signs_anew_and_still_publishes_the_keys_before() -> None:
    """Tokens from before a rotation verify after it, until the next one."""
    mint = TokenMint(ISSUER, audience=["user-service"], algorithms=("ES256",))
    old = mint.token("alice")
    mint.rotate()
    assert read(mint, old)["sub"] == read(mint, mint.token("alice"))["sub"]
    assert [key["kid"] for key in mint.jwks()["keys"]] == ["es256-2", "es256-1"]
    mint.rotate()
    assert [key["kid"] for key in mint.jwks()["keys"]] == ["es256-3", "es256-2"]


def test_withdrawal_publishes_only_the_new_keys() -> None:
    """An issuer whose key leaked stops publishing it at once."""
    mint = TokenMint(ISSUER, audience=["user-service"], algorithms=("ES256",))
    mint.rotate(withdraw=True)
    assert [key["kid"] for key in mint.jwks()["keys"]] == ["es256-2"]


def test_a_key_is_not_shown_by_repr() -> None:
    """A private key that reaches a log line shows nothing."""
    mint = TokenMint(ISSUER, audience=["user-service"], algorithms=("ES256",))
    assert "private" not in repr(mint._key("ES256"))
