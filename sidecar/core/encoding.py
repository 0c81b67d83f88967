"""Base64url and JSON as JOSE needs them: one reading of any bytes, or none.

Owns strictness: what two parsers could read differently is refused here (RFC 8725, section 2.4).
Which members an object must have belongs to whoever asked for it.
"""

import base64
import json
import re
import string
from typing import Any, Final, TypeGuard

import msgspec

MAX_JSON_DEPTH: Final = 32
"""Nesting of arrays and objects. Real tokens have four levels, real key sets three."""

_LAST_OF_TWO: Final = b"AQgw"
_LAST_OF_THREE: Final = b"AEIMQUYcgkosw048"
"""The characters whose unused low bits are zero: four bits of two, two bits of three."""

_ALPHANUMERIC: Final = (string.ascii_letters + string.digits).encode()
_STANDARD: Final = bytes(
    octet if octet in _ALPHANUMERIC else {ord("-"): ord("+"), ord("_"): ord("/")}.get(octet, 0)
    for octet in range(256)
)
"""From base64url's alphabet to the standard one; anything else becomes NUL, which is in neither."""
_BASE64: Final = msgspec.json.Decoder(bytes)
"""Of a JSON string in the standard alphabet. Takes half the time of ``binascii``; it would take
escapes and trailing bits, too, but they do not get this far."""

_TOKENS: Final = re.compile(
    # Possessive, and an unterminated string runs to the end: the scan is linear for any bytes.
    rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[\]{}]',
    re.DOTALL,
)
_QUICK: Final = msgspec.json.Decoder()
_AGAIN: Final = msgspec.json.Encoder()
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class EncodingError(ValueError):
    """The bytes are not strictly encoded. The message quotes nothing of them."""


def base64url_decode(text: bytes) -> bytes:
    """Decode base64url without padding (RFC 7515, section 2).

    Refuses whitespace, padding, the standard alphabet's ``+`` and ``/``, and trailing bits that
    are not zero: each would let two different texts mean the same bytes.
    """
    match len(text) % 4:
        case 0:
            end = b'"'
        case 2 if text[-1] in _LAST_OF_TWO:
            end = b'=="'
        case 3 if text[-1] in _LAST_OF_THREE:
            end = b'="'
        case _:
            raise EncodingError("not canonical base64url")
    try:
        decoded: bytes = _BASE64.decode(b'"' + text.translate(_STANDARD) + end)
    except ValueError:
        raise EncodingError("not canonical base64url") from None
    return decoded


def base64url_encode(octets: bytes) -> bytes:
    """Encode without padding (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(octets).rstrip(b"=")


def json_object(raw: bytes) -> dict[str, Any]:
    """Decode one JSON object (RFC 8259) of at most ``MAX_JSON_DEPTH`` levels.

    Refuses duplicate names, NaN and infinities (written out or by overflow), integers too long
    for the interpreter, lone surrogates, and anything but UTF-8.
    """
    if _too_deep(raw):
        raise EncodingError(f"JSON nested deeper than {MAX_JSON_DEPTH} levels")
    value = _read_quickly(raw)
    if isinstance(value, dict):
        return value
    return _read_strictly(raw)


def _read_quickly(raw: bytes) -> object:
    """Return the value where it is certain that ``_read_strictly`` would, too, else ``None``.

    This decoder keeps the last of two members with one name. But what is written again as it was
    read has lost nothing; most issuers write without spaces and escapes, as this encoder does.
    """
    try:
        value: object = _QUICK.decode(raw)
        return value if _AGAIN.encode(value) == raw else None
    except ValueError:
        return None


def _read_strictly(raw: bytes) -> dict[str, Any]:
    try:
        value = _DECODER.decode(raw.decode())
        if raw.find(b"\\ud") >= 0 or raw.find(b"\\uD") >= 0:
            # Only an escape can bring in a lone surrogate, which no header or log could encode.
            json.dumps(value, ensure_ascii=False).encode()
    except EncodingError:
        raise
    except ValueError:
        raise EncodingError("not JSON") from None
    if not isinstance(value, dict):
        raise EncodingError("not a JSON object")
    return value


def is_plain(value: object) -> TypeGuard[str]:
    """Say whether *value* is a string without control characters or line breaks of any kind."""
    # ``isprintable`` is quicker and says no to more, so its yes is enough.
    return isinstance(value, str) and (value.isprintable() or _CONTROL.search(value) is None)


def printable(text: str, limit: int = 64) -> str:
    """Return *text*, which nobody vouches for, in a form fit for a log: short printable ASCII."""
    shown = "".join(char if " " <= char <= "~" else "?" for char in text[:limit])
    return shown if len(text) <= limit else f"{shown}..."


def _too_deep(raw: bytes) -> bool:
    # The number of brackets settles nearly every token, and this is the quickest way to count.
    if len(raw) - len(raw.translate(None, b"{[")) <= MAX_JSON_DEPTH:
        return False
    depth = 0
    for token in _TOKENS.finditer(raw):
        first = raw[token.start()]
        if first in b"{[":
            depth += 1
            if depth > MAX_JSON_DEPTH:
                return True
        elif first in b"}]":
            depth -= 1
    return False


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise EncodingError("JSON with a duplicate name")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise EncodingError("JSON with a number out of range")
    return number


def _refuse_constant(_: str) -> Any:
    raise EncodingError("JSON with NaN or Infinity")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_constant=_refuse_constant
)
