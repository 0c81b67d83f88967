"""Real keys and real signatures for the tests of the core, made once per process."""

import base64
import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from jwt.algorithms import get_default_algorithms

from sidecar.core.keyset import KeySet, parse_jwks

NOW = 1_800_000_000.0
ISSUER = "https://issuer.test"
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def private_key(alg: str, name: str = "a") -> Any:
    """Return the key called *name* that signs with *alg*; the RSA algorithms share theirs."""
    if alg[:2] in ("RS", "PS"):
        return _private_key("RSA", name)
    return _private_key("EdDSA" if alg == "Ed25519" else alg, name)


@cache
def _private_key(kind: str, name: str) -> Any:
    match kind:
        case "RSA":
            return rsa.generate_private_key(65537, 2048)
        case "Ed448":
            return ed448.Ed448PrivateKey.generate()
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return ec.generate_private_key(CURVES[kind])


@cache
def short_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 1024)


def jwk(key: Any, **members: Any) -> dict[str, Any]:
    """Publish the public half of *key* as a JWK with *members* added or, if ``None``, removed."""
    public = key.public_key()
    match public:
        case rsa.RSAPublicKey():
            family = "RS256"
        case ec.EllipticCurvePublicKey():
            family = "ES256"
        case _:
            family = "EdDSA"
    published = get_default_algorithms()[family].to_jwk(public, as_dict=True)
    published.pop("key_ops", None)
    merged = {**published, **members}
    return {name: value for name, value in merged.items() if value is not None}


def jwks(*keys: dict[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def key_set(alg: str = "RS256", kid: str | None = "a", name: str = "a") -> KeySet:
    return parse_jwks(jwks(jwk(private_key(alg, name), kid=kid)))


def claims(**changes: Any) -> dict[str, Any]:
    """Return the claims of a good access token with *changes*; ``None`` removes one."""
    good = {
        "iss": ISSUER,
        "sub": "alice",
        "aud": "orders",
        "exp": NOW + 300,
        "iat": NOW - 10,
        "scope": "read write",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def sign(
    payload: dict[str, Any] | bytes,
    *,
    alg: str = "RS256",
    key: Any = None,
    header: dict[str, Any] | bytes | None = None,
) -> bytes:
    """Sign *payload* as it is. *header* members replace or, if ``None``, remove the usual ones."""
    if isinstance(header, bytes):
        protected = header
    else:
        merged = {"alg": alg, "kid": "a", "typ": "JWT", **(header or {})}
        protected = json.dumps(
            {name: value for name, value in merged.items() if value is not None}
        ).encode()
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    signing_input = f"{b64(protected)}.{b64(body)}".encode()
    signer = key if key is not None else private_key(alg)
    name = "EdDSA" if alg in ("Ed25519", "Ed448") else alg
    signature = get_default_algorithms()[name].sign(signing_input, signer)
    return signing_input + b"." + b64(signature).encode()
