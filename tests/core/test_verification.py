"""Whether a token is believed, remembered, and forgotten again."""

import hashlib
from math import inf
from typing import Any

import pytest

from sidecar.core.keyset import KeySet, parse_jwks
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Principal
from sidecar.core.verification import (
    IssuerPolicy,
    KeyNeeded,
    Rejected,
    Verdict,
    Verified,
    Verifier,
)
from tests.core.signing import ISSUER, NOW, claims, jwk, jwks, key_set, private_key, sign

OTHER_ISSUER = "https://other.test"
MAX_DETAIL = 600
"""Characters; what the token says is in there, so it must not be the sender's to choose."""


class Rendering:
    """Renders a principal as its subject and counts how often it was asked."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, principal: Principal) -> bytes:
        self.calls += 1
        return principal.subject.encode()


def policy(**changes: Any) -> IssuerPolicy:
    usual: dict[str, Any] = {
        "name": "shop",
        "issuer": ISSUER,
        "audiences": frozenset({"orders"}),
        "leeway_seconds": 30.0,
    }
    return IssuerPolicy(**{**usual, **changes})


def make(
    *policies: IssuerPolicy,
    keys: bool = True,
    render: Rendering | None = None,
    max_entries: int = 100,
    max_bytes: int = 1024 * 1024,
) -> Verifier:
    verifier = Verifier(
        policies or (policy(),),
        render=render or Rendering(),
        max_token_bytes=4096,
        cache_max_entries=max_entries,
        cache_max_bytes=max_bytes,
    )
    if keys:
        verifier.install("shop", key_set())
    return verifier


def reason(verdict: Verdict) -> Reason:
    assert isinstance(verdict, Rejected), verdict
    assert len(verdict.denial.detail) <= MAX_DETAIL
    assert verdict.denial.detail.isascii()
    assert verdict.denial.detail.isprintable()
    return verdict.denial.reason


# --- the verdict ---


def test_a_good_token_is_verified() -> None:
    """The credential carries principal, token, digest and raw dates; the identity is rendered."""
    token = sign(claims(nbf=NOW - 5))
    verdict = make().verify(token, now=NOW)
    assert isinstance(verdict, Verified)
    credential = verdict.credential
    assert credential.principal.subject == "alice"
    assert credential.principal.issuer_name == "shop"
    assert credential.principal.claims["aud"] == "orders"
    assert credential.token == token
    assert credential.digest == hashlib.sha256(token).digest()
    assert (credential.expires_at, credential.not_before) == (NOW + 300, NOW - 5)
    assert verdict.identity == b"alice"


@pytest.mark.parametrize(
    "alg",
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
     "Ed25519", "Ed448"],
)  # fmt: skip
def test_every_asymmetric_algorithm_verifies(alg: str) -> None:
    """A token signed with any supported algorithm is verified, and one forged with it is not."""
    verifier = make(keys=False)
    verifier.install("shop", key_set(alg))
    assert isinstance(verifier.verify(sign(claims(), alg=alg), now=NOW), Verified)
    forged = sign(claims(), alg=alg, key=private_key(alg, "mallory"))
    assert reason(verifier.verify(forged, now=NOW)) is Reason.SIGNATURE_INVALID


def test_secrets_are_not_in_the_repr() -> None:
    """Neither token nor identity nor claims appear when a verdict is printed."""
    token = sign(claims(email="alice@example.test"))
    shown = repr(make().verify(token, now=NOW))
    assert token.decode() not in shown
    assert "example.test" not in shown.replace(ISSUER, "")


def test_the_size_is_judged_before_anything_else() -> None:
    """Exactly the largest token is read, one byte more is refused unread."""
    verifier = make()
    assert reason(verifier.verify(b"x" * 4096, now=NOW)) is Reason.TOKEN_MALFORMED
    assert reason(verifier.verify(b"x" * 4097, now=NOW)) is Reason.TOKEN_TOO_LARGE
    assert reason(verifier.verify(b"x" * 1_000_000, now=NOW)) is Reason.TOKEN_TOO_LARGE


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"iss": OTHER_ISSUER}, Reason.ISSUER_MISMATCH),
        ({"iss": ISSUER + "/"}, Reason.ISSUER_MISMATCH),
        ({"iss": None}, Reason.CLAIM_MISSING),
        ({"iss": [ISSUER]}, Reason.CLAIMS_MALFORMED),
        ({"sub": None}, Reason.CLAIM_MISSING),
        ({"exp": None}, Reason.CLAIM_MISSING),
        ({"exp": "soon"}, Reason.CLAIMS_MALFORMED),
        ({"exp": NOW - 30}, Reason.TOKEN_EXPIRED),
        ({"nbf": NOW + 31}, Reason.TOKEN_NOT_YET_VALID),
        ({"iat": NOW + 31}, Reason.TOKEN_NOT_YET_VALID),
        ({"aud": "account"}, Reason.AUDIENCE_MISMATCH),
        ({"typ": "ID"}, Reason.TOKEN_TYPE),
        ({"scope": 1}, Reason.CLAIMS_MALFORMED),
    ],
)
def test_claims_that_refuse(changes: dict[str, Any], expected: Reason) -> None:
    """A good signature does not help a token whose claims do not meet the policy."""
    assert reason(make().verify(sign(claims(**changes)), now=NOW)) is expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ({"typ": "dpop+jwt"}, Reason.TOKEN_TYPE),
        ({"crit": ["exp"]}, Reason.CRITICAL_UNKNOWN),
        ({"alg": "none"}, Reason.ALGORITHM_REFUSED),
        ({"alg": "HS256"}, Reason.ALGORITHM_REFUSED),
        ({"alg": None}, Reason.TOKEN_MALFORMED),
        ({"alg": "RS384"}, Reason.SIGNATURE_INVALID),
        ({"alg": "ES256"}, Reason.ALGORITHM_REFUSED),
    ],
)
def test_headers_that_refuse(header: dict[str, Any], expected: Reason) -> None:
    """A header that asks for something else than its signature gives is refused."""
    assert reason(make().verify(sign(claims(), header=header), now=NOW)) is expected


def test_a_token_signed_by_a_public_key_as_secret_is_refused() -> None:
    """The classic confusion of RS256 and HS256 gets nowhere near a key."""
    import hmac

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    signing_input = sign(claims(), header={"alg": "HS256"}).rpartition(b".")[0]
    pem = private_key("RS256").public_key()
    secret = pem.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    from tests.core.signing import b64

    mac = b64(hmac.digest(secret, signing_input, "sha256")).encode()
    assert reason(make().verify(signing_input + b"." + mac, now=NOW)) is Reason.ALGORITHM_REFUSED


def test_a_bounded_age_refuses_old_tokens() -> None:
    """A policy may refuse tokens that were issued too long ago."""
    verifier = make(policy(max_token_age_seconds=60))
    assert reason(verifier.verify(sign(claims(iat=NOW - 90)), now=NOW)) is Reason.TOKEN_TOO_OLD
    assert reason(verifier.verify(sign(claims(iat=None)), now=NOW)) is Reason.CLAIM_MISSING
    assert isinstance(verifier.verify(sign(claims(iat=NOW - 89)), now=NOW), Verified)


def test_a_token_without_exp_where_that_is_allowed() -> None:
    """With require_exp off the credential never expires by itself."""
    verdict = make(policy(require_exp=False)).verify(sign(claims(exp=None)), now=NOW)
    assert isinstance(verdict, Verified)
    assert (verdict.credential.expires_at, verdict.credential.not_before) == (inf, -inf)


def test_the_issuer_chooses_policy_and_keys() -> None:
    """Two issuers do not vouch for each other, even under the same kid."""
    verifier = make(policy(), policy(name="bank", issuer=OTHER_ISSUER, profile="keycloak"))
    verifier.install("bank", key_set(name="bank"))
    shop = sign(claims())
    bank = sign(claims(iss=OTHER_ISSUER), key=private_key("RS256", "bank"))
    crossed = sign(claims(iss=OTHER_ISSUER))
    for token, name in ((shop, "shop"), (bank, "bank")):
        verdict = verifier.verify(token, now=NOW)
        assert isinstance(verdict, Verified)
        assert verdict.credential.principal.issuer_name == name
    assert reason(verifier.verify(crossed, now=NOW)) is Reason.SIGNATURE_INVALID


def test_an_unknown_issuer_is_named_with_those_trusted() -> None:
    """The operator sees both, sanitised."""
    verdict = make().verify(sign(claims(iss="https://x.test/\n\u00e9")), now=NOW)
    assert isinstance(verdict, Rejected)
    assert verdict.denial == Denial(
        Reason.ISSUER_MISMATCH,
        f"the token's issuer is https://x.test/??; this service trusts [{ISSUER}]",
    )


def test_details_never_contain_the_token() -> None:
    """No denial quotes the token or its signature."""
    for token in (
        sign(claims(aud="account")),
        sign(claims(), key=private_key("RS256", "mallory")),
        sign(claims(exp=1)),
    ):
        verdict = make().verify(token, now=NOW)
        assert isinstance(verdict, Rejected)
        assert not any(part.decode() in verdict.denial.detail for part in token.split(b"."))


# --- keys ---


def test_without_keys_a_key_is_needed() -> None:
    """Before the first set arrives the answer is KeyNeeded, never acceptance or refusal."""
    verifier = make(keys=False)
    assert verifier.verify(sign(claims()), now=NOW) == KeyNeeded("shop", "a")
    nameless = sign(claims(), header={"kid": None})
    assert verifier.verify(nameless, now=NOW) == KeyNeeded("shop", None)


def test_an_unknown_kid_needs_its_key() -> None:
    """A kid that the installed set lacks may be a new one."""
    assert make().verify(sign(claims(), header={"kid": "b"}), now=NOW) == KeyNeeded("shop", "b")


def test_no_key_for_the_algorithm_and_no_kid_needs_a_key() -> None:
    """A nameless ES256 token is no forgery while the set has RSA keys only."""
    token = sign(claims(), alg="ES256", header={"kid": None})
    assert make().verify(token, now=NOW) == KeyNeeded("shop", None)


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256"}, {"typ": "logout+jwt"}])
def test_a_hopeless_token_never_causes_a_fetch(header: dict[str, Any]) -> None:
    """What no key could make acceptable is refused before a key is asked for."""
    verdict = make(keys=False).verify(sign(claims(), header=header), now=NOW)
    assert isinstance(verdict, Rejected)


def test_the_policys_algorithms_are_checked_before_a_key_is_asked_for() -> None:
    """An algorithm that the configuration forbids causes no fetch."""
    verifier = make(policy(algorithms=frozenset({"ES256"})), keys=False)
    assert reason(verifier.verify(sign(claims()), now=NOW)) is Reason.ALGORITHM_REFUSED


def test_without_kid_at_most_four_fitting_keys_are_tried() -> None:
    """The fourth fitting key is found, the fifth is not."""
    verifier = make(keys=False)
    published = [jwk(private_key("ES256", f"many{i}"), kid=f"k{i}") for i in range(5)]
    verifier.install("shop", parse_jwks(jwks(jwk(private_key("RS256")), *published)))
    header = {"kid": None}
    fourth = sign(claims(), alg="ES256", key=private_key("ES256", "many3"), header=header)
    fifth = sign(claims(), alg="ES256", key=private_key("ES256", "many4"), header=header)
    assert isinstance(verifier.verify(fourth, now=NOW), Verified)
    assert reason(verifier.verify(fifth, now=NOW)) is Reason.SIGNATURE_INVALID


def test_two_keys_under_one_kid_are_both_tried() -> None:
    """An issuer that reuses a kid while rotating is served by either key."""
    verifier = make(keys=False)
    twins = [jwk(private_key("RS256", name), kid="a") for name in ("a", "b")]
    verifier.install("shop", parse_jwks(jwks(*twins)))
    for name in ("a", "b"):
        token = sign(claims(), key=private_key("RS256", name))
        assert isinstance(verifier.verify(token, now=NOW), Verified)


def test_nameless_keys_serve_any_kid_and_a_miss_needs_a_key() -> None:
    """A key published without kid may sign for any; if it did not, the named key may be new."""
    verifier = make(keys=False)
    verifier.install("shop", key_set(kid=None))
    assert isinstance(verifier.verify(sign(claims()), now=NOW), Verified)
    other = sign(claims(), key=private_key("RS256", "b"))
    assert verifier.verify(other, now=NOW) == KeyNeeded("shop", "a")


# --- the cache ---


def test_the_second_time_the_same_value_comes_from_the_cache() -> None:
    """A hit returns the very same verdict, renders nothing again, and is counted."""
    render = Rendering()
    verifier = make(render=render)
    token = sign(claims())
    first = verifier.verify(token, now=NOW)
    second = verifier.verify(bytes(bytearray(token)), now=NOW + 1)
    assert second is first
    assert (verifier.hits, verifier.misses, render.calls) == (1, 1, 1)


def test_expiry_is_asked_again_on_every_use() -> None:
    """A cached token expires at the same instant as a fresh one, and leaves the cache."""
    verifier = make()
    token = sign(claims(exp=NOW))
    assert isinstance(verifier.verify(token, now=NOW), Verified)
    assert isinstance(verifier.verify(token, now=NOW + 29.999), Verified)
    assert verifier.hits == 1
    assert reason(verifier.verify(token, now=NOW + 30)) is Reason.TOKEN_EXPIRED
    assert reason(verifier.verify(token, now=NOW + 31)) is Reason.TOKEN_EXPIRED
    assert verifier.hits == 1


def test_not_before_is_asked_again_on_every_use() -> None:
    """If the clock is set back, a cached token is not valid yet."""
    verifier = make()
    token = sign(claims(nbf=NOW))
    assert isinstance(verifier.verify(token, now=NOW), Verified)
    assert isinstance(verifier.verify(token, now=NOW - 30), Verified)
    assert reason(verifier.verify(token, now=NOW - 30.001)) is Reason.TOKEN_NOT_YET_VALID


def test_age_is_asked_again_on_every_use() -> None:
    """A cached token becomes too old like a fresh one."""
    verifier = make(policy(max_token_age_seconds=60))
    token = sign(claims(iat=NOW))
    assert isinstance(verifier.verify(token, now=NOW + 89.999), Verified)
    assert reason(verifier.verify(token, now=NOW + 90)) is Reason.TOKEN_TOO_OLD


def test_refusals_are_not_remembered() -> None:
    """A token refused for want of a key or for its date is judged afresh."""
    verifier = make(keys=False)
    token = sign(claims(nbf=NOW + 60))
    assert isinstance(verifier.verify(token, now=NOW), KeyNeeded)
    verifier.install("shop", key_set())
    assert reason(verifier.verify(token, now=NOW)) is Reason.TOKEN_NOT_YET_VALID
    assert isinstance(verifier.verify(token, now=NOW + 60), Verified)
    assert (verifier.hits, verifier.misses) == (0, 3)


def test_entries_are_bounded_and_the_least_recently_used_goes() -> None:
    """A full cache verifies again, and keeps what was used last."""
    verifier = make(max_entries=2)
    tokens = [sign(claims(jti=str(i))) for i in range(3)]
    for index in (0, 1, 0, 2):
        verifier.verify(tokens[index], now=NOW)
    assert (verifier.hits, verifier.misses) == (1, 3)
    verifier.verify(tokens[0], now=NOW)
    assert verifier.hits == 2
    verifier.verify(tokens[1], now=NOW)
    assert verifier.misses == 4


def test_bytes_are_bounded() -> None:
    """Large tokens fill the cache sooner than their number would."""
    verifier = make(max_bytes=20_000)
    tokens = [sign(claims(jti="x" * 1500 + str(i))) for i in range(2)]
    for index in (0, 0, 1, 0):
        assert isinstance(verifier.verify(tokens[index], now=NOW), Verified)
    assert (verifier.hits, verifier.misses) == (1, 3)


def test_installing_an_equal_set_keeps_the_cache() -> None:
    """A refresh that brought nothing new costs nothing."""
    verifier = make()
    token = sign(claims())
    verifier.verify(token, now=NOW)
    verifier.install("shop", key_set())
    verifier.verify(token, now=NOW)
    assert verifier.hits == 1


def test_a_key_that_stays_keeps_its_tokens() -> None:
    """Adding a key to the set forgets nothing."""
    verifier = make()
    token = sign(claims())
    verifier.verify(token, now=NOW)
    both = jwk(private_key("RS256"), kid="a"), jwk(private_key("RS256", "b"), kid="b")
    verifier.install("shop", parse_jwks(jwks(*both)))
    verifier.verify(token, now=NOW)
    assert verifier.hits == 1


def test_a_key_that_left_takes_its_tokens_along() -> None:
    """After rotation a cached token of the old key is unknown, those of the other key stay."""
    verifier = make(keys=False)
    a, b = jwk(private_key("RS256"), kid="a"), jwk(private_key("RS256", "b"), kid="b")
    verifier.install("shop", parse_jwks(jwks(a, b)))
    of_a = sign(claims())
    of_b = sign(claims(), key=private_key("RS256", "b"), header={"kid": "b"})
    for token in (of_a, of_b):
        assert isinstance(verifier.verify(token, now=NOW), Verified)
    verifier.install("shop", parse_jwks(jwks(b)))
    assert verifier.verify(of_a, now=NOW) == KeyNeeded("shop", "a")
    assert isinstance(verifier.verify(of_b, now=NOW), Verified)
    assert verifier.hits == 1


def test_a_new_key_under_the_old_name_is_another_key() -> None:
    """Keys are compared by material: a reused kid does not keep the old key's tokens alive."""
    verifier = make()
    token = sign(claims())
    assert isinstance(verifier.verify(token, now=NOW), Verified)
    verifier.install("shop", key_set(name="b"))
    assert reason(verifier.verify(token, now=NOW)) is Reason.SIGNATURE_INVALID


