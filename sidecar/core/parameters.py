"""Values by name inside a longer text: cookies of a ``Cookie`` field, parameters of a query.

Owns finding the named ones, in every spelling that an app may read as the name, and removing them
so that the rest stays byte for byte. What a value is worth is decided elsewhere.
"""

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Final
from urllib.parse import unquote_to_bytes

from sidecar.core.names import folded

Named = tuple[bytes, bytes]
"""A name as it was asked for, and the value as it was sent."""

_OWS: Final = b" \t"
_INVISIBLE: Final = bytes(octet for octet in range(256) if not 0x21 <= octet <= 0x7E)
_SEPARATOR: Final = re.compile(rb"([&;])")


def take_cookies(
    value: bytes,
    names: AbstractSet[bytes],
    wanted: Callable[[bytes], bool] | None = None,
) -> tuple[bytes, list[Named]]:
    """Split the *value* of a ``Cookie`` field into what stays and the cookies in *names*.

    Cookies are told apart by ``;`` alone (RFC 6265, section 4.2.1). A site has cookies of several
    owners, so whatever they look like they stay. Some frameworks decode percent escapes in a name
    and drop what they take for space around it. With *wanted* only values that it likes are taken.
    """
    kept: list[bytes] = []
    taken: list[Named] = []
    if b"%" not in value and not any(name in value for name in names):
        return value, taken
    for pair in value.split(b";"):
        sent, _, content = pair.partition(b"=")
        name = _visible(sent)
        content = content.strip(_OWS)
        if name in names and (wanted is None or wanted(content)):
            taken.append((name, content))
        else:
            kept.append(pair)
    if not taken:
        return value, taken
    rest = b";".join(kept).lstrip(_OWS)
    return rest if rest.strip(b" \t;") else b"", taken


def parameter_name(name: bytes) -> bytes:
    """Return the form in which names of query parameters are compared.

    To one app or another it is the same name after percent escapes and ``+`` are decoded, in any
    case (ASP.NET), with ``.`` for ``_`` or a ``[`` after it (PHP), or as a list ``name[]`` (Rack,
    qs); so letters are folded to lower case, other characters to ``-``, and the rest is cut off.
    """
    visible = _visible(name.replace(b"+", b" "))
    return folded(visible.partition(b"[")[0].partition(b"\0")[0].lower())


def take_parameters(query: bytes, names: AbstractSet[bytes]) -> tuple[bytes, list[Named]]:
    """Split *query*, without ``?``, into what stays and the parameters in *names*.

    *names* are as ``parameter_name`` gives them. Parameters are told apart by ``&``, and by ``;``,
    which some parsers still take for it.
    """
    kept: list[bytes] = []
    taken: list[Named] = []
    pieces = _SEPARATOR.split(query)  # a parameter, its separator, the next parameter
    for index in range(0, len(pieces), 2):
        sent, _, content = pieces[index].partition(b"=")
        name = parameter_name(sent)
        if name in names:
            taken.append((name, content))
        else:
            if kept:
                kept.append(pieces[index - 1])
            kept.append(pieces[index])
    return (b"".join(kept), taken) if taken else (query, taken)


def _visible(name: bytes) -> bytes:
    if b"%" in name:
        name = unquote_to_bytes(name)
    return name.strip(_INVISIBLE)
