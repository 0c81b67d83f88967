"""Turn a JWKS document (RFC 7517) into keys that may check a signature, and choose among them.

Owns the choice of key; the check itself is in ``sidecar.core.signatures``. Fetching the document,
and deciding when to fetch it again, belong to ``sidecar.issuers``.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa

from sidecar.core.documents import found_instead
from sidecar.core.encoding import EncodingError, base64url_decode, json_object
from sidecar.core.jose import ALGORITHMS, MAX_KID_LENGTH, KeyUse
from sidecar.core.signatures import Ed25519Key, PublicKey, is_signed

MAX_DOCUMENT_BYTES: Final = 256 * 1024
MAX_KEYS: Final = 256
"""Entries of ``keys``; the largest public issuers publish about twenty."""
MAX_CANDIDATES: Final = 4
"""Keys tried for one token: every try costs a signature check that a caller can cause."""

_MIN_RSA_BITS: Final = 2048
_MAX_RSA_BITS: Final = 8192
_MAX_RSA_EXPONENT: Final = 2**64
_PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})

_Material = tuple[PublicKey, frozenset[str], bytes]
"""The key, the algorithms its type allows, and what identifies it."""

_RSA_ALGORITHMS: Final = frozenset(alg for alg in ALGORITHMS if alg[:2] in ("RS", "PS"))
# EdDSA says no curve and is that of the key; the other names say it (RFC 9864, section 2.2).
_ED25519_ALGORITHMS: Final = frozenset({"EdDSA", "Ed25519"})
_ED448_ALGORITHMS: Final = frozenset({"EdDSA", "Ed448"})
_CURVES: Final[Mapping[str, tuple[ec.EllipticCurve, int, str]]] = {
    # RFC 7518, section 6.2.1.1 and 3.4: curve, octets of a coordinate, its one algorithm
    "P-256": (ec.SECP256R1(), 32, "ES256"),
    "P-384": (ec.SECP384R1(), 48, "ES384"),
    "P-521": (ec.SECP521R1(), 66, "ES512"),
}


class KeySetError(Exception):
    """The document yields no key set. The message is for the operator and quotes nothing of it."""

    def __init__(self, message: str, exposed: frozenset[bytes] = frozenset()) -> None:
        super().__init__(message)
        self.exposed: Final = exposed
        """Fingerprints of keys whose private half the document has: anybody can sign with them."""


class _UnusableKeyError(Exception):
    """One entry of ``keys`` cannot check signatures for us and is skipped (RFC 7517, section 5)."""


@dataclass(frozen=True, slots=True)
class VerificationKey:
    """One public key and what its issuer published it for.

    Equal when name, permitted algorithms and key material are.
    """

    kid: str | None
    algorithms: frozenset[str]
    """What both the key's type and its own ``alg`` permit (RFC 8725, section 3.1)."""
    fingerprint: bytes
    """SHA-256 over type and key material."""
    public_key: PublicKey = field(repr=False, compare=False)

    def verify(self, alg: str, signing_input: bytes, signature: bytes) -> bool:
        """Say whether *signature* is this key's over *signing_input*; *alg* must be permitted."""
        return alg in self.algorithms and is_signed(alg, self.public_key, signing_input, signature)


class KeySet:
    """The usable keys of one issuer at one moment. Immutable; equal when its keys are."""

    __slots__ = ("_any_name", "_by_name", "keys", "kids", "skipped")

    def __init__(self, keys: Iterable[VerificationKey], skipped: int = 0) -> None:
        self.keys: Final = tuple(dict.fromkeys(keys))
        self.kids: Final = frozenset(key.kid for key in self.keys if key.kid is not None)
        self.skipped: Final = skipped
        """Published entries that cannot be used here, for a warning."""
        self._any_name: dict[str, list[VerificationKey]] = {}
        self._by_name: dict[tuple[str | None, str], list[VerificationKey]] = {}
        for key in self.keys:
            for alg in key.algorithms:
                _append(self._any_name.setdefault(alg, []), key)
                _append(self._by_name.setdefault((key.kid, alg), []), key)

    def select(self, kid: str | None, alg: str) -> tuple[VerificationKey, ...]:
        """Return at most four keys that may check a token with this header.

        Keys named *kid*, in the order published; keys without a name where none has that name;
        any fitting key where the token names none. The token names both values, so neither is
        trusted alone: a key is never used with an algorithm its issuer did not publish it for.
        """
        if kid is None:
            return tuple(self._any_name.get(alg, ()))
        return tuple(self._by_name.get((kid if kid in self.kids else None, alg), ()))

    def __len__(self) -> int:
        return len(self.keys)

    def __eq__(self, other: object) -> bool:
        return self.keys == other.keys if isinstance(other, KeySet) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.keys)

    def __repr__(self) -> str:
        return f"KeySet({len(self.keys)} keys, {self.skipped} skipped)"


def _append(candidates: list[VerificationKey], key: VerificationKey) -> None:
    if len(candidates) < MAX_CANDIDATES:
        candidates.append(key)


