"""Find the bearer token in the Authorization fields of a request (RFC 6750, section 2.1).

Owns the credential's syntax. Other places for a token are in ``sidecar.core.token_sources``; what
the token says, and whether to believe it, belong to ``sidecar.core.jose`` and
``sidecar.core.verification``.
"""

from collections.abc import Sequence
from typing import Final

from sidecar.core.outcome import Denial, Reason

_B64TOKEN: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
_KNOWN_SCHEMES: Final = frozenset(
    {"basic", "digest", "dpop", "gnap", "hoba", "mutual", "negotiate", "ntlm", "scram-sha-256"}
)
"""Schemes a denial may name. Any other word could be the secret itself, sent without a scheme."""


def read_bearer(values: Sequence[bytes]) -> bytes | Denial | None:
    """Return the token, ``None`` when there is no Authorization field, or why it cannot be read.

    *values* are those of all Authorization fields in the order received. A credential that is
    not a bearer token is refused rather than taken for none, so that it never passes an optional
    route unnoticed.
    """
    if not values:
        return None
    if len(values) > 1:
        return Denial(
            Reason.TOKEN_REPEATED, f"the request has {len(values)} Authorization fields; send one"
        )
    value = values[0]
    if value.startswith(b"Bearer "):  # as nearly everybody writes it, without padding
        token = value[7:]
        if token and not token.translate(None, _B64TOKEN):
            return token
    if value[:7].lower() != b"bearer ":
        return _not_bearer(value)
    token = value[7:].strip(b" ")
    if not is_b64token(token):
        return Denial(
            Reason.TOKEN_MALFORMED,
            "what follows Bearer in Authorization is not a token (RFC 6750, section 2.1)",
        )
    return token


def is_b64token(value: bytes) -> bool:
    """Whether *value* has the form of a bearer token (``b64token``)."""
    return value != b"" and value[0] != 0x3D and not value.rstrip(b"=").translate(None, _B64TOKEN)


def _not_bearer(value: bytes) -> Denial:
    scheme = value.partition(b" ")[0].decode("latin-1").lower()
    if scheme == "bearer":
        return Denial(Reason.TOKEN_MALFORMED, "Authorization says Bearer but no token follows")
    named = f"the scheme {scheme}" if scheme in _KNOWN_SCHEMES else "no scheme we know"
    return Denial(
        Reason.TOKEN_MISSING, f"Authorization has {named}; this service accepts only Bearer"
    )
