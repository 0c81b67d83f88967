"""What counts as a bearer token in Authorization (RFC 6750, section 2.1)."""

import pytest

from sidecar.core.bearer import read_bearer
from sidecar.core.outcome import Denial, Reason


def test_no_field_is_no_credential() -> None:
    """A request without Authorization has no credential, which is not an error here."""
    assert read_bearer([]) is None


@pytest.mark.parametrize(
    "value",
    [b"Bearer abc.def-_~+/==", b"bearer abc.def-_~+/==", b"BEARER   abc.def-_~+/=="],
)
def test_the_scheme_is_case_insensitive(value: bytes) -> None:
    """The token is returned whatever the case of the scheme and the number of spaces after it."""
    assert read_bearer([value]) == b"abc.def-_~+/=="


def test_two_fields_are_refused() -> None:
    """Two Authorization fields are refused even when they are equal."""
    denial = read_bearer([b"Bearer a", b"Bearer a"])
    assert isinstance(denial, Denial)
    assert denial.reason is Reason.TOKEN_REPEATED


@pytest.mark.parametrize(
    "value",
    [
        b"Bearer",
        b"Bearer ",
        b"Bearer    ",
        b"Bearer a b",
        b"Bearer a, Bearer b",
        b"Bearer =",
        b"Bearer ==a",
        b"Bearer a=b",
        b"Bearer a\tb",
        b"Bearer \xff",
        b"Bearer a\x00",
        b'Bearer "a"',
    ],
)
def test_a_bearer_without_proper_token_is_malformed(value: bytes) -> None:
    """What follows Bearer must be one b64token."""
    denial = read_bearer([value])
    assert isinstance(denial, Denial)
    assert denial.reason is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    "value",
    [b"", b"Basic czNjcjN0OnBhc3M=", b"czNjcjN0", b"Bearerczncjn0", b"\xff\xfe", b"a b c"],
)
def test_another_scheme_is_not_taken_for_no_credential(value: bytes) -> None:
    """Anything but Bearer is a denial, so an optional route does not wave it through."""
    denial = read_bearer([value])
    assert isinstance(denial, Denial)
    assert denial.reason is Reason.TOKEN_MISSING


@pytest.mark.parametrize(
    "value", [b"Basic s3cr3t", b"s3cr3t", b"s3cr3t more", b"Bearer s3cr3t s3cr3t", b"Digest s3cr3t"]
)
def test_no_denial_repeats_what_was_sent(value: bytes) -> None:
    """The detail never contains the credential, also when it was sent without a scheme."""
    denial = read_bearer([value])
    assert isinstance(denial, Denial)
    assert "s3cr3t" not in denial.detail


def test_a_known_scheme_is_named() -> None:
    """The operator learns which other scheme the caller used."""
    denial = read_bearer([b"Basic abc"])
    assert isinstance(denial, Denial)
    assert "scheme basic" in denial.detail