def parse_jwks(document: bytes, use: KeyUse = "sig") -> KeySet:
    """Read a JWK Set (RFC 7517, section 5) of at most 256 KiB and 256 entries.

    An entry that cannot be used is skipped and counted, so that an issuer may add key types we
    do not know. So is a key whose private half the document has, wherever it stands in it. With
    *use* ``jwt-svid`` the document is a SPIFFE bundle, and only entries of that use with a ``kid``
    are taken (JWT-SVID, section 6).

    Raises ``KeySetError`` when the document is not a JWK Set or nothing is usable.
    """
    if len(document) > MAX_DOCUMENT_BYTES:
        raise KeySetError(f"the key set is larger than {MAX_DOCUMENT_BYTES} bytes")
    try:
        entries = json_object(document).get("keys")
    except EncodingError as error:
        raise KeySetError(f"the key set is {error}{found_instead(document)}") from None
    if not isinstance(entries, list):
        raise KeySetError("the key set has no array named keys")
    if len(entries) > MAX_KEYS:
        raise KeySetError(f"the key set has more than {MAX_KEYS} keys")
    keys: list[VerificationKey] = []
    for entry in entries:
        try:
            keys.append(_read_key(entry, use))
        except (_UnusableKeyError, UnsupportedAlgorithm, ValueError):
            continue
    exposed = frozenset(_exposed(entries))
    keys = [key for key in keys if key.fingerprint not in exposed]
    skipped = len(entries) - len(keys)
    if not keys:
        raise KeySetError(f"the key set has no usable key ({skipped} skipped)", exposed)
    return KeySet(keys, skipped)


def _exposed(entries: list[object]) -> Iterator[bytes]:
    """Give the fingerprints of the keys that stand here with their private half."""
    for entry in entries:
        if isinstance(entry, dict) and not _PRIVATE_MEMBERS.isdisjoint(entry):
            with suppress(_UnusableKeyError, UnsupportedAlgorithm, ValueError):
                yield hashlib.sha256(_read_material(entry)[2]).digest()


def _read_key(entry: object, use: KeyUse) -> VerificationKey:
    if not isinstance(entry, dict):
        raise _UnusableKeyError
    if not _PRIVATE_MEMBERS.isdisjoint(entry):
        # Whoever can read the key set could sign with it: the key proves nothing.
        raise _UnusableKeyError
    # A bundle also holds the keys of X.509-SVIDs, and says of each what it is for.
    if entry.get("use", "sig") != use or not _may_verify(entry.get("key_ops", ["verify"])):
        raise _UnusableKeyError
    kid = entry.get("kid")
    if kid is None and use == "jwt-svid":
        raise _UnusableKeyError
    if kid is not None and not (isinstance(kid, str) and len(kid) <= MAX_KID_LENGTH):
        raise _UnusableKeyError
    public_key, algorithms, material = _read_material(entry)
    if "alg" in entry:
        algorithms = frozenset(alg for alg in algorithms if alg == entry["alg"])
        if not algorithms:
            raise _UnusableKeyError
    return VerificationKey(kid, algorithms, hashlib.sha256(material).digest(), public_key)


def _may_verify(operations: object) -> bool:
    return isinstance(operations, list) and "verify" in operations


def _read_material(entry: dict[str, Any]) -> _Material:
    match entry.get("kty"), entry.get("crv"):
        case "RSA", _:
            return _read_rsa(_member(entry, "n"), _member(entry, "e"))
        case "EC", str(curve) if curve in _CURVES:
            return _read_ec(curve, _member(entry, "x"), _member(entry, "y"))
        case "OKP", "Ed25519":
            x = _member(entry, "x")
            return Ed25519Key(x), _ED25519_ALGORITHMS, b"Ed25519" + x
        case "OKP", "Ed448":
            x = _member(entry, "x")
            return ed448.Ed448PublicKey.from_public_bytes(x), _ED448_ALGORITHMS, b"Ed448" + x
        case _:
            raise _UnusableKeyError


def _read_rsa(modulus: bytes, exponent: bytes) -> _Material:
    n, e = int.from_bytes(modulus), int.from_bytes(exponent)
    # NIST SP 800-131A from below. From above, a check must stay cheap: a caller can cause many.
    if not _MIN_RSA_BITS <= n.bit_length() <= _MAX_RSA_BITS or not 3 <= e < _MAX_RSA_EXPONENT:
        raise _UnusableKeyError
    return rsa.RSAPublicNumbers(e, n).public_key(), _RSA_ALGORITHMS, f"RSA {n:x} {e:x}".encode()


def _read_ec(name: str, x: bytes, y: bytes) -> _Material:
    curve, length, alg = _CURVES[name]
    # Shorter is wrong too (RFC 7518, section 6.2.1.2), but some issuers drop leading zeros, which
    # breaks one key in 128 for no gain: the number is the same, and it is on the curve or not.
    if len(x) > length or len(y) > length:
        raise _UnusableKeyError
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), curve)
    material = f"{name} {numbers.x:x} {numbers.y:x}".encode()
    return numbers.public_key(), frozenset({alg}), material


def _member(entry: dict[str, Any], name: str) -> bytes:
    text = entry.get(name)
    if not isinstance(text, str) or not text:
        raise _UnusableKeyError
    return base64url_decode(text.encode())
