"""Where the families of issuers differ: types, scopes, roles."""

from typing import Any

import pytest

from sidecar.core.outcome import Denial, Reason
from sidecar.core.profiles import PROFILES, ProfileName
from sidecar.core.rights import MAX_NAMES, read_scopes

LOGOUT: dict[str, Any] = {"http://schemas.openid.net/event/backchannel-logout": {}}
GENERIC, RFC9068, KEYCLOAK = (PROFILES[n] for n in ("generic", "rfc9068", "keycloak"))


@pytest.mark.parametrize(
    ("name", "typ", "accepted"),
    [
        ("generic", None, True),
        ("generic", "jwt", True),
        ("generic", "at+jwt", True),
        ("generic", "application/jwt", False),
        ("generic", "logout+jwt", False),
        ("generic", "dpop+jwt", False),
        ("generic", "", False),
        ("keycloak", None, True),
        ("keycloak", "jwt", True),
        ("keycloak", "secevent+jwt", False),
        ("rfc9068", None, False),
        ("rfc9068", "jwt", False),
        ("rfc9068", "at+jwt", True),
        ("rfc9068", "application/at+jwt", False),
        ("spring", None, True),
        ("kubernetes", None, True),
        ("kubernetes", "jwt", False),
        ("spiffe", None, True),
        ("spiffe", "jose", True),
        ("spiffe", "at+jwt", False),
        ("entra", "jwt", True),
        ("entra", None, False),
        ("auth0", "at+jwt", True),
        ("auth0", None, False),
        ("okta", None, True),
        ("cognito", None, True),
    ],
)
def test_header_types(name: ProfileName, typ: str | None, accepted: bool) -> None:
    """Each profile accepts the header typ values of access tokens and no others."""
    denial = PROFILES[name].refuse_type(typ, {})
    assert (denial is None) is accepted
    assert denial is None or denial.reason is Reason.TOKEN_TYPE


@pytest.mark.parametrize("name", ["generic", "rfc9068", "keycloak"])
@pytest.mark.parametrize(
    "claims",
    [
        {"typ": "ID"},
        {"typ": "id"},
        {"typ": "Refresh"},
        {"typ": "Offline"},
        {"typ": "Logout"},
        {"nonce": "n", "at_hash": "h"},
        {"at_hash": "h"},
        {"c_hash": "h"},
        {"events": LOGOUT},
    ],
)
def test_other_tokens_of_the_issuer_are_no_access_tokens(
    name: ProfileName, claims: dict[str, Any]
) -> None:
    """ID, refresh and logout tokens are refused under every profile (RFC 8725, section 3.11)."""
    denial = PROFILES[name].refuse_type("at+jwt", claims)
    assert denial is not None
    assert denial.reason is Reason.TOKEN_TYPE


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("cnf", [{"jkt": "x"}, {"x5t#S256": "x"}, {}, None])
def test_a_bound_token_is_no_bearer_token(name: ProfileName, cnf: object) -> None:
    """Whatever it is bound to, nobody checks here who holds it (RFC 9449, section 7.1)."""
    denial = PROFILES[name].refuse_type("at+jwt", {"cnf": cnf})
    assert denial is not None
    assert denial.reason is Reason.TOKEN_TYPE


@pytest.mark.parametrize("claims", [{"nonce": "n"}, {"events": {"other": 1}}, {"events": "x"}])
def test_claims_that_merely_resemble_other_tokens_are_fine(claims: dict[str, Any]) -> None:
    """A nonce alone (Keycloak copies it) or an app's own events claim refuses nothing."""
    assert GENERIC.refuse_type("jwt", claims) is None


