"""An attacker's workshop: the published keys of the issuer, keys of the attacker's own, any bytes.

The issuer's private keys are here too: the attacker may have tokens of every kind signed by the
issuer, and only the kind is wrong then.
"""

import hmac
import json
from functools import cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.testbed.token_mint import TokenMint
from tests.core.signing import b64, jwk, private_key, short_rsa_key, sign
from tests.support.pod import AUDIENCE, ISSUER, soon

ALGORITHMS: Final = {"rsa": "RS256", "ec": "ES256", "ed": "EdDSA", "ec384": "ES384"}
"""By kid; every key but ``ed`` is published with its alg."""


@cache
def honest_mint() -> "Forge":
    return Forge(ISSUER, audience=[AUDIENCE], algorithms=("ES256",))


class Forge(TokenMint):
    """The issuer as the sidecar knows it, and everything an attacker can make of it."""

    def jwks(self) -> dict[str, list[dict[str, Any]]]:
        published = super().jwks()["keys"]
        for kid, alg in ALGORITHMS.items():
            named = None if kid == "ed" else alg
            published.append(jwk(private_key(alg), kid=kid, use="sig", alg=named))
        published.append(jwk(private_key("RS256", "bare"), kid="bare"))
        # What issuers have published by mistake, or for others.
        published.append(jwk(short_rsa_key(), kid="weak"))
        published.append(jwk(private_key("RS256", "enc"), kid="enc", use="enc"))
        published.append({**jwk(private_key("ES256", "leaked"), kid="leaked"), "d": "AAAA"})
        published.append({"kty": "oct", "k": b64(b"secret" * 8), "kid": "oct", "alg": "HS256"})
        return {"keys": published}

    def said(self, **changes: Any) -> dict[str, Any]:
        """Return the claims of a good token with *changes*; ``...`` leaves one out."""
        claims = {
            "iss": self.issuer,
            "sub": "mallory",
            "aud": AUDIENCE,
            "iat": soon(-10),
            "exp": soon(300),
            "jti": "1",
            "scope": "profile.read",
            "realm_access": {"roles": ["USER"]},
        }
        return {name: value for name, value in {**claims, **changes}.items() if value is not ...}

    def signed(
        self,
        payload: dict[str, Any] | bytes | None = None,
        header: dict[str, Any] | bytes | None = None,
        *,
        kid: str = "ec",
        alg: str | None = None,
        key: Any = None,
    ) -> bytes:
        """Return a token whose signature is that of the issuer's key *kid*, or of *key*."""
        alg = alg or ALGORITHMS[kid]
        protected = header if isinstance(header, bytes) else {"kid": kid, **(header or {})}
        return sign(self.said() if payload is None else payload, alg=alg, key=key, header=protected)

    def raw(self, header: bytes | dict[str, Any], payload: bytes | None = None) -> bytes:
        """Return header and payload, encoded and joined, without a signature."""
        protected = header if isinstance(header, bytes) else json.dumps(header).encode()
        body = json.dumps(self.said()).encode() if payload is None else payload
        return f"{b64(protected)}.{b64(body)}".encode()

    def mac(self, secret: bytes, alg: str = "HS256", **header: Any) -> bytes:
        """Return a token with a MAC under *secret*."""
        signing_input = self.raw({"alg": alg, "kid": "rsa", "typ": "JWT", **header})
        digest = hmac.digest(secret, signing_input, f"sha{alg[2:]}")
        return signing_input + b"." + b64(digest).encode()

    def with_signature(self, signature: bytes, *, kid: str = "ec", alg: str | None = None) -> bytes:
        """Return a token with these bytes for a signature."""
        head = self.raw({"alg": alg or ALGORITHMS[kid], "kid": kid, "typ": "JWT"})
        return head + b"." + b64(signature).encode()

    def json_claims(self, changed: bytes) -> bytes:
        """Return a well signed token whose claims, as JSON, begin with the members *changed*."""
        members = json.dumps(self.said()).encode()
        return self.signed(b"{" + changed + b"," + members[1:])

    def json_header(self, members: bytes) -> bytes:
        """Return a well signed token with *members* in front of the usual ones in its header."""
        return self.signed(header=b"{" + members + b',"alg":"ES256","kid":"ec","typ":"JWT"}')


def public_pem(kid: str) -> bytes:
    key = private_key(ALGORITHMS[kid]).public_key()
    return bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


def public_der(kid: str) -> bytes:
    key = private_key(ALGORITHMS[kid]).public_key()
    return bytes(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def modulus() -> int:
    key = private_key("RS256")
    assert isinstance(key, rsa.RSAPrivateKey)
    return key.public_key().public_numbers().n


def point() -> bytes:
    key = private_key("ES256")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
