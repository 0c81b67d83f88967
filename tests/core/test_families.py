"""Each family of issuers by the tokens it publishes as examples, and by what is none of them."""

from typing import Any, Final

import pytest

from sidecar.core.claims import IssuerPolicy
from sidecar.core.keyset import parse_jwks
from sidecar.core.outcome import Reason
from sidecar.core.principal import Principal
from sidecar.core.profiles import Overrides
from sidecar.core.verification import Rejected, Verdict, Verified, Verifier
from tests.core.families import EXAMPLES, ISSUERS, KEYCLOAK, TENANT, judge
from tests.core.signing import NOW, jwk, jwks, private_key, sign

WITHOUT_RIGHTS: Final = {"kubernetes", "spiffe", "spiffe with iss"}


def accepted(verdict: Verdict) -> Principal:
    assert isinstance(verdict, Verified), verdict
    return verdict.credential.principal


def refused(verdict: Verdict) -> Reason:
    assert isinstance(verdict, Rejected), verdict
    return verdict.denial.reason


@pytest.mark.parametrize("name", EXAMPLES)
def test_published_examples_are_accepted(name: str) -> None:
    """The token of each family as its issuer documents it gives subject, scopes and roles."""
    profile, header, claims = EXAMPLES[name]
    principal = accepted(judge(profile, header, claims))
    assert principal.subject == claims["sub"]
    assert principal.issuer == ISSUERS[profile]
    if name == "keycloak":
        assert principal.scopes == {"openid", "profile"}
    else:
        assert principal.scopes == (frozenset() if name in WITHOUT_RIGHTS else {"a", "b"})
    assert principal.roles == (frozenset() if name in WITHOUT_RIGHTS else {"USER"})


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_family_checks_audience_and_expiry(name: str) -> None:
    """Whatever the family, a token for another service, or one past its time, is refused."""
    profile, header, claims = EXAMPLES[name]
    audience = "client_id" if profile == "cognito" else "aud"
    other = judge(profile, header, {**claims, audience: "billing"})
    assert refused(other) is Reason.AUDIENCE_MISMATCH
    late = judge(profile, header, {**claims, "exp": NOW - 30})
    assert refused(late) is Reason.TOKEN_EXPIRED


def test_roles_of_clients_stay_apart() -> None:
    """Keycloak's client roles are no realm roles, and a client id may hold dots."""
    principal = accepted(judge("keycloak", {}, KEYCLOAK))
    assert principal.client_roles == {"my.app": {"admin"}}
    assert "admin" not in principal.roles
    generic = judge("generic", {}, {**KEYCLOAK, "iss": ISSUERS["generic"]})
    assert accepted(generic).client_roles == {}


@pytest.mark.parametrize(
    "access",
    [None, [], "x", {"a": None}, {"a": []}, {"a": {"roles": "r"}}, {"a": {"roles": [1]}},
     {"a\n": {"roles": []}}, {"c" * 513: {}}, {f"c{i}": {} for i in range(513)}],
)  # fmt: skip
def test_resource_access_of_a_wrong_type_refuses_the_token(access: Any) -> None:
    """Rights that cannot be read are not taken for none."""
    verdict = judge("keycloak", {}, {**KEYCLOAK, "resource_access": access})
    assert refused(verdict) is Reason.CLAIMS_MALFORMED


TYPE: Final = Reason.TOKEN_TYPE
MALFORMED: Final = Reason.CLAIMS_MALFORMED
MISSING: Final = Reason.CLAIM_MISSING


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("keycloak", {"typ": "ID"}, TYPE),
        ("keycloak", {"typ": "Refresh"}, TYPE),
        ("keycloak", {"sub": None}, MISSING),
        ("spring", {"nbf": None}, TYPE),
        ("kubernetes", {"kubernetes.io": None}, TYPE),
        ("kubernetes", {"sub": "system:serviceaccount:shop:other"}, MALFORMED),
        ("kubernetes", {"sub": "system:serviceaccount:kube-system:web"}, MALFORMED),
        ("kubernetes", {"sub": "system:node:web"}, MALFORMED),
        ("kubernetes", {"kubernetes.io": {"namespace": "shop"}}, MALFORMED),
        ("kubernetes", {"iat": None}, MISSING),
        ("spiffe", {"sub": "spiffe://other.test/web"}, MISSING),
        ("spiffe with iss", {"sub": "spiffe://other.test/web"}, Reason.ISSUER_MISMATCH),
        ("spiffe with iss", {"iss": "spiffe://prod.test", "sub": "alice"}, MALFORMED),
        ("spiffe with iss", {"iss": "spiffe://prod.test", "sub": "spiffe://other.test/web"},
         Reason.ISSUER_MISMATCH),
        ("spiffe", {"exp": None}, MISSING),
        ("spiffe", {"aud": None}, Reason.AUDIENCE_MISMATCH),
        ("entra v2.0", {"azp": None}, TYPE),
        ("entra v2.0", {"ver": "1.0"}, TYPE),
        ("entra v2.0", {"tid": None}, MISSING),
        ("auth0", {"azp": None}, TYPE),
        ("auth0 as rfc9068", {"client_id": ""}, TYPE),
        ("okta", {"cid": None}, TYPE),
        ("okta", {"groups": "USER"}, MALFORMED),
        ("cognito", {"token_use": "id", "aud": "orders"}, TYPE),
        ("cognito", {"token_use": None}, TYPE),
        ("cognito", {"client_id": None}, Reason.AUDIENCE_MISMATCH),
        ("cognito", {"aud": "https://billing.test"}, Reason.AUDIENCE_MISMATCH),
        ("rfc9068", {"jti": None}, MISSING),
        ("generic", {"token_use": "id"}, TYPE),
    ],
)  # fmt: skip
def test_what_is_none_of_the_familys_access_tokens(
    name: str, changes: dict[str, Any], reason: Reason
) -> None:
    """ID tokens and tokens that contradict the family's promises are refused, though signed."""
    profile, header, claims = EXAMPLES[name]
    said = {key: value for key, value in {**claims, **changes}.items() if value is not None}
    assert refused(judge(profile, header, said)) is reason


