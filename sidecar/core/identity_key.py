"""The sidecar's own key, with which it tells its app who calls.

Owns the form of key and signature (RFC 7517, 7518, 8037). What is signed belongs to
``sidecar.core.signed_identity``, where a key file is to ``sidecar.config``.
"""

import hashlib
import json
from collections.abc import Callable
from typing import Any, Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from sidecar.core.encoding import base64url_encode
from sidecar.core.names import IDENTITY_TYPE
from sidecar.core.signed_identity import IdentityAlgorithm

MAX_KEY_FILE_BYTES: Final = 64 * 1024
"""Of a private key in PEM, with whatever stands around it."""

_P256_BYTES: Final = 32


class IdentityKey:
    """One private key and the algorithm it is used with. Its ``repr`` shows neither."""

    def __init__(
        self, algorithm: IdentityAlgorithm, public: dict[str, str], sign: Callable[[bytes], bytes]
    ) -> None:
        """*public* are the members of the JWK that make the key (RFC 7638, section 3.2)."""
        # RFC 7638: the same key has the same id, wherever and whenever it is read.
        thumbprint = hashlib.sha256(_compact(dict(sorted(public.items())))).digest()
        kid = base64url_encode(thumbprint).decode("ascii")
        self.jwk: Final = {**public, "kid": kid, "alg": algorithm, "use": "sig"}
        self.encoded_header: Final = base64url_encode(
            _compact({"alg": algorithm, "kid": kid, "typ": IDENTITY_TYPE})
        )
        self.signature_bytes: Final = 64
        self.sign: Final = sign

    def jwks(self, earlier: "IdentityKey | None" = None) -> bytes:
        """Return the key set with the public half, and that of an *earlier* key if there is one.

        RFC 7517, section 5.
        """
        keys = [self.jwk] if earlier is None else [self.jwk, earlier.jwk]
        return _compact({"keys": keys})


def generate(algorithm: IdentityAlgorithm) -> IdentityKey:
    """Return a fresh key."""
    match algorithm:
        case "ES256":
            return _of_p256(ec.generate_private_key(ec.SECP256R1()))
        case "EdDSA":
            return _of_ed25519(ed25519.Ed25519PrivateKey.generate())


def read_identity_key(pem: bytes) -> IdentityKey:
    """Return the key in *pem*. Raises ``ValueError`` with words that follow a path."""
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError:
        raise ValueError("is encrypted, and there is nobody to ask for a password") from None
    except Exception:  # cryptography has several, and says that there may be more
        raise ValueError("holds no usable private key in PEM") from None
    match key:
        case ec.EllipticCurvePrivateKey(curve=ec.SECP256R1()):
            return _of_p256(key)
        case ed25519.Ed25519PrivateKey():
            return _of_ed25519(key)
        case _:
            raise ValueError("holds a key that is neither on P-256 (ES256) nor Ed25519 (EdDSA)")


def _of_p256(key: ec.EllipticCurvePrivateKey) -> IdentityKey:
    numbers = key.public_key().public_numbers()
    scheme = ec.ECDSA(hashes.SHA256())

    def sign(signing_input: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(signing_input, scheme))
        return r.to_bytes(_P256_BYTES) + s.to_bytes(_P256_BYTES)

    return IdentityKey(
        "ES256",
        {"kty": "EC", "crv": "P-256", "x": _coordinate(numbers.x), "y": _coordinate(numbers.y)},
        sign,
    )


def _of_ed25519(key: ed25519.Ed25519PrivateKey) -> IdentityKey:
    point = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    public = {"kty": "OKP", "crv": "Ed25519", "x": base64url_encode(point).decode("ascii")}
    return IdentityKey("EdDSA", public, key.sign)


def _coordinate(number: int) -> str:
    return base64url_encode(number.to_bytes(_P256_BYTES)).decode("ascii")


def _compact(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")
