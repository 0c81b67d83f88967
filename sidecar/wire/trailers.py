"""Which fields of an answer's trailer section may reach a caller that takes trailers.

Whoever merges trailers into the header section must not be told anything there that it would have
refused, or that we would have removed, before the content (RFC 9110, 6.5.1 and 6.5.2). What nobody
has a reason to distrust, such as ``grpc-status`` or ``server-timing``, passes byte for byte.
"""

from collections.abc import Callable
from typing import Final

from sidecar.core.names import folded
from sidecar.wire.fields import CONNECTION, ORDINARY, TRAILER, NameTable
from sidecar.wire.heads import ResponseHead

FORBIDDEN: Final = frozenset(
    (
        # routing and request modifiers
        b"cache-control", b"forwarded", b"max-forwards", b"pragma", b"range", b"via",
        # credentials and demands for them
        b"cookie", b"set-cookie", b"set-cookie2", b"www-authenticate",
        # what the answer is, and what becomes of it
        b"age", b"content-encoding", b"content-language", b"content-location", b"content-range",
        b"content-type", b"date", b"expires", b"location", b"retry-after", b"vary", b"warning",
    )
)  # fmt: skip
"""Beside these: everything that the wire or the application has a mark for."""
_FORBIDDEN_PREFIXES: Final = (b"if-", b"x-forwarded-", b"access-control-")


def may_trail(name: bytes, names: NameTable) -> bool:
    """Whether a trailer field with this *name* is passed on."""
    lower = folded(name.lower())
    return (
        names[name] == ORDINARY
        and lower not in FORBIDDEN
        and not lower.startswith(_FORBIDDEN_PREFIXES)
    )


def relay_to(
    receive: Callable[[list[bytes]], bytes], head: ResponseHead, names: NameTable
) -> Callable[[list[bytes]], bytes]:
    """Return what gives *receive* those trailer fields of the answer with *head* that may pass."""
    nominated = _nominated(head)

    def relay(lines: list[bytes]) -> bytes:
        kept = []
        for line in lines:
            name = line[: line.find(b":")]
            if may_trail(name, names) and name.lower() not in nominated:
                kept.append(line)
        return receive(kept)

    return relay


def _nominated(head: ResponseHead) -> frozenset[bytes]:
    """Return the fields that end here by the sender's wish, as trailers too (RFC 9110, 7.6.1)."""
    return frozenset(
        option.strip(b" \t")
        for mark, _, value in head.marked
        if mark == CONNECTION
        for option in value.lower().split(b",")
    )


def announced(head: ResponseHead, names: NameTable) -> bytes:
    """Return the ``Trailer`` line of *head*, as far as what it announces may come."""
    announcement = [
        name.strip(b" \t")
        for mark, _, value in head.marked
        if mark == TRAILER
        for name in value.split(b",")
    ]
    kept = [name for name in announcement if may_trail(name, names)]
    return b"trailer: %b\r\n" % b", ".join(kept) if kept else b""
