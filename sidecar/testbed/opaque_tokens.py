"""Tokens that say nothing by themselves, and what their issuer says of them (RFC 7662).

Owns which are active. Who may ask belongs to ``sidecar.testbed.identity_provider``.
"""

import secrets
import time
from collections.abc import Callable, Mapping

from sidecar.testbed.token_mint import TokenMint

INACTIVE: Mapping[str, object] = {"active": False}
"""All that is said of a token that is not active (section 2.2)."""


class OpaqueTokens:
    """Issues, revokes and knows the opaque tokens of one issuer."""

    def __init__(self, mint: TokenMint, *, clock: Callable[[], float] = time.time) -> None:
        self._mint = mint
        self._clock = clock
        self._issued: dict[str, dict[str, object]] = {}

    def issue(self, subject: str, **claims: object) -> str:
        """Return a new token for *subject*; *claims* are those of ``TokenMint.token``."""
        token = f"opq_{secrets.token_urlsafe(32)}"
        said = self._mint.claims(subject, **claims)
        said.pop("typ", None)
        self._issued[token] = {
            "active": True,
            "client_id": "testbed",
            "token_type": "Bearer",
            "username": subject,
            **said,
        }
        return token

    def revoke(self, token: str) -> None:
        """Make *token* inactive (RFC 7009); nothing happens where it is not known."""
        self._issued.pop(token, None)

    def answer(self, token: str) -> Mapping[str, object]:
        """Return what the introspection endpoint says of *token*."""
        said = self._issued.get(token, INACTIVE)
        ends = said.get("exp")
        if isinstance(ends, int | float) and ends <= self._clock():
            return INACTIVE
        return said
