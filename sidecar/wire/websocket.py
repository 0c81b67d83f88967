"""The opening handshake of a WebSocket, as a proxy must see it (RFC 6455, 4).

Owns the questions whether a request asks for one properly and whether an answer agrees to that
very request. What is carried afterwards belongs to ``sidecar.wire.tunnel``.
"""

import base64
import binascii
import hashlib
from typing import Final, Protocol

from sidecar.wire.fields import (
    CONNECTION,
    UPGRADE,
    WEBSOCKET_ACCEPT,
    WEBSOCKET_KEY,
    WEBSOCKET_VERSION,
)

Marked = list[tuple[int, int, bytes]]

SWITCHED: Final = 101
UPGRADE_LINES: Final = b"connection: upgrade\r\nupgrade: websocket\r\n"

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_KEY_BYTES: Final = 16


def requested_key(method: bytes, lines: list[bytes], marked: Marked) -> bytes | None:
    """Return the key of a proper request for a WebSocket, ``None`` where it is another thing.

    A half-proper one is not repaired: app and proxy could then disagree whether the bytes that
    follow are frames or requests.
    """
    if (
        method != b"GET"
        or not _agrees(marked)
        or _only(marked, WEBSOCKET_VERSION) != b"13"
        or not _is_sent_on(lines, marked)
    ):
        return None
    key = _only(marked, WEBSOCKET_KEY)
    return key if key is not None and _is_key(key) else None


class Agreement(Protocol):
    """The head of a 101."""

    close: bool
    chunked: bool
    length: int | None
    lines: list[bytes]
    marked: Marked


def is_accepted(head: Agreement, key: bytes) -> bool:
    """Whether a 101 agrees to the request that had *key*, empty where that asked for none.

    It has no content and says nothing of any (RFC 9110, 6.4.1 and 8.6).
    """
    return (
        key != b""
        and head.length is None
        and not head.chunked
        and not head.close
        and _agrees(head.marked)
        and _only(head.marked, WEBSOCKET_ACCEPT) == accept_value(key)
        and _is_sent_on(head.lines, head.marked)
    )


def accept_value(key: bytes) -> bytes:
    """Return what ``Sec-WebSocket-Accept`` must say to *key*."""
    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()  # as RFC 6455, 1.3 says
    return base64.b64encode(digest)


def _agrees(marked: Marked) -> bool:
    """``Upgrade: websocket``, once, and ``Connection`` says so too."""
    upgrade = _only(marked, UPGRADE)
    return (
        upgrade is not None
        and upgrade.lower() == b"websocket"
        and any(
            option.strip(b" \t") == b"upgrade"
            for mark, _, value in marked
            if mark == CONNECTION
            for option in value.lower().split(b",")
        )
    )


def _only(marked: Marked, wanted: int) -> bytes | None:
    values = [value for mark, _, value in marked if mark == wanted]
    return values[0] if len(values) == 1 else None


def _is_sent_on(lines: list[bytes], marked: Marked) -> bool:
    """Whether ``Connection`` named none of the handshake's own fields, which dropped it."""
    return all(
        lines[index]
        for mark, index, _ in marked
        if mark in (WEBSOCKET_KEY, WEBSOCKET_VERSION, WEBSOCKET_ACCEPT)
    )


def _is_key(value: bytes) -> bool:
    try:
        decoded = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        return False
    return len(decoded) == _KEY_BYTES
