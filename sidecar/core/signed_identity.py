"""Who calls, signed by the sidecar for its own app: one short-lived JWS per token.

An app that asks for it believes nobody who only reaches its port. Owns what is signed, for how long
it is good and when it is signed anew; the key belongs to ``sidecar.core.identity_key``.
"""

import json
from collections.abc import Sequence
from typing import Any, Final, Literal, Protocol

from sidecar.core.claim_paths import ABSENT, ClaimPath, look_up
from sidecar.core.encoding import base64url_encode
from sidecar.core.principal import Credential, Principal
from sidecar.core.token_cache import TokenCache

IdentityAlgorithm = Literal["ES256", "EdDSA"]

OWN_CLAIMS: Final = frozenset(
    ("iss", "sub", "aud", "exp", "nbf", "iat", "jti", "sub_id", "scope", "roles")
)
"""What is ours to say, or would be read as ours."""

_USED: Final = 0.75
"""Of its lifetime a signature is handed out: the app always has the rest to look at it."""
_COST_PER_ENTRY: Final = 256


class Signer(Protocol):
    """A private key and the JOSE header that goes with it."""

    @property
    def encoded_header(self) -> bytes: ...
    @property
    def signature_bytes(self) -> int:
        """Of a signature, before it is encoded."""

    def sign(self, signing_input: bytes) -> bytes: ...


class _Signed:
    """One line, and when it may be handed out again."""

    __slots__ = ("credential", "line", "signed_at", "used_until")

    def __init__(
        self, credential: Credential, line: bytes, signed_at: float, used_until: float
    ) -> None:
        self.credential = credential
        self.line = line
        self.signed_at = signed_at
        self.used_until = used_until

    @property
    def cost_bytes(self) -> int:
        return len(self.line) + _COST_PER_ENTRY


class SignedIdentity:
    """Signs at most once per token and three quarters of the lifetime.

    What is forgotten because there are too many tokens is signed again, which costs a signature
    and nothing else.
    """

    def __init__(
        self,
        signer: Signer,
        *,
        header: str,
        issuer: str,
        audience: str,
        lifetime_seconds: float,
        claims: Sequence[ClaimPath] = (),
        max_entries: int,
        max_bytes: int,
    ) -> None:
        """*claims* of the token stand in the signed ones where they stand in the token."""
        self._signer = signer
        self._name = header.encode("ascii") + b": "
        self._issuer = issuer
        self._audience = audience
        self._lifetime_seconds = lifetime_seconds
        self._claims = tuple(claims)
        self._kept: TokenCache[_Signed] = TokenCache(max_entries=max_entries, max_bytes=max_bytes)
        self.signatures = 0

    def line(self, credential: Credential, now: float) -> bytes:
        """Return the field line for the principal of *credential*, which is good at *now*."""
        kept = self._kept.get(credential.digest)
        if (
            kept is not None
            # An issuer that was asked again may say something else of the same token.
            and kept.credential is credential
            and kept.signed_at <= now < kept.used_until
        ):
            return kept.line
        return self._sign(credential, now)

    def size(self, principal: Principal) -> int:
        """Return how long the line is for *principal*, at most."""
        # Dates as long as they can be until the year 2286.
        encoded = _encoded_bytes(len(self._payload(principal, 9_999_999_999, 9_999_999_999)))
        signature = _encoded_bytes(self._signer.signature_bytes)
        return len(self._name) + len(self._signer.encoded_header) + encoded + signature + 4

    def _sign(self, credential: Credential, now: float) -> bytes:
        self.signatures += 1
        ends = now + self._lifetime_seconds
        used_until = now + self._lifetime_seconds * _USED
        if credential.expires_at < ends:  # then nothing that is signed later would be good longer
            ends = credential.expires_at
            used_until = float("inf")
        payload = self._payload(credential.principal, int(now), int(ends))
        signing_input = self._signer.encoded_header + b"." + base64url_encode(payload)
        signature = base64url_encode(self._signer.sign(signing_input))
        line = self._name + signing_input + b"." + signature + b"\r\n"
        self._kept.put(credential.digest, _Signed(credential, line, now, used_until))
        return line

    def _payload(self, principal: Principal, issued_at: int, expires_at: int) -> bytes:
        said: dict[str, Any] = {
            "iss": self._issuer,
            "aud": self._audience,
            "sub": principal.subject,
            # RFC 9493, section 3.2.4: a subject is somebody only together with its issuer.
            "sub_id": {"format": "iss_sub", "iss": principal.issuer, "sub": principal.subject},
        }
        if principal.scopes:
            said["scope"] = " ".join(sorted(principal.scopes))
        if principal.roles:
            said["roles"] = sorted(principal.roles)
        for path in self._claims:
            value = look_up(principal.claims, path)
            if value is not ABSENT and value is not None:
                _put(said, path, value)
        said["iat"] = issued_at
        said["exp"] = expires_at
        return json.dumps(said, separators=(",", ":")).encode("ascii")


def _put(said: dict[str, Any], path: ClaimPath, value: object) -> None:
    for name in path[:-1]:
        said = said.setdefault(name, {})
    said[path[-1]] = value


def _encoded_bytes(count: int) -> int:
    return (count * 4 + 2) // 3
