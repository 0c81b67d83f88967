"""What the claims of a signed token must say (RFC 7519, section 4.1)."""

from math import inf, nan
from typing import Any

import pytest

from sidecar.core.claims import (
    MAX_NUMERIC_DATE,
    MAX_SUBJECT_LENGTH,
    IssuerPolicy,
    Lifetime,
    parse_claims,
    read_lifetime,
    read_principal,
)
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Principal
from tests.core.signing import ISSUER, NOW, claims

ABSENT: Any = object()
MAX_DETAIL = 320
"""Characters; what the token says is in there, so it must not be the sender's to choose."""


def policy(**changes: Any) -> IssuerPolicy:
    usual: dict[str, Any] = {
        "name": "shop",
        "issuer": ISSUER,
        "audiences": frozenset({"orders"}),
        "leeway_seconds": 30.0,
    }
    return IssuerPolicy(**{**usual, **changes})


def with_claim(name: str, value: Any) -> dict[str, Any]:
    changed = claims()
    changed.pop(name, None)
    return changed if value is ABSENT else {**changed, name: value}


def refused(claims_set: dict[str, Any], **changes: Any) -> Denial:
    denial = read_principal(claims_set, policy(**changes))
    assert isinstance(denial, Denial)
    assert len(denial.detail) <= MAX_DETAIL
    assert not denial.public
    return denial


def lifetime(claims_set: dict[str, Any], **changes: Any) -> Lifetime:
    value = read_lifetime(claims_set, policy(**changes))
    assert isinstance(value, Lifetime)
    return value


def at(value: Lifetime, now: float) -> Reason | None:
    denial = value.refuse(now)
    # The window is what a cached token is asked again; it must never disagree with the reason.
    assert (denial is None) is (value.valid_from <= now < value.valid_until)
    return None if denial is None else denial.reason


def test_a_good_token_gives_a_principal() -> None:
    """Issuer, subject, scopes and roles come from the claims and the policy."""
    said = claims(roles=["USER"])
    assert read_principal(said, policy()) == Principal(
        issuer_name="shop",
        issuer=ISSUER,
        subject="alice",
        scopes=frozenset({"read", "write"}),
        roles=frozenset({"USER"}),
        claims=said,
    )


@pytest.mark.parametrize("payload", [b"", b"[]", b"foo", b'{"sub":"a","sub":"b"}', b"\xff"])
def test_a_payload_that_is_no_claims_set_is_malformed(payload: bytes) -> None:
    """The payload must be one unambiguous JSON object."""
    denial = parse_claims(payload)
    assert isinstance(denial, Denial)
    assert denial.reason is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    ("subject", "reason"),
    [
        (ABSENT, Reason.CLAIM_MISSING),
        (None, Reason.CLAIM_MISSING),
        ("", Reason.CLAIMS_MALFORMED),
        (7, Reason.CLAIMS_MALFORMED),
        (True, Reason.CLAIMS_MALFORMED),
        (["alice"], Reason.CLAIMS_MALFORMED),
        ({"a": 1}, Reason.CLAIMS_MALFORMED),
        ("al\r\nice", Reason.CLAIMS_MALFORMED),
        ("al\x00ice", Reason.CLAIMS_MALFORMED),
        ("al\x85ice", Reason.CLAIMS_MALFORMED),
        (" admin", Reason.CLAIMS_MALFORMED),
        ("admin ", Reason.CLAIMS_MALFORMED),
        ("x" * (MAX_SUBJECT_LENGTH + 1), Reason.CLAIMS_MALFORMED),
    ],
)
def test_subjects_that_are_refused(subject: Any, reason: Reason) -> None:
    """The subject must be a non-empty plain string that survives a header field unchanged."""
    assert refused(with_claim("sub", subject)).reason is reason


@pytest.mark.parametrize("subject", ["a", "f:1:\u00e9l\u00e8ve d", "x" * MAX_SUBJECT_LENGTH])
def test_subjects_that_are_accepted(subject: str) -> None:
    """Any script, inner spaces and exactly the longest length are fine."""
    principal = read_principal(claims(sub=subject), policy())
    assert isinstance(principal, Principal)
    assert principal.subject == subject


