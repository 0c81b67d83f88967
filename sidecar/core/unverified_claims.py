"""What a JWT says of itself, where nobody here can check its signature.

For tokens that we hold and somebody else will judge: when they end, and whose they are. Nobody is
let in by it.
"""

from typing import Any

from sidecar.core.encoding import EncodingError, base64url_decode, json_object


def unverified_claims(token: bytes) -> dict[str, Any] | None:
    """Return the claims of a signed JWT, ``None`` for anything else. Its length is bounded."""
    parts = token.split(b".", 3)
    if len(parts) != 3:
        return None
    try:
        json_object(base64url_decode(parts[0]))
        return json_object(base64url_decode(parts[1]))
    except EncodingError:
        return None


def end_of(claims: dict[str, Any]) -> float | None:
    """Return ``exp`` in seconds since the epoch, where it is a number."""
    exp = claims.get("exp")
    if isinstance(exp, bool) or not isinstance(exp, int | float):
        return None
    return float(exp)
