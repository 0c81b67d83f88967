"""The asymmetric signature algorithms of JWS (RFC 7518, 3; RFC 8037, 3.1; RFC 9864, 2.2).

Owns the form of a signature; the mathematics is OpenSSL's, and libsodium's for Ed25519. Whether a
key may be used with an algorithm at all belongs to ``sidecar.core.keyset``.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from sidecar.core.digests import sha256, sha384, sha512

_ED25519_SIGNATURE_BYTES: Final = 64


class Ed25519Key:
    """A public key of RFC 8032, section 5.1.

    libsodium's check takes two thirds of the time of OpenSSL's, and refuses keys and signatures
    of small order besides, which fit messages that nobody signed. Its library is loaded with the
    first such key: most pods never see one.
    """

    __slots__ = ("_open", "_point", "_refusal")

    def __init__(self, point: bytes) -> None:
        """Raise ``ValueError`` unless *point* has 32 octets."""
        from nacl.bindings import crypto_sign_open, crypto_sign_PUBLICKEYBYTES
        from nacl.exceptions import BadSignatureError

        if len(point) != crypto_sign_PUBLICKEYBYTES:
            raise ValueError("not an Ed25519 key")
        self._open: Final = crypto_sign_open
        self._point: Final = point
        self._refusal: Final = BadSignatureError

    def verify(self, signature: bytes, signed: bytes) -> None:
        """Raise ``InvalidSignature`` unless *signature* is this key's over *signed*."""
        if len(signature) != _ED25519_SIGNATURE_BYTES:
            raise InvalidSignature
        try:
            self._open(signature + signed, self._point)
        except self._refusal:
            raise InvalidSignature from None


PublicKey: TypeAlias = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | Ed25519Key | ed448.Ed448PublicKey
)
_Check = Callable[[Any, bytes, bytes], None]
"""Key, what was signed, signature; raises ``InvalidSignature``."""


def is_signed(alg: str, key: PublicKey, signing_input: bytes, signature: bytes) -> bool:
    """Say whether *signature* is that of *key* over *signing_input*. *alg* must fit the key."""
    try:
        _CHECKS[alg](key, signing_input, signature)
    except InvalidSignature:
        return False
    return True


class _Hash(NamedTuple):
    """Hashing here and not in ``cryptography`` takes a tenth off the check of an RSA signature."""

    of: Callable[[bytes], bytes]
    algorithm: hashes.HashAlgorithm
    """For ``cryptography``, which is handed the digest."""


def _rsa(scheme: padding.AsymmetricPadding, hash_: _Hash) -> _Check:
    of, algorithm = hash_.of, Prehashed(hash_.algorithm)

    def check(key: Any, signing_input: bytes, signature: bytes) -> None:
        # RFC 8017, 8.1.2: exactly as long as the modulus. OpenSSL's PSS also takes one without its
        # leading zeros, and the same token would have a second spelling.
        if len(signature) != (key.key_size + 7) // 8:
            raise InvalidSignature
        key.verify(signature, of(signing_input), scheme, algorithm)

    return check


def _pkcs1(hash_: _Hash) -> _Check:
    return _rsa(padding.PKCS1v15(), hash_)


def _pss(hash_: _Hash) -> _Check:
    # Salt as long as the digest (RFC 7518, 3.5).
    algorithm = hash_.algorithm
    return _rsa(padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), hash_)


def _ecdsa(number_bytes: int, hash_: _Hash) -> _Check:
    """*number_bytes*: of each of the two numbers that a signature is made of (RFC 7518, 3.4)."""
    of, scheme = hash_.of, ec.ECDSA(Prehashed(hash_.algorithm))

    def check(key: Any, signing_input: bytes, signature: bytes) -> None:
        if len(signature) != 2 * number_bytes:
            raise InvalidSignature
        r = int.from_bytes(signature[:number_bytes])
        s = int.from_bytes(signature[number_bytes:])
        key.verify(encode_dss_signature(r, s), of(signing_input), scheme)

    return check


def _eddsa(key: Any, signing_input: bytes, signature: bytes) -> None:
    key.verify(signature, signing_input)


_SHA256: Final = _Hash(sha256, hashes.SHA256())
_SHA384: Final = _Hash(sha384, hashes.SHA384())
_SHA512: Final = _Hash(sha512, hashes.SHA512())

_CHECKS: Final[Mapping[str, _Check]] = {
    "RS256": _pkcs1(_SHA256),
    "RS384": _pkcs1(_SHA384),
    "RS512": _pkcs1(_SHA512),
    "PS256": _pss(_SHA256),
    "PS384": _pss(_SHA384),
    "PS512": _pss(_SHA512),
    "ES256": _ecdsa(32, _SHA256),
    "ES384": _ecdsa(48, _SHA384),
    "ES512": _ecdsa(66, _SHA512),
    "EdDSA": _eddsa,
    "Ed25519": _eddsa,
    "Ed448": _eddsa,
}
