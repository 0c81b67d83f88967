"""What tokens say that the embedded identity provider is shown, provided it may believe them.

Owns signatures and expiry. What follows from the claims belongs to the grants.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jwt

from sidecar.testbed.opaque_tokens import OpaqueTokens
from sidecar.testbed.token_mint import TokenMint

Claims = Mapping[str, Any]

# PyJWT would compare times with a clock of its own.
_SIGNATURE_ONLY: Any = {
    "verify_aud": False,
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "require": ["exp", "sub"],
}


class TrustedTokens:
    """Reads the tokens of issuers that are trusted.

    Their keys are looked at where they are made, without HTTP: what fetching keys can do
    wrong is not what is tried here.
    """

    def __init__(
        self,
        *mints: TokenMint,
        opaque: OpaqueTokens | None = None,
        clock: Callable[[], float],
    ) -> None:
        self._mints = {mint.issuer: mint for mint in mints}
        self._opaque = opaque
        self._clock = clock

    def trust(self, mint: TokenMint) -> None:
        """Believe from now on what tokens of *mint* say."""
        self._mints[mint.issuer] = mint

    def claims(self, token: str) -> Claims | None:
        """Return what *token* says; nothing where it is forged, expired or of a stranger."""
        if "." not in token:
            said = self._opaque.answer(token) if self._opaque is not None else {}
            return said if said.get("active") is True else None
        try:
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except jwt.PyJWTError:
            return None
        mint = self._mints.get(issuer) if isinstance(issuer, str) else None
        return None if mint is None else signed_claims(token, mint.jwks(), now=self._clock())


def signed_claims(token: str, key_set: Mapping[str, Any], *, now: float) -> Claims | None:
    """Return what *token* says if a key of *key_set* signed it and it has not ended at *now*."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        (jwk,) = [key for key in key_set["keys"] if key.get("kid") == kid]
        key = jwt.PyJWK.from_dict(jwk)
        claims: Claims = jwt.decode(
            token, key, algorithms=[key.algorithm_name], options=_SIGNATURE_ONLY
        )
    except (jwt.PyJWTError, ValueError):
        return None
    ends = claims["exp"]
    return claims if isinstance(ends, int | float) and ends > now else None


def audiences(claims: Claims) -> frozenset[str]:
    """Return ``aud`` as a set, whichever of its two forms it has (RFC 7519, section 4.1.3)."""
    said = claims.get("aud", ())
    return frozenset([said] if isinstance(said, str) else said)


def scopes(claims: Claims) -> frozenset[str]:
    """Return ``scope`` as a set (RFC 8693, section 4.2)."""
    return frozenset(str(claims.get("scope", "")).split())
