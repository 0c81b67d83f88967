"""Any text as a field value (RFC 9110, section 5.5), from which ``unquote`` gives it back.

What is not printable ASCII, ``%`` itself, a separator within what it separates, and spaces at the
ends are percent-encoded as UTF-8. The last two because readers split lists and strip their parts:
the role " ADMIN" must not become ADMIN on the way.
"""

from typing import Final
from urllib.parse import quote

_VISIBLE: Final = " !\"#$&'()*+,-./:;<=>?@[\\]^`{|}~_"
"""Printable ASCII, beside letters and digits, without ``%``."""


def encode(value: str, separator: str = "") -> str:
    """Return *value* as one part of what *separator* joins, or as a value of its own."""
    plain = value.isascii() and value.isprintable() and "%" not in value
    if plain and (not separator or separator not in value):  # ``quote`` would find nothing to do
        return value if value == value.strip(" ") else _keep_ends(value)
    safe = _VISIBLE.replace(separator, "") if separator else _VISIBLE
    return _keep_ends(quote(value, safe=safe, errors="replace"))


def _keep_ends(value: str) -> str:
    began = value.lstrip(" ")
    inner = began.rstrip(" ")
    before, after = len(value) - len(began), len(began) - len(inner)
    return "%20" * before + inner + "%20" * after