@pytest.mark.parametrize("typ", ["bearer", "DPoP", "", 7, ["Bearer"], {}])
def test_keycloaks_typ_claim_must_be_bearer(typ: Any) -> None:
    """Under the keycloak profile a claim typ other than Bearer is refused; absence is fine."""
    assert KEYCLOAK.refuse_type("jwt", {"typ": "Bearer"}) is None
    assert KEYCLOAK.refuse_type("jwt", {}) is None
    denial = KEYCLOAK.refuse_type("jwt", {"typ": typ})
    assert denial is not None
    assert denial.reason is Reason.TOKEN_TYPE
    assert GENERIC.refuse_type("jwt", {"typ": typ}) is None


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({}, set()),
        ({"scope": ""}, set()),
        ({"scope": "a b"}, {"a", "b"}),
        ({"scope": " a  b a "}, {"a", "b"}),
        ({"scope": ["a", "b"]}, {"a", "b"}),
        ({"scp": "a b"}, {"a", "b"}),
        ({"scp": ["a", "b"]}, {"a", "b"}),
        ({"scp": []}, set()),
        ({"scope": "a", "scp": "b"}, {"a"}),
    ],
)
def test_scopes(claims: dict[str, Any], scopes: set[str]) -> None:
    """Scopes come from scope, else scp, as one string or a list."""
    assert read_scopes(claims) == frozenset(scopes)


WRONG = [None, 7, True, {}, {"a": 1}, [1], ["a", None], [["a"]], ["a\n"], ["\x00"]]


@pytest.mark.parametrize(
    "value", [*WRONG, "a\nb", ["a b"], [f"s{i}" for i in range(MAX_NAMES + 1)]]
)
@pytest.mark.parametrize("name", ["scope", "scp"])
def test_scopes_of_a_wrong_type_are_refused(name: str, value: Any) -> None:
    """Anything but plain strings, or more than the bound, refuses the token."""
    denial = read_scopes({name: value})
    assert isinstance(denial, Denial)
    assert denial.reason is Reason.CLAIMS_MALFORMED


def test_roles_of_plain_profiles() -> None:
    """generic and rfc9068 read roles from the claim of that name."""
    for profile in (GENERIC, RFC9068):
        assert profile.read_roles({"roles": ["ADMIN", "USER"]}) == frozenset({"ADMIN", "USER"})
        assert profile.read_roles({"realm_access": {"roles": ["ADMIN"]}}) == frozenset()


def test_roles_of_keycloak() -> None:
    """keycloak reads realm roles and nothing else."""
    claims = {
        "realm_access": {"roles": ["USER"]},
        "roles": ["ADMIN"],
        "resource_access": {"account": {"roles": ["ADMIN"]}},
    }
    assert KEYCLOAK.read_roles(claims) == frozenset({"USER"})
    assert KEYCLOAK.read_roles({}) == frozenset()
    assert KEYCLOAK.read_roles({"realm_access": {}}) == frozenset()


@pytest.mark.parametrize("value", [*WRONG, "ADMIN", [f"r{i}" for i in range(MAX_NAMES + 1)]])
def test_roles_of_a_wrong_type_are_refused(value: Any) -> None:
    """A string where a list belongs is not read as one role, and the list is bounded."""
    for denial in (
        GENERIC.read_roles({"roles": value}),
        KEYCLOAK.read_roles({"realm_access": {"roles": value}}),
    ):
        assert isinstance(denial, Denial)
        assert denial.reason is Reason.CLAIMS_MALFORMED


@pytest.mark.parametrize("value", [None, [], "x", 1])
def test_realm_access_must_be_an_object(value: Any) -> None:
    """A realm_access that is not an object refuses the token."""
    denial = KEYCLOAK.read_roles({"realm_access": value})
    assert isinstance(denial, Denial)
    assert denial.reason is Reason.CLAIMS_MALFORMED


def test_the_largest_list_of_names_is_read() -> None:
    """Exactly the permitted number of roles is accepted."""
    roles = [f"r{i}" for i in range(MAX_NAMES)]
    assert GENERIC.read_roles({"roles": roles}) == frozenset(roles)
