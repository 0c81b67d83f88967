"""A private key that signs tokens, and how its public half is published.

Owns the JWS (RFC 7515) and JWK (RFC 7517) forms. What the claims say belongs to
``sidecar.testbed.token_mint``.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt import PyJWS
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def _rsa() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


_GENERATORS: Final[Mapping[str, Callable[[], PrivateKey]]] = {
    "RS256": _rsa,
    "RS384": _rsa,
    "RS512": _rsa,
    "PS256": _rsa,
    "PS384": _rsa,
    "PS512": _rsa,
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ES384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "ES512": lambda: ec.generate_private_key(ec.SECP521R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}
ASYMMETRIC: Final = tuple(_GENERATORS)
"""The algorithms there are keys for."""


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One private key, bound to one algorithm (RFC 8725, section 3.1)."""

    kid: str
    algorithm: str
    private_key: PrivateKey = field(repr=False)

    @classmethod
    def generate(cls, algorithm: str, *, kid: str) -> "SigningKey":
        """Make a fresh key; a 2048-bit RSA key takes some tens of milliseconds.

        Raises ``KeyError`` for an algorithm that is not an asymmetric one.
        """
        return cls(kid=kid, algorithm=algorithm, private_key=_GENERATORS[algorithm]())

    def public_jwk(self) -> dict[str, Any]:
        """The public half as an entry of a key set (RFC 7517, section 4)."""
        return {**self._key_parameters(), "kid": self.kid, "alg": self.algorithm, "use": "sig"}

    def _key_parameters(self) -> dict[str, Any]:
        match self.private_key:
            case rsa.RSAPrivateKey():
                return RSAAlgorithm.to_jwk(self.private_key.public_key(), as_dict=True)
            case ec.EllipticCurvePrivateKey():
                return ECAlgorithm.to_jwk(self.private_key.public_key(), as_dict=True)
            case ed25519.Ed25519PrivateKey():
                return OKPAlgorithm.to_jwk(self.private_key.public_key(), as_dict=True)

    def sign(self, claims: Mapping[str, Any], *, header: Mapping[str, Any] | None = None) -> str:
        """Sign *claims* as they are; *header* adds to or replaces ``typ`` and ``kid``.

        Nothing is checked: tests need claims of the wrong type as much as right ones.
        """
        payload = json.dumps(claims, separators=(",", ":")).encode()
        fields = {"typ": "JWT", "kid": self.kid, **(header or {})}
        return PyJWS().encode(payload, self.private_key, self.algorithm, headers=fields)
