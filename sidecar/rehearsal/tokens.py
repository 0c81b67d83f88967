"""Tokens of a test: really signed and really verified, under keys that exist for the test alone.

So they are judged by the code that judges requests, in its own order.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from sidecar.core.claims import IssuerPolicy
from sidecar.core.keyset import parse_jwks
from sidecar.core.outcome import Denial
from sidecar.core.principal import Principal
from sidecar.core.verification import Rejected, Verified, Verifier
from sidecar.rehearsal.expectations import TestToken
from sidecar.testbed.signing_key import SigningKey

LIFETIME_SECONDS: Final = 300
_PREFERRED: Final = ("ES256", "EdDSA", "ES384", "ES512")
_MAX_TOKEN_BYTES: Final = 64 * 1024


class TokenDesk:
    """Signs tokens in the name of each issuer and verifies them as the sidecar does."""

    def __init__(self, issuers: Mapping[str, IssuerPolicy], *, max_token_bytes: int) -> None:
        self._issuers = issuers
        self._keys: dict[str, SigningKey] = {}
        # An issuer is not asked about a token that it never saw.
        self._verifier = Verifier(
            (replace(policy, introspection=None) for policy in issuers.values()),
            render=lambda _principal: b"",
            max_token_bytes=max_token_bytes,
            cache_max_entries=1,
            cache_max_bytes=1,
        )

    def read(self, name: str, token: TestToken, now: float) -> Principal | Denial:
        """Return whom the token called *name* speaks for at *now*, or why it is refused."""
        policy = self._issuers[token.issuer or next(iter(self._issuers))]
        key = self._key(policy)
        signed = key.sign(_claims(name, token, policy, now), header=_header(token, policy))
        match self._verifier.verify(signed.encode(), now=now):
            case Verified(credential=credential):
                return credential.principal
            case Rejected(denial=denial):
                return denial
            case other:  # pragma: no cover - the key is there, and nobody is asked
                raise AssertionError(other)

    def _key(self, policy: IssuerPolicy) -> SigningKey:
        key = self._keys.get(policy.name)
        if key is None:
            permitted = policy.rules.algorithms
            usable = policy.algorithms if permitted is None else policy.algorithms & permitted
            first = next((each for each in _PREFERRED if each in usable), None)
            key = SigningKey.generate(first or min(usable), kid=policy.name)
            self._keys[policy.name] = key
            use = policy.rules.key_use
            published = json.dumps({"keys": [{**key.public_jwk(), "use": use}]}).encode()
            self._verifier.install(policy.name, parse_jwks(published, use))
        return key


def _header(token: TestToken, policy: IssuerPolicy) -> dict[str, Any]:
    if token.typ is not None:
        return {"typ": token.typ}
    types = policy.rules.token_types
    # What the issuer's own tokens have; nothing where they may have none.
    return {"typ": None if None in types else min(each for each in types if each)}


def _claims(name: str, token: TestToken, policy: IssuerPolicy, now: float) -> dict[str, Any]:
    filled: dict[str, Any] = {
        "iss": policy.issuer,
        "sub": name,
        "iat": int(now),
        "exp": int(now) + LIFETIME_SECONDS,
    }
    if policy.audiences:
        filled[policy.rules.audience_claim] = min(policy.audiences)
    claims = {**filled, **token.claims}
    return {claim: value for claim, value in claims.items() if claim not in token.without}
