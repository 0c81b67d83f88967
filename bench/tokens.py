"""One RSA key and the tokens it signs: the size and content of a real access token."""

import json
import time
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

ISSUER: Final = "https://bench.example"
AUDIENCE: Final = "bench"
LIFETIME_SECONDS: Final = 24 * 3600


@dataclass(frozen=True)
class Signer:
    """An issuer with a single RS256 key of 2048 bits."""

    key: rsa.RSAPrivateKey

    @classmethod
    def generate(cls) -> "Signer":
        return cls(rsa.generate_private_key(public_exponent=65537, key_size=2048))

    def jwks(self) -> str:
        """Return the public half as a JWKS document (RFC 7517)."""
        public = RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return json.dumps({"keys": [{**public, "kid": "bench-1", "alg": "RS256", "use": "sig"}]})

    def token(self, *, serial: int = 0) -> str:
        """Sign about 900 bytes; *serial* makes tokens of different users."""
        return jwt.encode(_claims(serial), self.key, algorithm="RS256", headers={"kid": "bench-1"})


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
