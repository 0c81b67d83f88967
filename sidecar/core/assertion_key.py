"""The key with which a client signs who it is (RFC 7523, section 2.2).

Owns the forms that such a key comes in, and which algorithm goes with which. What is signed belongs
to ``sidecar.credentials.client_authentication``, where the file is to ``sidecar.config``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from sidecar.core.digests import sha256
from sidecar.core.encoding import EncodingError, base64url_encode, json_object

MAX_KEY_FILE_BYTES: Final = 64 * 1024
LEAST_RSA_BITS: Final = 2048  # RFC 7518, sections 3.3 and 3.5

_RSA: Final = ("RS256", "PS256", "RS384", "RS512", "PS384", "PS512")
_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ALGORITHMS: Final = (*_RSA, *_CURVES.values(), "EdDSA")

_PrivateKey = (
    rsa.RSAPrivateKey
    | ec.EllipticCurvePrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)


class AssertionKey:
    """One private key, and the algorithm it is used with. Its ``repr`` shows neither."""

    def __init__(self, key: _PrivateKey, algorithm: str, key_id: str) -> None:
        self._key = key
        self._headers = {"kid": key_id} if key_id else {}
        self.algorithm: Final = algorithm

    def fits(self, certificate: "KeyCertificate") -> bool:
        """Whether *certificate* is one of this key."""
        return bool(self._key.public_key() == certificate.public_key)

    def sign(self, claims: Mapping[str, Any], certificate: "KeyCertificate | None" = None) -> str:
        """Return *claims* as a compact JWS (RFC 7519) that names *certificate*, if there is one."""
        headers = dict(self._headers)
        if certificate is not None:
            headers["x5t#S256"] = certificate.thumbprint  # RFC 7515, section 4.1.8
        return jwt.encode(dict(claims), self._key, self.algorithm, headers=headers)


@dataclass(frozen=True, slots=True)
class KeyCertificate:
    """What a certificate says of a key, and the name by which servers know it."""

    public_key: Any
    thumbprint: str


def read_key_certificate(content: bytes) -> KeyCertificate:
    """Return the first certificate in *content*, which is PEM.

    Raises ``ValueError`` with words that follow a path.
    """
    try:
        first = x509.load_pem_x509_certificates(content)[0]
        key = first.public_key()
    except Exception:  # cryptography has several, one for each kind of key it does not know
        raise ValueError("holds no usable certificate in PEM") from None
    digest = sha256(first.public_bytes(Encoding.DER))
    return KeyCertificate(key, base64url_encode(digest).decode("ascii"))


def read_assertion_key(content: bytes, *, algorithm: str = "", key_id: str = "") -> AssertionKey:
    """Return the private key in *content*, which is PEM or a JWK (RFC 7517).

    Without *algorithm* and *key_id* those of the JWK are used, or the first algorithm that fits.
    Raises ``ValueError`` with words that follow a path, and nothing of the file in them.
    """
    members: Mapping[str, Any] = {}
    if content.lstrip()[:1] == b"{":
        key, members = _of_jwk(content)
    else:
        key = _of_pem(content)
    fitting = _fitting(key)
    chosen = algorithm or members.get("alg") or fitting[0]
    if chosen not in fitting:
        raise ValueError(f"holds a key for {' or '.join(fitting)}, and not for {_known(chosen)}")
    named = members.get("kid", "")
    return AssertionKey(key, chosen, key_id or (named if isinstance(named, str) else ""))


def _of_pem(content: bytes) -> _PrivateKey:
    try:
        key = load_pem_private_key(content, password=None)
    except TypeError:
        raise ValueError("is encrypted, and there is nobody to ask for a password") from None
    except Exception:  # cryptography has several, and says that there may be more
        raise ValueError("holds no usable private key in PEM or as a JWK") from None
    return _usable(key)


def _of_jwk(content: bytes) -> tuple[_PrivateKey, Mapping[str, Any]]:
    try:
        members = json_object(content)
    except EncodingError as error:
        raise ValueError(f"is {error}") from None
    if "keys" in members:
        raise ValueError("is a set of keys; one private JWK is needed")
    if "d" not in members:
        raise ValueError("is a JWK without its private part (`d`)")
    readers: dict[str, Any] = {
        "RSA": jwt.algorithms.RSAAlgorithm,
        "EC": jwt.algorithms.ECAlgorithm,
        "OKP": jwt.algorithms.OKPAlgorithm,
    }
    reader = readers.get(str(members.get("kty")))
    if reader is None:
        raise ValueError("is a JWK whose `kty` is none of RSA, EC and OKP")
    try:
        key = reader.from_jwk(dict(members))
    except Exception:  # PyJWT's own, and whatever cryptography has
        raise ValueError("is no usable private JWK") from None
    return _usable(key), members


def _usable(key: object) -> _PrivateKey:
    match key:
        case rsa.RSAPrivateKey() if key.key_size < LEAST_RSA_BITS:
            raise ValueError(f"holds an RSA key of under {LEAST_RSA_BITS} bits")
        case (
            rsa.RSAPrivateKey()
            | ed25519.Ed25519PrivateKey()
            | ed448.Ed448PrivateKey()
            | ec.EllipticCurvePrivateKey()
        ):
            return key
        case _:
            raise ValueError("holds a private key of a kind that signs no JWT")


def _fitting(key: _PrivateKey) -> tuple[str, ...]:
    match key:
        case rsa.RSAPrivateKey():
            return _RSA
        case ec.EllipticCurvePrivateKey():
            if key.curve.name not in _CURVES:
                raise ValueError("holds a key on a curve other than P-256, P-384 and P-521")
            return (_CURVES[key.curve.name],)
        case _:
            return ("EdDSA",)


def _known(algorithm: object) -> str:
    """Name what a JWK asks for only where it is one that exists."""
    return algorithm if isinstance(algorithm, str) and algorithm in ALGORITHMS else "another"
