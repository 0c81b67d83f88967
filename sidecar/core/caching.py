"""Answers that a cache in front of us must not give to others, although it sees no reason why.

A shared cache knows that an answer to a request with ``Authorization`` is one caller's (RFC 9111,
section 3.5). It knows nothing of the kind about a cookie or a header of one's own, so there we say
so, unless the app has said the opposite.
"""

from typing import Final

from sidecar.core.names import folded

_PRIVATE: Final = b"cache-control: private\r\n"
_DECIDED: Final = frozenset((b"private", b"no-store", b"public", b"s-maxage", b"must-revalidate"))
"""With the last three, a cache may store even what was asked for with ``Authorization``."""


def keep_private(lines: list[bytes]) -> None:
    """Add ``private`` to the answer's *lines* where nothing in them decides about shared caches."""
    for line in lines:
        name, _, value = line.partition(b":")
        if folded(name.lower()) == b"cache-control":
            for directive in value.lower().split(b","):
                if directive.partition(b"=")[0].strip() in _DECIDED:
                    return
    lines.append(_PRIVATE)
