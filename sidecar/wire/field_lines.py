"""Field lines of a message's head, strictly, and what they say of its framing (RFC 9112, 5 to 7).

What two parsers could read differently is refused, never repaired. Requests and answers share
this; what only one of them has is in ``sidecar.wire.request_head`` and ``response_head``.
"""

from typing import Final

from sidecar.core.names import folded
from sidecar.core.outcome import Reason
from sidecar.wire.fields import FIRST_APPLICATION_MARK, ILLEGAL, NameTable, is_token
from sidecar.wire.heads import MessageError, RequestHead, ResponseHead, malformed

TEXT: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""Everything a line may contain: no control characters, so no NUL, bare CR or bare LF."""
MAX_FIELDS_EVER: Final = 1024
"""What ``max_fields`` may be at most."""
_LINE_ENDS: Final = tuple(b"\r\n" * count for count in range(MAX_FIELDS_EVER + 2))
_MAX_LENGTH_DIGITS: Final = 18
MAX_CONNECTION_OPTIONS: Final = 64
"""Different ones in one ``Connection``. Nobody has more than a few."""

PROTECTED_FROM_CONNECTION: Final = frozenset(
    (b"host", b"content-length", b"transfer-encoding", b"authorization", b"cookie", b"forwarded",
     b"traceparent", b"tracestate", b"baggage", b"correlation-context", b"b3")
)  # fmt: skip
"""A request that asks us to delete one of these on the way is an attack, not a hint."""
_NEVER_DROPPED: Final = frozenset((b"content-length", b"transfer-encoding", b"date"))
"""Framing is ours to judge, whatever the ``Connection`` of an answer says."""
_PROTECTED_PREFIXES: Final = (b"x-forwarded-", b"x-b3-", b"x-auth-", b"x-sidecar-")


def split_lines(raw: bytes, max_fields: int) -> list[bytes]:
    """Cut *raw*, which ends with one CRLF, into lines that keep theirs.

    Every CR and LF must be part of a CRLF and no other control character may occur: what is left
    after deleting all text is compared with as many CRLF as there are lines.

    Raises:
        MessageError: control characters, bare CR or LF, or more than *max_fields* fields.
    """
    lines = raw.splitlines(keepends=True)
    count = len(lines)
    if count > max_fields + 1:
        raise MessageError(Reason.HEAD_TOO_LARGE, f"more than {max_fields} fields")
    if raw.translate(None, TEXT) != _LINE_ENDS[count]:
        raise malformed("control character, bare CR or bare LF in the head")
    return lines


def read_fields(head: RequestHead | ResponseHead, names: NameTable) -> None:
    marked = head.marked
    index = 0
    for line in head.lines:
        colon = line.find(b":")
        mark = names[line[:colon]] if colon > 0 else ILLEGAL
        if mark:
            if mark < 0:
                raise malformed("a field line has no legal name")
            marked.append((mark, index, line[colon + 1 :].strip()))
        index += 1  # noqa: SIM113 - enumerate would build a tuple for every field


def read_length(value: bytes) -> int:
    if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
        raise malformed("Content-Length is not one decimal number")
    return int(value)


def read_coding(head: RequestHead | ResponseHead, value: bytes, *, old: bool) -> None:
    if old:
        raise malformed("Transfer-Encoding in HTTP/1.0")
    if head.chunked:
        raise malformed("more than one Transfer-Encoding")
    lowered = value.lower()
    if lowered != b"chunked":
        codings = [part.strip() for part in lowered.split(b",")]
        if all(map(is_token, codings)) and codings[-1] == b"chunked" not in codings[:-1]:
            raise MessageError(Reason.CODING_UNSUPPORTED, "only chunked is served")
        raise malformed("Transfer-Encoding is not chunked")
    head.chunked = True


def read_connection(
    head: RequestHead | ResponseHead, value: bytes, protected: NameTable | None = None
) -> None:
    """Note ``close`` and drop the fields that the value names (RFC 9110, 7.6.1).

    *protected* is given for a request: whatever the application has marked may not be named.
    """
    if value == b"keep-alive":
        return
    named: set[bytes] = set()
    for part in value.lower().split(b","):
        option = part.strip(b" \t")
        if option == b"close":
            head.close = True
        elif option and option != b"keep-alive" and option not in named:
            if len(named) == MAX_CONNECTION_OPTIONS:
                raise malformed(f"Connection has more than {MAX_CONNECTION_OPTIONS} options")
            _check_option(option, protected)
            named.add(option)
    named -= _NEVER_DROPPED
    if named:
        _drop_named(head.lines, named)


def _check_option(option: bytes, protected: NameTable | None) -> None:
    if not is_token(option):
        raise malformed("Connection has an option that is not a token")
    if protected is not None and _is_protected(option, protected):
        raise MessageError(
            Reason.CONNECTION_PROTECTED, f"Connection names {option.decode('ascii')}"
        )


def _drop_named(lines: list[bytes], named: set[bytes]) -> None:
    """Go through *lines* once, however many names there are: a caller chooses both numbers."""
    for index, line in enumerate(lines):
        if line[: line.find(b":")].lower() in named:
            lines[index] = b""


def _is_protected(option: bytes, names: NameTable) -> bool:
    name = folded(option)
    return (
        name in PROTECTED_FROM_CONNECTION
        or name.startswith(_PROTECTED_PREFIXES)
        or names[option] >= FIRST_APPLICATION_MARK
    )


def names_trailers(value: bytes) -> bool:
    return any(part.strip(b" \t") == b"trailers" for part in value.lower().split(b","))
