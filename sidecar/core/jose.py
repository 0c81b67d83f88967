"""Read the compact serialization of a JWS (RFC 7515, section 3.1) without believing any of it.

Owns form and header. Which key may check the signature belongs to ``sidecar.core.keyset``, what
the payload must say to ``sidecar.core.claims``. Of the header only ``alg``, ``kid``, ``typ``,
``cty``, ``crit``, ``b64`` and ``enc`` are read: keys that a token brings along or points to
(``jwk``, ``jku``, ``x5c``, ``x5u``) are ignored (RFC 8725, section 3.10).
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, Literal, TypeAlias

from sidecar.core.encoding import EncodingError, base64url_decode, json_object, printable
from sidecar.core.outcome import Denial, Reason

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
     "Ed25519", "Ed448"}
)  # fmt: skip
"""All we can check: the asymmetric ones of RFC 7518, section 3.1, RFC 8037, section 3.1 and, under
the names that say which curve, RFC 9864, section 2.2."""

KeyUse: TypeAlias = Literal["sig", "jwt-svid"]
"""``use`` of the keys that may check tokens: a signature's (RFC 7517, 4.2), or SPIFFE's own."""

MAX_KID_LENGTH: Final = 1024
"""Characters. Real ones are thumbprints, UUIDs or URLs."""


@dataclass(frozen=True, slots=True)
class Header:
    """What we read of a protected header."""

    alg: str
    """One of ``ALGORITHMS``."""
    kid: str | None
    typ: str | None
    """Lower-cased and without ``application/``: media types are case-insensitive, and the prefix is
    understood where there is no slash (RFC 7515, section 4.1.9)."""


@dataclass(init=False, repr=False, slots=True)
class Compact:
    """A well-formed signed token, not yet verified."""

    header: Final[Header]
    signing_input: Final[bytes]
    payload: Final[bytes]
    signature: Final[bytes]

    def __init__(
        self, header: Header, signing_input: bytes, payload: bytes, signature: bytes
    ) -> None:
        self.header = header
        self.signing_input = signing_input
        self.payload = payload
        self.signature = signature


def too_large(size_bytes: int, max_bytes: int) -> Denial:
    """Refuse a token for its size alone, before anybody hashes or parses it."""
    return Denial(
        Reason.TOKEN_TOO_LARGE,
        f"the token has {size_bytes} bytes; this service accepts {max_bytes}",
    )


def parse_compact(token: bytes) -> Compact | Denial:
    """Take *token* apart. Any bytes give a value; their number is the caller's to bound."""
    parts = token.split(b".", 5)
    if len(parts) == 5:
        return Denial(
            Reason.TOKEN_TYPE,
            "the token has five parts, so it is encrypted (JWE); this service accepts signed ones;"
            " with Auth0, a token asked for without audience looks like this",
        )
    if len(parts) == 1:
        return _malformed(
            "the token has no dots, so it is opaque or no JWT; with Auth0 or Okta, ask for a token"
            " of an API (audience) or a custom authorization server"
        )
    if len(parts) != 3:
        return _malformed("the token is not three parts joined by dots")
    protected, payload, signature = parts
    header = _read_header(protected)
    if isinstance(header, Denial):
        return header
    try:
        return Compact(
            header=header,
            signing_input=token[: len(protected) + 1 + len(payload)],
            payload=base64url_decode(payload),
            signature=base64url_decode(signature),
        )
    except EncodingError as error:
        return _malformed(f"the token's payload or signature is {error}")


# All tokens of one key have the same header, and reading it is a tenth of a cold verification.
# Whoever sends other headers only makes it cost what it would without: the bound holds.
@lru_cache(maxsize=64)
def _read_header(protected: bytes) -> Header | Denial:
    try:
        members = json_object(base64url_decode(protected))
    except EncodingError as error:
        return _malformed(f"the token's header is {error}")
    alg, kid, typ = members.get("alg"), members.get("kid"), members.get("typ")
    if "enc" in members:
        # RFC 7516, section 9: it must not be a JWS by its parts and a JWE by its header.
        return Denial(Reason.TOKEN_TYPE, "the token's header has enc, which is that of a JWE")
    if not isinstance(alg, str):
        return _malformed("the token's header has no alg, or one that is not a string")
    if alg not in ALGORITHMS:
        return _refuse_algorithm(alg)
    if "crit" in members or "b64" in members:
        return Denial(
            Reason.CRITICAL_UNKNOWN,
            "the token's header has crit or b64; no extension is understood here",
        )
    if "kid" in members and not (isinstance(kid, str) and len(kid) <= MAX_KID_LENGTH):
        return _malformed(f"the token's kid is not a string of up to {MAX_KID_LENGTH} characters")
    if "typ" in members and not isinstance(typ, str):
        return _malformed("the token's typ is not a string")
    if (denial := _refuse_content(members)) is not None:
        return denial
    return Header(alg, kid, None if typ is None else media_type(typ))


def media_type(written: str) -> str:
    """Return *written* in the one spelling in which types are compared (RFC 7515, 4.1.9)."""
    lower = written.lower()
    bare = lower.removeprefix("application/")
    return lower if "/" in bare else bare


def _refuse_content(members: dict[str, Any]) -> Denial | None:
    """Refuse a nested JWT: whose signature counts would depend on who unpacks it."""
    if "cty" not in members:
        return None
    cty = members["cty"]
    if not isinstance(cty, str):
        return _malformed("the token's cty is not a string")
    if media_type(cty) != "jwt":
        return None
    return Denial(
        Reason.TOKEN_TYPE, "the token holds another one (cty JWT), which is not looked at"
    )


def _refuse_algorithm(alg: str) -> Denial:
    if alg.lower() == "none":
        return Denial(Reason.ALGORITHM_REFUSED, "the token is not signed (alg none)")
    return Denial(
        Reason.ALGORITHM_REFUSED,
        f"the token's alg is {printable(alg)}; only asymmetric signatures are accepted",
    )


def _malformed(detail: str) -> Denial:
    return Denial(Reason.TOKEN_MALFORMED, detail)