@pytest.mark.parametrize("audience", ["orders", ["orders"], ["account", "orders"]])
def test_audiences_that_intersect(audience: Any) -> None:
    """One common audience is enough, as a string or in a list."""
    assert isinstance(read_principal(claims(aud=audience), policy()), Principal)


@pytest.mark.parametrize(
    ("audience", "reason"),
    [
        (ABSENT, Reason.AUDIENCE_MISMATCH),
        ("account", Reason.AUDIENCE_MISMATCH),
        ("Orders", Reason.AUDIENCE_MISMATCH),
        ("orders ", Reason.AUDIENCE_MISMATCH),
        ("", Reason.AUDIENCE_MISMATCH),
        ([], Reason.AUDIENCE_MISMATCH),
        (["account", "ord"], Reason.AUDIENCE_MISMATCH),
        (None, Reason.CLAIMS_MALFORMED),
        (7, Reason.CLAIMS_MALFORMED),
        ({"orders": 1}, Reason.CLAIMS_MALFORMED),
        (["orders", 7], Reason.CLAIMS_MALFORMED),
        ([["orders"]], Reason.CLAIMS_MALFORMED),
        (["orders"] * 600, Reason.CLAIMS_MALFORMED),
    ],
)
def test_audiences_that_are_refused(audience: Any, reason: Reason) -> None:
    """No common audience, a wrong type or too many refuse the token."""
    assert refused(with_claim("aud", audience)).reason is reason


def test_the_audience_detail_says_what_was_found_and_what_is_accepted() -> None:
    """The operator can see at once which audience to configure, in either place."""
    detail = refused(claims(aud=["account", "web"])).detail
    assert detail == (
        "the token's audience is [account, web]; this service accepts [orders]; "
        "the issuer decides it, per client or resource"
    )
    assert "has no aud" in refused(with_claim("aud", ABSENT)).detail
    hostile = refused(claims(aud=[f"a{i}" * 50 for i in range(99)])).detail
    assert hostile.isascii()


@pytest.mark.parametrize("audience", [ABSENT, "x", ["y"]])
def test_any_audience(audience: Any) -> None:
    """A policy without audiences accepts every audience and none."""
    principal = read_principal(with_claim("aud", audience), policy(audiences=None))
    assert isinstance(principal, Principal)


@pytest.mark.parametrize("name", ["aud", "client_id", "iat", "jti"])
def test_rfc9068_requires_its_claims(name: str) -> None:
    """The rfc9068 profile refuses a token without the claims of its section 2.2."""
    full = claims(client_id="web", jti="1")
    assert isinstance(read_principal(full, policy(profile="rfc9068")), Principal)
    del full[name]
    denial = refused(full, profile="rfc9068", audiences=None)
    assert denial.reason is Reason.CLAIM_MISSING
    assert name in denial.detail


@pytest.mark.parametrize("value", [None, 7, "", ["a"]])
@pytest.mark.parametrize("name", ["client_id", "jti"])
def test_rfc9068_claims_are_typed(name: str, value: Any) -> None:
    """client_id and jti must be non-empty strings under rfc9068."""
    full = {**claims(client_id="web", jti="1"), name: value}
    assert refused(full, profile="rfc9068").reason is Reason.CLAIMS_MALFORMED


@pytest.mark.parametrize("changes", [{"roles": "ADMIN"}, {"scope": 7}])
def test_scopes_and_roles_of_a_wrong_type_refuse_the_token(changes: dict[str, Any]) -> None:
    """A token whose rights cannot be read has none to be judged by."""
    assert refused({**claims(), **changes}).reason is Reason.CLAIMS_MALFORMED


def test_expiry_just_before_at_and_after() -> None:
    """The token is good until exp plus leeway, exclusive."""
    value = lifetime(claims(exp=NOW, iat=None))
    assert at(value, NOW + 30 - 0.001) is None
    assert at(value, NOW + 30) is Reason.TOKEN_EXPIRED
    assert at(value, NOW + 30.001) is Reason.TOKEN_EXPIRED
    assert value.expires_at == NOW