@pytest.mark.parametrize(
    "entry",
    [{"kid": "renamed"}, {"kid": "a", "alg": "RS512"}],
)
def test_a_key_that_would_no_longer_be_chosen_takes_its_tokens_along(entry: dict[str, Any]) -> None:
    """The cache never accepts what a fresh verification would not: new name or narrower alg."""
    verifier = make()
    token = sign(claims())
    verifier.verify(token, now=NOW)
    verifier.install("shop", parse_jwks(jwks(jwk(private_key("RS256"), **entry))))
    assert not isinstance(verifier.verify(token, now=NOW), Verified)


def test_another_issuers_keys_leave_the_cache_alone() -> None:
    """Installing keys for one issuer forgets nothing of another."""
    verifier = make(policy(), policy(name="bank", issuer=OTHER_ISSUER))
    token = sign(claims())
    verifier.verify(token, now=NOW)
    verifier.install("bank", key_set(name="bank"))
    verifier.verify(token, now=NOW)
    assert verifier.hits == 1


# --- mistakes of ours ---


def test_policies_must_be_distinct() -> None:
    """Two policies for one iss, or of one name, cannot both be meant."""
    with pytest.raises(ValueError, match="iss"):
        make(policy(), policy(name="twin"))
    with pytest.raises(ValueError, match="same name"):
        make(policy(), policy(issuer=OTHER_ISSUER))


