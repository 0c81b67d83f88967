"""Keys of an issuer and the tokens they sign: the size and content of a real access token."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

ISSUER: Final = "https://bench.example"
AUDIENCE: Final = "bench"
LIFETIME_SECONDS: Final = 24 * 3600

ALGORITHMS: Final = ("RS256", "ES256", "EdDSA")
Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Signer:
    """An issuer with one key for each of ``ALGORITHMS``: RSA of 2048 bits, P-256, Ed25519."""

    keys: Mapping[str, Key]

    @classmethod
    def generate(cls) -> "Signer":
        return cls(
            {
                "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
                "ES256": ec.generate_private_key(ec.SECP256R1()),
                "EdDSA": ed25519.Ed25519PrivateKey.generate(),
            }
        )

    def jwks(self) -> str:
        """Return the public halves as a JWKS document (RFC 7517)."""
        keys = [
            {**_public(key), "kid": f"bench-{algorithm}", "alg": algorithm, "use": "sig"}
            for algorithm, key in self.keys.items()
        ]
        return json.dumps({"keys": keys})

    def public_pem(self, algorithm: str) -> str:
        """Return the public half of the key of *algorithm*, for who checks signatures alone."""
        key = self.keys[algorithm].public_key()
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def token(self, *, serial: int = 0, algorithm: str = "RS256") -> str:
        """Sign about 900 bytes; *serial* makes tokens of different users."""
        headers = {"kid": f"bench-{algorithm}"}
        return jwt.encode(
            _claims(serial), self.keys[algorithm], algorithm=algorithm, headers=headers
        )


def _public(key: Key) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        return RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)


def _claims(serial: int) -> dict[str, Any]:
    now = int(time.time())
    return {
        "iss": ISSUER,
        "aud": [AUDIENCE],
        "sub": f"6f1c2d52-8a35-4c0b-9a0e-{serial:012x}",
        "iat": now,
        "exp": now + LIFETIME_SECONDS,
        "jti": f"0b7c9f64-30f5-4f3a-8f6e-{serial:012x}",
        "azp": "web-shop",
        "scope": "openid profile.read orders.read",
        "realm_access": {"roles": ["USER", "CUSTOMER"]},
        "preferred_username": "alice",
        "email": "alice@example.com",
    }
