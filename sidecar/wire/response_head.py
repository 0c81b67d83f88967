"""Head of an answer: bytes to a value, strictly (RFC 9112, 4 to 6)."""

import re
from functools import lru_cache
from typing import Final

from sidecar.core.outcome import Reason
from sidecar.wire.field_lines import (
    read_coding,
    read_connection,
    read_fields,
    read_length,
    split_lines,
)
from sidecar.wire.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    FIRST_APPLICATION_MARK,
    HOP_BY_HOP,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    NameTable,
)
from sidecar.wire.heads import MessageError, ResponseHead, malformed

_SHORT_LINE: Final = 64
"""Bytes; what was read is remembered up to this length. Servers have a few lines only."""
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])( [^\r\n]*)?\r\n")


def parse_response_head(raw: bytes, names: NameTable, max_fields: int) -> ResponseHead:
    """Read *raw*: status line and field lines, each with CRLF, without the empty line.

    Raises:
        MessageError: anything RFC 9112 forbids. The reason is the upstream's.
    """
    try:
        return _parse_response_head(raw, names, max_fields)
    except MessageError as error:
        raise MessageError(Reason.UPSTREAM_MALFORMED, error.detail) from None


@lru_cache(maxsize=256)
def _read_short(line: bytes) -> tuple[int, bytes, bool] | None:
    return _read_status_line(line)


def _read_status_line(line: bytes) -> tuple[int, bytes, bool] | None:
    """Return the status, the line to pass on, and whether the version is 1.0."""
    match = _STATUS_LINE.fullmatch(line)
    if match is None:
        return None
    old = match[1] == b"0"
    # A line without its last space is common and harmless, but is not passed on like that.
    if not match[3] or old:
        line = b"HTTP/1.1 %b%b\r\n" % (match[2], match[3] or b" ")
    return int(match[2]), line, old


def _parse_response_head(raw: bytes, names: NameTable, max_fields: int) -> ResponseHead:
    lines = split_lines(raw, max_fields)
    first = lines.pop(0)
    read = _read_short(first) if len(first) <= _SHORT_LINE else _read_status_line(first)
    if read is None:
        raise malformed("the status line is not HTTP/1.x, a status from 100 to 599 and a reason")
    status, status_line, old = read
    head = ResponseHead(status, status_line, lines)
    head.close = old
    read_fields(head, names)
    for mark, index, value in head.marked:
        if mark >= FIRST_APPLICATION_MARK:
            continue
        if mark == CONTENT_LENGTH:
            if head.length is not None:
                raise malformed("more than one Content-Length")
            head.length = read_length(value)
        elif mark == TRANSFER_ENCODING:
            read_coding(head, value, old=old)
            head.lines[index] = b""
        elif mark == CONNECTION:
            head.lines[index] = b""
            read_connection(head, value)
        elif mark in (HOP_BY_HOP, TE, TRAILER, UPGRADE):
            head.lines[index] = b""
    if head.chunked and head.length is not None:
        raise malformed("both Content-Length and Transfer-Encoding")
    return head
