"""The injector's own authority and serving certificate: made, kept and renewed, without I/O.

A new authority is trusted before anything it signed is served, and an old one for as long as
something it signed may be: the bundle holds both meanwhile, so that no moment exists at which the
API server sees a certificate that it does not know.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE: Final = timedelta(days=3 * 365)
AUTHORITY_RENEWED: Final = timedelta(days=365)
"""Before its end."""
LEAF_LIFE: Final = timedelta(days=90)
LEAF_RENEWED: Final = timedelta(days=30)
SETTLE: Final = timedelta(hours=1)
"""Until every replica and every API server has seen what was written: both look each minute."""
BACKDATE: Final = timedelta(minutes=5)
"""For clocks that are behind."""
MAX_AUTHORITIES: Final = 4

_FIELDS: Final = {
    "authority_key": "ca-key.pem",
    "authority": "ca.pem",
    "bundle": "bundle.pem",
    "certificate": "tls.crt",
    "key": "tls.key",
}


class MaterialError(ValueError):
    """What was kept is no use. The message is one line, without any of it."""


@dataclass(frozen=True, slots=True)
class Material:
    """All that replicas share, in PEM."""

    authority_key: bytes = field(repr=False)
    authority: bytes
    bundle: bytes
    """What callers trust: the authority, and older ones while they are needed."""
    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Known:
    authority_key: ec.EllipticCurvePrivateKey
    authority: x509.Certificate
    bundle: Sequence[x509.Certificate]
    leaf: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def service_names(service: str, namespace: str) -> tuple[str, ...]:
    """Return the names by which a Service is called, the API server's own first."""
    return (
        f"{service}.{namespace}.svc",
        f"{service}.{namespace}.svc.cluster.local",
        f"{service}.{namespace}",
        service,
    )


def renewed(material: Material | None, names: Sequence[str], now: datetime) -> Material:
    """Return what is to be kept at *now*: *material* itself where nothing is due.

    Raises ``MaterialError`` where *material* cannot be read: the caller decides to do without.
    """
    if material is None:
        return _first(names, now)
    known = _read(material)
    key, authority, bundle = known.authority_key, known.authority, list(known.bundle)
    if now >= authority.not_valid_after_utc:
        return _first(names, now)
    if authority.not_valid_after_utc - now < AUTHORITY_RENEWED:
        key = ec.generate_private_key(ec.SECP256R1())
        authority = _authority(key, now)
        bundle = [authority, *bundle][:MAX_AUTHORITIES]
    leaf, leaf_key = known.leaf, known.key
    is_foreign = not _signed_by(leaf, authority)
    if _is_due(leaf, names, now) or (is_foreign and _is_settled(authority, now)):
        leaf_key = ec.generate_private_key(ec.SECP256R1())
        signer = _settled_signer(known, key, authority, now)
        leaf = _leaf(leaf_key, names, *signer, now)
    elif not is_foreign and _is_settled(leaf, now):
        bundle = [authority]  # nothing that another one signed is served any more
    if (leaf, authority, bundle) == (known.leaf, known.authority, list(known.bundle)):
        return material
    return Material(
        _pem(key), _certificate_pem(authority), b"".join(map(_certificate_pem, bundle)),
        _certificate_pem(leaf), _pem(leaf_key),
    )  # fmt: skip


def _settled_signer(
    known: _Known, key: ec.EllipticCurvePrivateKey, authority: x509.Certificate, now: datetime
) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    """Return who signs: the new authority only where everybody knows it by now."""
    if _is_settled(authority, now) or authority == known.authority:
        return key, authority
    return known.authority_key, known.authority


def _is_due(leaf: x509.Certificate, names: Sequence[str], now: datetime) -> bool:
    alternative = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    has_names = alternative.get_values_for_type(x509.DNSName) == list(names)
    return leaf.not_valid_after_utc - now < LEAF_RENEWED or not has_names


def _is_settled(certificate: x509.Certificate, now: datetime) -> bool:
    return now >= certificate.not_valid_before_utc + BACKDATE + SETTLE


def _first(names: Sequence[str], now: datetime) -> Material:
    key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _authority(key, now)
    leaf = _leaf(leaf_key, names, key, authority, now)
    pem = _certificate_pem(authority)
    return Material(_pem(key), pem, pem, _certificate_pem(leaf), _pem(leaf_key))


def _authority(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    # The moment in the name: a verifier must tell two authorities apart by their subjects.
    common = f"jwt-sidecar-injector-ca {now:%Y%m%d%H%M%S}"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
    return (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(False, False, False, False, False, True, True, False, False),
            critical=True,
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    key: ec.EllipticCurvePrivateKey,
    names: Sequence[str],
    authority_key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    now: datetime,
) -> x509.Certificate:
    # A common name has 64 characters at most, and nobody compares it any more (RFC 9110, 4.3.4).
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jwt-sidecar-injector")])
    return (
        x509.CertificateBuilder(
            authority.subject, subject, key.public_key(), x509.random_serial_number()
        )
        .not_valid_before(now - BACKDATE)
        .not_valid_after(min(now + LEAF_LIFE, authority.not_valid_after_utc))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, False, False, False, False),
            critical=True,
        )
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()),
            critical=False,
        )
        .sign(authority_key, hashes.SHA256())
    )


def from_secret(data: object) -> Material:
    """Return what the ``data`` of a Secret holds. Raises ``MaterialError``."""
    if not isinstance(data, Mapping):
        raise MaterialError("it has no data")
    values: dict[str, bytes] = {}
    for name, key in _FIELDS.items():
        text = data.get(key)
        if not isinstance(text, str) or not text:
            raise MaterialError(f"it has no {key}")
        try:
            values[name] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise MaterialError(f"its {key} is not base64") from None
    return Material(**values)


def to_secret(material: Material) -> dict[str, str]:
    """Return *material* as the ``data`` of a Secret."""
    return {
        key: base64.b64encode(getattr(material, name)).decode("ascii")
        for name, key in _FIELDS.items()
    }


def _read(material: Material) -> _Known:
    try:
        authority = x509.load_pem_x509_certificate(material.authority)
        bundle = x509.load_pem_x509_certificates(material.bundle)
        leaf = x509.load_pem_x509_certificate(material.certificate)
        authority_key = load_pem_private_key(material.authority_key, None)
        key = load_pem_private_key(material.key, None)
    except Exception:  # cryptography has several, and says that there may be more
        raise MaterialError("it holds something that is not what its name says") from None
    if not isinstance(authority_key, ec.EllipticCurvePrivateKey) or not isinstance(
        key, ec.EllipticCurvePrivateKey
    ):
        raise MaterialError("it holds keys that are not ours")
    if authority_key.public_key() != authority.public_key() or authority not in bundle:
        raise MaterialError("its authority does not fit its key or its bundle")
    if key.public_key() != leaf.public_key():
        raise MaterialError("its certificate does not fit its key")
    if not any(_signed_by(leaf, each) for each in bundle):
        raise MaterialError("its certificate is of none of its authorities")
    return _Known(authority_key, authority, bundle, leaf, key)


def _signed_by(leaf: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