def test_not_before_just_before_at_and_after() -> None:
    """The token is good from nbf minus leeway, inclusive."""
    value = lifetime(claims(nbf=NOW, iat=None))
    assert at(value, NOW - 30.001) is Reason.TOKEN_NOT_YET_VALID
    assert at(value, NOW - 30) is None
    assert at(value, NOW - 29.999) is None
    assert value.not_before == NOW


def test_issued_in_the_future_just_before_at_and_after() -> None:
    """An iat ahead of our clock by more than the leeway is not valid yet."""
    value = lifetime(claims(iat=NOW))
    assert at(value, NOW - 30.001) is Reason.TOKEN_NOT_YET_VALID
    assert at(value, NOW - 30) is None
    assert value.not_before == -inf


def test_age_just_before_at_and_after() -> None:
    """A bounded age counts from iat, with leeway, even if exp is far away."""
    value = lifetime(claims(iat=NOW, exp=NOW + 9999), max_token_age_seconds=100)
    assert at(value, NOW + 129.999) is None
    assert at(value, NOW + 130) is Reason.TOKEN_TOO_OLD
    assert at(value, NOW + 130.001) is Reason.TOKEN_TOO_OLD
    assert at(value, NOW + 99999) is Reason.TOKEN_EXPIRED


def test_without_leeway_the_dates_are_exact() -> None:
    """A leeway of zero moves nothing."""
    value = lifetime(claims(nbf=NOW, iat=None, exp=NOW + 1), leeway_seconds=0)
    assert at(value, NOW - 0.001) is Reason.TOKEN_NOT_YET_VALID
    assert at(value, NOW) is None
    assert at(value, NOW + 1) is Reason.TOKEN_EXPIRED


@pytest.mark.parametrize("now", [nan, inf, -inf])
def test_a_broken_clock_refuses(now: float) -> None:
    """A clock reading that is no instant never lets a token with dates pass."""
    assert lifetime(claims()).refuse(now) is not None


def test_required_dates() -> None:
    """exp is required unless the policy says otherwise; iat only where age is bounded."""
    for changes, missing in (
        ({}, "exp"),
        ({"require_exp": False, "max_token_age_seconds": 60}, "iat"),
    ):
        denial = read_lifetime(claims(exp=None, iat=None), policy(**changes))
        assert isinstance(denial, Denial)
        assert denial.reason is Reason.CLAIM_MISSING
        assert missing in denial.detail
    value = lifetime(claims(exp=None, iat=None), require_exp=False)
    assert (value.expires_at, value.not_before) == (inf, -inf)
    assert at(value, NOW) is None


@pytest.mark.parametrize(
    "value",
    [None, "1800000000", "", True, False, [1], {}, -1, -0.5, nan, inf, MAX_NUMERIC_DATE + 1,
     10**400, 1e300],
)  # fmt: skip
@pytest.mark.parametrize("name", ["exp", "nbf", "iat"])
def test_dates_of_a_wrong_type_are_refused(name: str, value: Any) -> None:
    """Dates are JSON numbers from 0 to 2^53, and true is not a number."""
    denial = read_lifetime(with_claim(name, value), policy(require_exp=False))
    assert isinstance(denial, Denial)
    assert denial.reason is Reason.CLAIMS_MALFORMED
    assert f"token's {name} " in denial.detail


@pytest.mark.parametrize("value", [0, 0.0, 1800000000.25, MAX_NUMERIC_DATE])
def test_dates_in_range_are_read(value: Any) -> None:
    """Fractions and both ends of the range are dates (RFC 7519, section 2)."""
    assert lifetime(with_claim("exp", value)).expires_at == value


def test_a_policy_with_an_algorithm_we_cannot_check_is_an_error() -> None:
    """HS256 or a misspelt name in a policy is found when it is made, not at the first token."""
    with pytest.raises(ValueError, match="HS256"):
        policy(algorithms=frozenset({"RS256", "HS256"}))