@pytest.mark.parametrize(
    "spiffe_id",
    ["spiffe://prod.test", "spiffe://prod.test/", "spiffe://prod.test/a/", "spiffe://prod.test//a",
     "spiffe://prod.test/.", "spiffe://prod.test/../a", "spiffe://prod.test/a/..",
     "spiffe://prod.test/a%2fb", "spiffe://prod.test/a?b", "spiffe://prod.test/a#b",
     "spiffe://prod.test:1/a", "spiffe://u@prod.test/a", "spiffe://PROD.test/a",
     "SPIFFE://prod.test/a", "spiffe:///a", "spiffe://prod.test/é", "spiffe://prod.test/a b"],
)  # fmt: skip
def test_subjects_that_are_no_spiffe_id(spiffe_id: str) -> None:
    """A SPIFFE ID has one spelling, a trust domain and a path (SPIFFE ID, section 2)."""
    said = {**EXAMPLES["spiffe"][2], "iss": ISSUERS["spiffe"], "sub": spiffe_id}
    assert refused(judge("spiffe", {}, said)) is MALFORMED


@pytest.mark.parametrize("spiffe_id", ["spiffe://prod.test/...", "spiffe://prod.test/.a/b..c"])
def test_dots_within_names_are_no_dot_segments(spiffe_id: str) -> None:
    """Only the segments ``.`` and ``..`` themselves are refused."""
    said = {**EXAMPLES["spiffe"][2], "sub": spiffe_id}
    assert accepted(judge("spiffe", {}, said)).subject == spiffe_id


def test_a_jwt_svid_needs_audience_and_expiry_whatever_is_configured() -> None:
    """Sections 3.2 and 3.3 cannot be switched off."""
    claims = EXAMPLES["spiffe"][2]
    for name in ("aud", "exp"):
        said = {key: value for key, value in claims.items() if key != name}
        verdict = judge("spiffe", {}, said, audiences=None, require_exp=False)
        assert refused(verdict) is MISSING


def test_a_jwt_svid_is_signed_with_an_algorithm_of_its_specification() -> None:
    """EdDSA is refused for a trust domain though the configuration allows it."""
    policy = IssuerPolicy("vendor", ISSUERS["spiffe"], None, profile="spiffe")
    verifier = Verifier(
        [policy], render=lambda _: b"", max_token_bytes=8192, cache_max_entries=1,
        cache_max_bytes=1 << 16,
    )  # fmt: skip
    key = jwk(private_key("EdDSA"), kid="a", use="jwt-svid")
    verifier.install("vendor", parse_jwks(jwks(key), "jwt-svid"))
    token = sign(EXAMPLES["spiffe"][2], alg="EdDSA")
    assert refused(verifier.verify(token, now=NOW)) is Reason.ALGORITHM_REFUSED


def test_entra_v1_tokens_name_their_client_as_appid() -> None:
    """A v1.0 token of the tenant is accepted under its own issuer."""
    issuer = f"https://sts.windows.net/{TENANT}/"
    _, header, claims = EXAMPLES["entra v2.0"]
    said = {**claims, "iss": issuer, "ver": "1.0", "appid": "c"}
    del said["azp"]
    assert accepted(judge("entra", header, said, issuer=issuer)).roles == {"USER"}


def test_a_preset_can_be_overridden() -> None:
    """Types, sources of roles and scopes, and required claims are the issuer's where given."""
    overrides = Overrides(
        token_types=frozenset({None, "x+jwt"}),
        roles_from=(("realm_access", "roles"), ("resource_access", "my.app", "roles"), ("none",)),
        scopes_from=(("acr",), ("perms", "granted")),
        required=("azp",),
    )
    said = {**KEYCLOAK, "perms": {"granted": ["p", "q"]}}
    principal = accepted(judge("keycloak", {"typ": "X+JWT"}, said, overrides=overrides))
    assert principal.roles == {"USER", "admin"}
    assert principal.scopes == {"1", "p", "q"}
    assert refused(judge("keycloak", {}, said, overrides=overrides)) is TYPE
    del said["azp"]
    assert refused(judge("keycloak", {"typ": None}, said, overrides=overrides)) is MISSING
    none_of_rfc9068 = Overrides(required=())
    _, header, claims = EXAMPLES["rfc9068"]
    lacking = {key: value for key, value in claims.items() if key != "jti"}
    accepted(judge("rfc9068", header, lacking, overrides=none_of_rfc9068))


@pytest.mark.parametrize("roles", ["USER", [1], {"a": 1}, None])
def test_overridden_sources_are_typed(roles: Any) -> None:
    """What stands at a configured path must be a list of names, or the token is refused."""
    overrides = Overrides(roles_from=(("mine", "roles"),))
    for claim in ({"mine": {"roles": roles}}, {"mine": "x"}):
        verdict = judge("keycloak", {}, {**KEYCLOAK, **claim}, overrides=overrides)
        assert refused(verdict) is MALFORMED