def test_keys_for_an_issuer_without_policy_are_an_error() -> None:
    """A misspelt issuer name is found at once."""
    with pytest.raises(ValueError, match="no policy"):
        make().install("shpo", key_set())


# --- trust domains ---


def test_a_token_without_iss_is_of_the_trust_domain_of_its_subject() -> None:
    """A JWT-SVID needs no iss; any other token does, and an iss that is known decides."""
    domain = policy(name="mesh", issuer="spiffe://prod.test", profile="spiffe")
    verifier = make(policy(), domain)
    svid = claims(iss=None, sub="spiffe://prod.test/web")
    assert verifier.verify(sign(svid), now=NOW) == KeyNeeded("mesh", "a")
    assert reason(verifier.verify(sign({**svid, "sub": "alice"}), now=NOW)) is Reason.CLAIM_MISSING
    other = {**svid, "iss": "https://spire.test"}
    assert verifier.verify(sign(other), now=NOW) == KeyNeeded("mesh", "a")
    verdict = verifier.verify(sign({**svid, "iss": ISSUER}), now=NOW)
    assert isinstance(verdict, Verified)
    assert verdict.credential.principal.issuer_name == "shop"
    without = make(policy())
    assert reason(without.verify(sign(other), now=NOW)) is Reason.ISSUER_MISMATCH
    assert reason(without.verify(sign(svid), now=NOW)) is Reason.CLAIM_MISSING


