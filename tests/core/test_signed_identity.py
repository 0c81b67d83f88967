"""The signed header: what it says, how long it is good, how seldom it is signed, who refuses it."""

import base64
import json
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from sidecar.core.digests import sha256
from sidecar.core.identity_key import IdentityKey, generate, read_identity_key
from sidecar.core.keyset import parse_jwks
from sidecar.core.outcome import Reason
from sidecar.core.principal import Credential, Principal
from sidecar.core.profiles import ProfileName
from sidecar.core.signed_identity import IdentityAlgorithm, SignedIdentity
from sidecar.core.verification import IssuerPolicy, Rejected, Verifier

NOW = 1_800_000_000.5
LIFETIME = 60.0
KEY = generate("ES256")


def signed(key: IdentityKey = KEY, **changes: Any) -> SignedIdentity:
    settings = {
        "header": "x-auth-assertion",
        "issuer": "jwt-sidecar",
        "audience": "user-service",
        "lifetime_seconds": LIFETIME,
        "max_entries": 10,
        "max_bytes": 1 << 20,
    }
    return SignedIdentity(key, **{**settings, **changes})


def credential(
    token: bytes = b"t", *, expires_at: float = NOW + 300, subject: str = "alice", **rights: Any
) -> Credential:
    principal = Principal("shop", "https://id.example", subject, **rights)
    return Credential(principal, token, sha256(token), expires_at, float("-inf"))


def token_in(line: bytes) -> str:
    assert line.startswith(b"x-auth-assertion: ")
    assert line.endswith(b"\r\n")
    return line[len(b"x-auth-assertion: ") : -2].decode("ascii")


def claims_in(line: bytes) -> dict[str, Any]:
    payload = token_in(line).split(".")[1]
    claims: dict[str, Any] = json.loads(
        base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    )
    return claims


@pytest.mark.parametrize("algorithm", ["ES256", "EdDSA"])
def test_others_can_check_it(algorithm: IdentityAlgorithm) -> None:
    """PyJWT finds the key in the set by its id, and the signature good."""
    key = generate(algorithm)
    token = token_in(signed(key).line(credential(), NOW))
    keys = jwt.PyJWKSet.from_json(key.jwks().decode())
    header = jwt.get_unverified_header(token)
    assert (header["alg"], header["typ"]) == (algorithm, "jwt-sidecar-identity+jwt")
    claims = jwt.decode(
        token,
        keys[header["kid"]],
        algorithms=[algorithm],
        audience="user-service",
        issuer="jwt-sidecar",
        options={"verify_exp": False, "verify_iat": False},
    )
    assert claims["sub"] == "alice"
    assert parse_jwks(key.jwks()).kids == {header["kid"]}
    assert "d" not in key.jwk


def test_what_it_says() -> None:
    """Who, from which issuer, with which rights, and the claims that were chosen, in place."""
    one = credential(
        scopes=frozenset("ba"),
        roles=frozenset("YX"),
        claims={"email": "a@b", "realm_access": {"roles": ["X"], "other": 1}, "gone": None},
    )
    paths = [("email",), ("realm_access", "roles"), ("absent", "x"), ("gone",)]
    assert claims_in(signed(claims=paths).line(one, NOW)) == {
        "iss": "jwt-sidecar",
        "aud": "user-service",
        "sub": "alice",
        "sub_id": {"format": "iss_sub", "iss": "https://id.example", "sub": "alice"},
        "scope": "a b",
        "roles": ["X", "Y"],
        "email": "a@b",
        "realm_access": {"roles": ["X"]},
        "iat": int(NOW),
        "exp": int(NOW + LIFETIME),
    }
    assert "scope" not in claims_in(signed().line(credential(), NOW))


def test_it_is_signed_once_per_token_until_three_quarters_of_its_lifetime() -> None:
    """The app always has a quarter left to look at it."""
    signing, one = signed(), credential()
    first = signing.line(one, NOW)
    assert signing.line(one, NOW + 44.9) is first
    assert signing.signatures == 1
    second = signing.line(one, NOW + 45)
    assert claims_in(second)["exp"] == int(NOW + 105)
    assert signing.signatures == 2
    signing.line(credential(b"other"), NOW + 45)
    assert signing.signatures == 3


def test_it_ends_no_later_than_the_token() -> None:
    """And since another would end then too, it is not signed again before that."""
    signing, one = signed(), credential(expires_at=NOW + 20.4)
    line = signing.line(one, NOW)
    assert claims_in(line)["exp"] == int(NOW + 20.4)
    assert signing.line(one, NOW + 20.3) is line
    assert signing.line(one, NOW + 25) is line  # within the issuer's leeway
    assert signing.signatures == 1


