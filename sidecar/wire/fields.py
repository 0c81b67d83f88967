"""Field names: which are legal, and which mean something to whoever forwards them.

Most fields of a message are carried on untouched. One dictionary look-up per field finds the
few that are not, and proves at the same time that the name is a token (RFC 9110, 5.6.2).
"""

from collections.abc import Callable, Mapping
from typing import Final

from sidecar.core.names import folded

ORDINARY: Final = 0
"""Carried on as it came."""
ILLEGAL: Final = -1
"""Not a token: the message is malformed."""

# What framing and connection management need (RFC 9110, 7.6.1; RFC 9112, 6).
HOST: Final = 1
CONTENT_LENGTH: Final = 2
TRANSFER_ENCODING: Final = 3
CONNECTION: Final = 4
HOP_BY_HOP: Final = 5
EXPECT: Final = 6
UPGRADE: Final = 7
TE: Final = 8
TRAILER: Final = 9

LOOKALIKE: Final = 10
"""Framing to whoever reads ``_`` or ``.`` as ``-``, an ordinary field to everybody else."""
WEBSOCKET_KEY: Final = 11
WEBSOCKET_VERSION: Final = 12
WEBSOCKET_ACCEPT: Final = 13

FIRST_APPLICATION_MARK: Final = 16
"""Marks from here on belong to whoever built the table; the wire only reports them."""

WIRE_MARKS: Final[Mapping[bytes, int]] = {
    b"host": HOST,
    b"content-length": CONTENT_LENGTH,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"connection": CONNECTION,
    b"expect": EXPECT,
    b"upgrade": UPGRADE,
    b"keep-alive": HOP_BY_HOP,
    b"te": TE,
    b"trailer": TRAILER,
    b"sec-websocket-key": WEBSOCKET_KEY,
    b"sec-websocket-version": WEBSOCKET_VERSION,
    b"sec-websocket-accept": WEBSOCKET_ACCEPT,
}

_FRAMING: Final = frozenset((b"content-length", b"transfer-encoding"))

TCHAR: Final = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

MAX_CACHED_NAMES: Final = 4096
MAX_CACHED_NAME_BYTES: Final = 64


def is_token(value: bytes) -> bool:
    """Whether *value* is a ``token`` of RFC 9110, section 5.6.2."""
    return bool(value) and not value.translate(None, TCHAR)


def _ordinary(_lower_name: bytes) -> int:
    return ORDINARY


class NameTable(dict[bytes, int]):
    """Field name as it was sent -> mark.

    A caller may send any number of different names, so the table forgets everything at
    ``MAX_CACHED_NAMES`` and begins again: the cost of that is a slow look-up, never memory.
    """

    def __init__(self, classify: Callable[[bytes], int] = _ordinary) -> None:
        """*classify* gives the mark of a lower-case name that the wire has no use for."""
        super().__init__()
        self._classify = classify

    def __missing__(self, name: bytes) -> int:
        if not is_token(name):
            return ILLEGAL
        lower = name.lower()
        mark = WIRE_MARKS.get(lower)
        if mark is None:
            mark = self._mark(lower)
        if len(name) <= MAX_CACHED_NAME_BYTES:
            if len(self) >= MAX_CACHED_NAMES:
                self.clear()
            self[name] = mark
        return mark

    def _mark(self, lower: bytes) -> int:
        if lower.startswith(b"proxy-"):
            return HOP_BY_HOP
        return LOOKALIKE if folded(lower) in _FRAMING else self._classify(lower)