def test_an_issuer_under_its_other_url_is_recognised() -> None:
    """The log says which two URLs differ, and what to write."""
    public = policy(issuer="https://login.test/realms/shop")
    token = sign(claims(iss="http://keycloak:8080/realms/shop"))
    verdict = make(public).verify(token, now=NOW)
    assert isinstance(verdict, Rejected)
    assert verdict.denial.reason is Reason.ISSUER_MISMATCH
    for said in ("http://keycloak:8080/realms/shop", "https://login.test", "discovery_url"):
        assert said in verdict.denial.detail
    assert not verdict.denial.public


# --- what is known of keys ---


def test_tokens_forgotten_are_counted() -> None:
    """Of the tokens whose key left, those are counted that would still have been good."""
    verifier = make()
    for number in range(3):
        token = sign(claims(exp=int(NOW) + 100 * number + 1, jti=str(number)))
        assert isinstance(verifier.verify(token, now=NOW), Verified)
    assert verifier.install("shop", key_set(), now=NOW) == 0
    assert verifier.install("shop", KeySet(()), now=NOW + 60) == 2
    assert isinstance(verifier.verify(sign(claims()), now=NOW), KeyNeeded)


def test_last_use_of_a_key() -> None:
    """A key's last use is that of the last token it vouched for, and goes with the key."""
    verifier = make()
    keys = key_set().keys
    assert [verifier.last_used("shop", key) for key in keys] == [None] * len(keys)
    assert isinstance(verifier.verify(sign(claims()), now=NOW), Verified)
    rejected = verifier.verify(sign(claims(exp=int(NOW) - 100)), now=NOW + 5)
    assert isinstance(rejected, Rejected)
    used = {key: verifier.last_used("shop", key) for key in keys}
    assert sorted(at for at in used.values() if at is not None) == [NOW]
    verifier.install("shop", KeySet(()))
    assert all(verifier.last_used("shop", key) is None for key in keys)