def test_a_token_that_does_not_end_is_signed_for_the_lifetime() -> None:
    """``require_exp: false`` gives no assertion for ever."""
    line = signed().line(credential(expires_at=float("inf")), NOW)
    assert claims_in(line)["exp"] == int(NOW + LIFETIME)


def test_a_clock_set_back_signs_anew() -> None:
    """What was issued in the future would be refused."""
    signing, one = signed(), credential()
    signing.line(one, NOW)
    assert claims_in(signing.line(one, NOW - 100))["iat"] == int(NOW - 100)


def test_another_answer_about_the_same_token_signs_anew() -> None:
    """What an issuer takes back is not said any longer."""
    signing = signed()
    before = signing.line(credential(roles=frozenset({"ADMIN"})), NOW)
    after = signing.line(credential(), NOW)
    assert "roles" in claims_in(before)
    assert "roles" not in claims_in(after)


def test_what_is_kept_is_bounded() -> None:
    """A forgotten one is signed again."""
    signing = signed(max_entries=2)
    ones = [credential(bytes([number])) for number in range(3)]
    for each in (*ones, ones[2], ones[1], ones[0]):
        signing.line(each, NOW)
    assert signing.signatures == 4


@pytest.mark.parametrize("subject", ["alice", "Zoë" * 50])
def test_its_size_is_known_before_it_is_signed(subject: str) -> None:
    """Exact until the year 2286, so that a token can be refused for it."""
    one = credential(subject=subject, claims={"a": ["b" * 100]})
    signing = signed(claims=[("a",)])
    size = signing.size(one.principal)
    assert signing.signatures == 0
    assert len(signing.line(one, NOW)) == size


@pytest.mark.parametrize(
    "profile",
    ["generic", "rfc9068", "keycloak", "spring", "kubernetes", "entra", "auth0", "okta", "cognito"],
)
@pytest.mark.parametrize("token_types", [None, frozenset({"jwt-sidecar-identity+jwt"})])
def test_no_sidecar_takes_it_for_an_access_token(
    profile: ProfileName, token_types: frozenset[str | None] | None
) -> None:
    """Not even one that trusts the key and the issuer, whatever types it is told to accept."""
    from sidecar.core.profiles import Overrides

    verifier = Verifier(
        [
            IssuerPolicy(
                name="sidecar",
                issuer="https://sidecar.example",
                audiences=frozenset({"user-service"}),
                algorithms=frozenset({"ES256"}),
                profile=profile,
                overrides=Overrides(token_types=token_types) if token_types else None,
            )
        ],
        render=lambda _: b"",
        max_token_bytes=8192,
        cache_max_entries=1,
        cache_max_bytes=1 << 20,
    )
    verifier.install("sidecar", parse_jwks(KEY.jwks()))
    token = token_in(signed(issuer="https://sidecar.example").line(credential(), NOW))
    verdict = verifier.verify(token.encode(), now=NOW)
    assert isinstance(verdict, Rejected)
    assert verdict.denial.reason is Reason.TOKEN_TYPE
    assert "what a sidecar signed for its app" in verdict.denial.detail


def pem(key: Any, *, password: bytes | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    written: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    return written


def test_a_key_in_a_file_keeps_its_id() -> None:
    """RFC 7638: the id is a digest of the key itself."""
    for key, algorithm in (
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ed25519.Ed25519PrivateKey.generate(), "EdDSA"),
    ):
        read, again = read_identity_key(pem(key)), read_identity_key(pem(key))
        assert read.jwk == again.jwk
        assert read.jwk["alg"] == algorithm
        token = token_in(signed(read).line(credential(), NOW))
        jwt.PyJWS().decode(token, key.public_key(), algorithms=[algorithm])


def test_the_thumbprint_is_that_of_the_rfc() -> None:
    """RFC 8037, appendix A.3, has one for an Ed25519 key."""
    point = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    key = IdentityKey("EdDSA", {"kty": "OKP", "crv": "Ed25519", "x": point}, lambda _: b"")
    assert key.jwk["kid"] == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no usable private key in PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "holds no usable"),
        (pem(ec.generate_private_key(ec.SECP384R1())), "neither on P-256 (ES256) nor Ed25519"),
        (pem(rsa.generate_private_key(65537, 2048)), "neither on P-256 (ES256) nor Ed25519"),
        (pem(ec.generate_private_key(ec.SECP256R1()), password=b"x"), "is encrypted"),
    ],
)
def test_a_key_that_cannot_be_used_is_named(content: bytes, message: str) -> None:
    """Each kind of wrong file in words."""
    with pytest.raises(ValueError, match=message.replace("(", r"\(").replace(")", r"\)")):
        read_identity_key(content)
