"""The injector's own authority through years, in milliseconds: the clock is an argument."""

import ssl
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

from sidecar.kubernetes.certificates import (
    AUTHORITY_LIFE,
    AUTHORITY_RENEWED,
    BACKDATE,
    LEAF_LIFE,
    LEAF_RENEWED,
    SETTLE,
    Material,
    MaterialError,
    from_secret,
    renewed,
    service_names,
    to_secret,
)

NAMES = service_names("jwt-sidecar-injector", "jwt-sidecar-system")
NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def _leaf(material: Material) -> x509.Certificate:
    return x509.load_pem_x509_certificate(material.certificate)


def _bundle(material: Material) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(material.bundle)


def _is_trusted(leaf: bytes, bundle: bytes, now: datetime) -> bool:
    """Whether a caller that trusts *bundle* accepts *leaf* for the Service, as verifiers do."""
    store = x509.verification.Store(x509.load_pem_x509_certificates(bundle))
    verifier = (
        x509.verification.PolicyBuilder()
        .store(store)
        .time(now)
        .build_server_verifier(x509.DNSName(NAMES[0]))
    )
    try:
        verifier.verify(x509.load_pem_x509_certificate(leaf), [])
    except x509.verification.VerificationError:
        return False
    return True


def test_the_first_certificate_is_trusted_by_the_first_bundle() -> None:
    """For each name of the Service, and for its bare name that clients of the namespace use."""
    made = renewed(None, NAMES, NOW)
    assert NAMES[0] == "jwt-sidecar-injector.jwt-sidecar-system.svc"
    assert _is_trusted(made.certificate, made.bundle, NOW)
    names = _leaf(made).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == list(NAMES)
    ssl.create_default_context(cadata=made.bundle.decode())


@pytest.mark.parametrize(
    ("after", "is_new"),
    [
        (timedelta(0), False),
        (LEAF_LIFE - LEAF_RENEWED, False),
        (LEAF_LIFE - LEAF_RENEWED + SECOND, True),
    ],
)
def test_a_certificate_is_renewed_a_month_before_its_end(after: timedelta, is_new: bool) -> None:
    made = renewed(None, NAMES, NOW)
    later = renewed(made, NAMES, NOW + after)
    assert (later.certificate != made.certificate) is is_new
    assert (later is made) is not is_new
    assert later.authority == made.authority


@pytest.mark.parametrize("after", [timedelta(0), SECOND])
def test_an_authority_is_renewed_a_year_before_its_end(after: timedelta) -> None:
    made = renewed(None, NAMES, NOW)
    later = renewed(made, NAMES, NOW + AUTHORITY_LIFE - AUTHORITY_RENEWED + after)
    assert (later.authority != made.authority) is bool(after)


def test_nobody_ever_meets_a_certificate_that_it_does_not_know() -> None:
    """Whoever looks every half an hour, and is always one step behind, trusts what is served.

    Five years: two renewals of the authority, and the bundle is small again after each.
    """
    material = before = renewed(None, NAMES, NOW)
    sizes: set[int] = set()
    authorities = {material.authority}
    now, step = NOW, timedelta(days=20)
    end = NOW + timedelta(days=5 * 365)
    while now < end:
        # Slowly while something changes, else in strides.
        now += SETTLE / 2 if material != before or len(_bundle(material)) > 1 else step
        before, material = material, renewed(material, NAMES, now)
        authorities.add(material.authority)
        sizes.add(len(_bundle(material)))
        assert _is_trusted(material.certificate, before.bundle, now), now
        assert _is_trusted(before.certificate, material.bundle, now), now
    assert sizes == {1, 2}
    assert len(authorities) == 3


def test_after_a_long_sleep_everything_is_made_anew() -> None:
    """No injector ran for years: nothing that was trusted then is worth keeping."""
    made = renewed(None, NAMES, NOW)
    now = NOW + AUTHORITY_LIFE
    later = renewed(made, NAMES, now)
    assert _is_trusted(later.certificate, later.bundle, now)
    assert len(_bundle(later)) == 1


def test_other_names_are_given_a_certificate_of_the_same_authority() -> None:
    made = renewed(None, NAMES, NOW)
    other = service_names("other", "elsewhere")
    later = renewed(made, other, NOW)
    assert later.authority == made.authority
    names = _leaf(later).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == list(other)


def test_a_clock_that_is_behind_takes_it_too() -> None:
    made = renewed(None, NAMES, NOW)
    assert _is_trusted(made.certificate, made.bundle, NOW - BACKDATE + SECOND)


def test_a_secret_holds_all_of_it() -> None:
    made = renewed(None, NAMES, NOW)
    assert from_secret(to_secret(made)) == made
    assert "PRIVATE" not in repr(made)


@pytest.mark.parametrize("key", ["ca-key.pem", "ca.pem", "bundle.pem", "tls.crt", "tls.key"])
@pytest.mark.parametrize("value", [None, "", "%%%", "bm90aGluZw==", "foreign"])
def test_a_secret_that_somebody_spoiled_is_an_error(key: str, value: str | None) -> None:
    """And never an exception of another kind, nor a message that quotes it."""
    data: dict[str, object] = {**to_secret(renewed(None, NAMES, NOW)), key: value}
    if value == "foreign":
        data[key] = to_secret(renewed(None, NAMES, NOW))[key]
    with pytest.raises(MaterialError) as error:
        renewed(from_secret(data), NAMES, NOW)
    assert "PRIVATE" not in str(error.value)


@pytest.mark.parametrize("data", [None, [], {}, "text"])
def test_what_is_no_secret_of_ours_is_an_error(data: object) -> None:
    with pytest.raises(MaterialError):
        from_secret(data)
