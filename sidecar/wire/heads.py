"""Head of an HTTP/1.1 message: bytes to a value, strictly, and back (RFC 9112, 2 to 6).

What two parsers could read differently is refused, never repaired. Whoever forwards a head
drops lines by their index and adds lines of its own; the framing and ``Connection`` lines are
written here, from what was understood and not from what was sent.
"""

import ipaddress
import re
from typing import Final

from sidecar.core.names import folded
from sidecar.core.outcome import Reason
from sidecar.wire.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    FIRST_APPLICATION_MARK,
    HOP_BY_HOP,
    HOST,
    ILLEGAL,
    LOOKALIKE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    NameTable,
    is_token,
)
from sidecar.wire.limits import WireLimits
from sidecar.wire.websocket import UPGRADE_LINES, requested_key

HEAD_END: Final = b"\r\n\r\n"

TEXT: Final = bytes([0x09, *range(0x20, 0x7F), *range(0x80, 0x100)])
"""Everything a line may contain: no control characters, so no NUL, bare CR or bare LF."""
_TARGET: Final = bytes(c for c in range(0x21, 0x7F) if c != ord("#"))
MAX_FIELDS_EVER: Final = 1024
"""What ``max_fields`` may be at most."""
_LINE_ENDS: Final = tuple(b"\r\n" * count for count in range(MAX_FIELDS_EVER + 2))

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])( [^\r\n]*)?\r\n")
# Narrower than reg-name (RFC 3986, 3.2.2): no percent, comma, semicolon, quote or parenthesis,
# which no host has and which a list, a URL or a log could read differently.
_HOST = re.compile(rb"([A-Za-z0-9._~!$&*+=-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_PLAIN_HOST = re.compile(rb"[A-Za-z0-9._-]+(?::[0-9]{1,4})?")
"""What nearly every Host looks like, and surely right."""
_ABSOLUTE = re.compile(rb"(?i:http)://([^/?@]+)([/?].*)?")
_COMMON_METHODS = frozenset((b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"PATCH", b"OPTIONS"))
_MAX_LENGTH_DIGITS = 18
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


class MessageError(Exception):
    """The peer sent something that is not the HTTP we accept. *reason* decides the answer."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def _malformed(detail: str) -> MessageError:
    return MessageError(Reason.MESSAGE_MALFORMED, detail)


class RequestHead:
    """A request's head as understood. *lines* are the field lines, each with its CRLF.

    *marked* lists ``(mark, index into lines, value)`` for the fields that are not ordinary.
    Assigning ``b""`` to a line drops it.
    """

    __slots__ = (
        "chunked", "close", "expects", "host", "http10", "length", "lines", "marked", "method",
        "proxied", "takes_trailers", "target", "upgrade",
    )  # fmt: skip

    def __init__(self, method: bytes, target: bytes, lines: list[bytes]) -> None:
        self.method = method
        self.target = target
        self.lines = lines
        self.marked: list[tuple[int, int, bytes]] = []
        self.host = b""
        self.length = 0
        """Content-Length; meaningless where *chunked*."""
        self.chunked = False
        self.close = False
        """The connection ends after this exchange, by the peer's wish or version."""
        self.http10 = False
        self.expects = False
        """Content follows once the caller is told ``100 Continue``."""
        self.takes_trailers = False
        """The caller said ``TE: trailers``."""
        self.proxied = b""
        """The authority of a target in absolute form, or of ``CONNECT``."""
        self.upgrade = b""
        """The key of a request for a WebSocket; empty where nothing of that kind is asked."""

    @property
    def has_content(self) -> bool:
        return self.chunked or self.length > 0

    def serialize(self, target: bytes, extra: bytes, *, close: bool = False) -> bytes:
        """The head to send onward, with *extra* complete lines, as HTTP/1.1.

        *close* asks the next hop to end the connection after its answer.
        """
        framing = b"transfer-encoding: chunked\r\n" if self.chunked else b""
        if self.takes_trailers:
            # We pass them on, so we may ask for them on the caller's behalf (RFC 9110, 6.5.1).
            framing += b"te: trailers\r\n"
            framing += b"connection: te, close\r\n" if close else b"connection: te\r\n"
        elif close:
            framing += b"connection: close\r\n"
        return b"%b %b HTTP/1.1\r\n%b%b%b\r\n" % (
            self.method,
            target,
            b"".join(self.lines),
            extra,
            framing,
        )


class ResponseHead:
    """A response's head as understood; *lines* and *marked* as in ``RequestHead``."""

    __slots__ = ("chunked", "close", "length", "lines", "marked", "status", "status_line")

    def __init__(self, status: int, status_line: bytes, lines: list[bytes]) -> None:
        self.status = status
        self.status_line = status_line
        self.lines = lines
        self.marked: list[tuple[int, int, bytes]] = []
        self.length: int | None = None
        """Content-Length, ``None`` where absent."""
        self.chunked = False
        self.close = False

    def drop(self, mark: int) -> None:
        """Drop every line with *mark*."""
        for each, index, _ in self.marked:
            if each == mark:
                self.lines[index] = b""

    def serialize(self, extra: bytes) -> bytes:
        """The head to send onward, with *extra* complete lines, as HTTP/1.1."""
        return b"%b%b%b\r\n" % (self.status_line, b"".join(self.lines), extra)


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
        raise _malformed("control character, bare CR or bare LF in the head")
    return lines


def parse_request_head(
    raw: bytes, names: NameTable, limits: WireLimits, *, connect: bool = False
) -> RequestHead:
    """Read *raw*: request line and field lines, each with CRLF, without the empty line.

    *connect*: ``CONNECT`` is served here.

    Raises:
        MessageError: anything RFC 9112 forbids, or that this release does not serve.
    """
    lines = split_lines(raw, limits.max_fields)
    try:
        method, target, version = lines[0].split(b" ")
    except ValueError:
        raise _malformed("the request line is not method, target and version") from None
    del lines[0]
    if method not in _COMMON_METHODS:
        _check_method(method, connect=connect)
    if version != b"HTTP/1.1\r\n" and version != b"HTTP/1.0\r\n":
        if re.fullmatch(rb"HTTP/[0-9](?:\.[0-9])?\r\n", version):
            raise MessageError(Reason.VERSION_UNSUPPORTED, "only HTTP/1.1 and 1.0 are served")
        raise _malformed("the version is not HTTP")
    if len(target) > limits.max_target_bytes:
        raise MessageError(Reason.TARGET_TOO_LONG, f"over {limits.max_target_bytes} bytes")
    if not target or target.translate(None, _TARGET):
        raise _malformed("the target is empty or has characters that a target cannot have")
    head = RequestHead(method, target, lines)
    old = version == b"HTTP/1.0\r\n"
    _read_fields(head, names)
    _frame_request(head, old, names, limits)
    if method == b"CONNECT":
        _resolve_authority(head)
    elif target[0] != 0x2F:  # not origin form
        _resolve_target(head)
    return head


def _check_method(method: bytes, *, connect: bool) -> None:
    if not is_token(method):
        raise _malformed("the method is not a token")
    # Methods are case-sensitive (RFC 9110, 9.1), yet Django, Werkzeug and aiohttp read ``delete``
    # as DELETE: a rule about DELETE would not see it coming.
    if method != method.upper():
        raise _malformed("the method has lower-case letters")
    if method == b"CONNECT" and not connect:
        raise MessageError(Reason.UPGRADE_UNSUPPORTED, "CONNECT is not served")
    if method == b"TRACE":  # an app that answers it would show the caller what we told the app
        raise MessageError(Reason.METHOD_UNSUPPORTED, "TRACE is not served")


def _read_fields(head: RequestHead | ResponseHead, names: NameTable) -> None:
    marked = head.marked
    index = 0
    for line in head.lines:
        colon = line.find(b":")
        mark = names[line[:colon]] if colon > 0 else ILLEGAL
        if mark:
            if mark < 0:
                raise _malformed("a field line has no legal name")
            marked.append((mark, index, line[colon + 1 :].strip()))
        index += 1  # noqa: SIM113 - enumerate would build a tuple for every field


def _frame_request(head: RequestHead, old: bool, names: NameTable, limits: WireLimits) -> None:
    host: bytes | None = None
    length: bytes | None = None
    expectation = -1
    upgrading = False
    head.close = head.http10 = old
    for mark, index, value in head.marked:
        if mark >= FIRST_APPLICATION_MARK:
            continue
        if mark == HOST:
            if host is not None:
                raise _malformed("more than one Host")
            host = value
        elif mark == CONTENT_LENGTH:
            if length is not None:
                raise _malformed("more than one Content-Length")
            length = value
        elif mark == CONNECTION:
            head.lines[index] = b""
            _read_connection(head, value, names)
        elif mark == TRANSFER_ENCODING:
            _read_coding(head, value, old=old)
            head.lines[index] = b""
        elif mark in (HOP_BY_HOP, TRAILER):
            head.lines[index] = b""
        elif mark == TE:
            head.lines[index] = b""
            head.takes_trailers |= not old and _names_trailers(value)
        elif mark == EXPECT:
            if not old and value.lower() != b"100-continue":
                raise MessageError(Reason.EXPECTATION_UNSUPPORTED, "only 100-continue is served")
            # HTTP/1.0 has no expectations (RFC 9110, 10.1.1); to others once is as good as twice.
            if old or expectation >= 0:
                head.lines[index] = b""
            else:
                expectation = index
        elif mark == UPGRADE:
            # Some clients offer h2c with every request; an offer may be ignored (RFC 9110, 7.8)
            # and is never passed on. Whoever asks for something else cannot do without it.
            if value.lower() != b"h2c":
                upgrading = True
            head.lines[index] = b""
        elif mark == LOOKALIKE:
            raise _malformed("a field's name could be read as that of a framing field")
    if length is not None:
        if head.chunked:
            raise _malformed("both Content-Length and Transfer-Encoding")
        head.length = _read_length(length)
        if limits.max_body_bytes is not None and head.length > limits.max_body_bytes:
            raise MessageError(Reason.BODY_TOO_LARGE, f"over {limits.max_body_bytes} bytes")
    if expectation >= 0:
        if not head.has_content:  # then there is nothing to wait for
            head.lines[expectation] = b""
        head.expects = head.lines[expectation] != b""
    if host is None:
        if not old:
            raise _malformed("no Host")
    elif not _is_authority(host):
        raise _malformed("Host is not host[:port]")
    else:
        head.host = host
    if upgrading:
        _ask_for_upgrade(head)


def _ask_for_upgrade(head: RequestHead) -> None:
    """Pass on a proper request for a WebSocket, as the last one on its connection.

    What comes after it could be frames, sent too early: nobody may take them for a request.
    """
    key = requested_key(head.method, head.lines, head.marked)
    if key is None or head.http10 or head.has_content:
        raise MessageError(
            Reason.UPGRADE_UNSUPPORTED, "only a WebSocket of version 13 is served, by GET"
        )
    head.upgrade = key
    head.close = True
    head.takes_trailers = False  # ``Connection`` is written once, and here it says Upgrade
    head.lines.append(UPGRADE_LINES)


def _is_authority(value: bytes) -> bool:
    if _PLAIN_HOST.fullmatch(value):
        return True
    match = _HOST.fullmatch(value)
    if match is None:
        return False
    host, port = match.groups()
    if port is not None and int(port) > 65535:
        return False
    return host[0] != 0x5B or _is_ipv6(host[1:-1])


def _is_ipv6(literal: bytes) -> bool:
    try:
        ipaddress.IPv6Address(literal.decode("ascii"))
    except ValueError:
        return False
    return True


def _names_trailers(value: bytes) -> bool:
    return any(part.strip(b" \t") == b"trailers" for part in value.lower().split(b","))


def _read_length(value: bytes) -> int:
    if not value.isdigit() or len(value) > _MAX_LENGTH_DIGITS:
        raise _malformed("Content-Length is not one decimal number")
    return int(value)


def _read_coding(head: RequestHead | ResponseHead, value: bytes, *, old: bool) -> None:
    if old:
        raise _malformed("Transfer-Encoding in HTTP/1.0")
    if head.chunked:
        raise _malformed("more than one Transfer-Encoding")
    lowered = value.lower()
    if lowered != b"chunked":
        codings = [part.strip() for part in lowered.split(b",")]
        if all(map(is_token, codings)) and codings[-1] == b"chunked" not in codings[:-1]:
            raise MessageError(Reason.CODING_UNSUPPORTED, "only chunked is served")
        raise _malformed("Transfer-Encoding is not chunked")
    head.chunked = True


def _read_connection(
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
                raise _malformed(f"Connection has more than {MAX_CONNECTION_OPTIONS} options")
            _check_option(option, protected)
            named.add(option)
    named -= _NEVER_DROPPED
    if named:
        _drop_named(head.lines, named)


def _check_option(option: bytes, protected: NameTable | None) -> None:
    if not is_token(option):
        raise _malformed("Connection has an option that is not a token")
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


def _resolve_target(head: RequestHead) -> None:
    """Turn absolute form into origin form; allow ``*`` to OPTIONS alone (RFC 9112, 3.2)."""
    if head.target == b"*" and head.method == b"OPTIONS":
        return
    match = _ABSOLUTE.fullmatch(head.target)
    if match is None:
        raise _malformed("the target is neither a path nor an http URL")
    authority, rest = match.groups()
    if not _is_authority(authority):
        raise _malformed("the target's authority is not host[:port]")
    if _without_default_port(authority) != _without_default_port(head.host):
        raise _malformed("the target's authority and Host differ")
    head.proxied = authority
    if rest is None:
        head.target = b"*" if head.method == b"OPTIONS" else b"/"  # RFC 9112, 3.2.4
    else:
        head.target = b"/" + rest if rest[0] == 0x3F else rest


def _resolve_authority(head: RequestHead) -> None:
    """Check the target of ``CONNECT``, which must be ``host:port`` (RFC 9112, 3.2.3).

    Some clients leave the port out of Host, and HTTP/1.0 ones send none.
    """
    target = head.target
    host, colon, port = target.rpartition(b":")
    if not colon or not port.isdigit() or not _is_authority(target):
        raise _malformed("the target of CONNECT is not host:port")
    if head.host and head.host.lower() not in (target.lower(), host.lower()):
        raise _malformed("the target of CONNECT and Host differ")
    if head.has_content:  # it would be read as the tunnel's first bytes, or not
        raise _malformed("CONNECT with content")
    head.close = True  # without a tunnel, what comes after it may be anything but a request
    head.proxied = target


def _without_default_port(authority: bytes) -> bytes:
    return authority.lower().removesuffix(b":80")


def parse_response_head(raw: bytes, names: NameTable, max_fields: int) -> ResponseHead:
    """Read *raw*: status line and field lines, each with CRLF, without the empty line.

    Raises:
        MessageError: anything RFC 9112 forbids. The reason is the upstream's.
    """
    try:
        return _parse_response_head(raw, names, max_fields)
    except MessageError as error:
        raise MessageError(Reason.UPSTREAM_MALFORMED, error.detail) from None


def _parse_response_head(raw: bytes, names: NameTable, max_fields: int) -> ResponseHead:
    lines = split_lines(raw, max_fields)
    match = _STATUS_LINE.fullmatch(lines[0])
    if match is None:
        raise _malformed("the status line is not HTTP/1.x, a status from 100 to 599 and a reason")
    old = match[1] == b"0"
    # A line without its last space is common and harmless, but is not passed on like that.
    status_line = (
        lines[0] if match[3] and not old else b"HTTP/1.1 %b%b\r\n" % (match[2], match[3] or b" ")
    )
    del lines[0]
    head = ResponseHead(int(match[2]), status_line, lines)
    head.close = old
    _read_fields(head, names)
    for mark, index, value in head.marked:
        if mark >= FIRST_APPLICATION_MARK:
            continue
        if mark == CONTENT_LENGTH:
            if head.length is not None:
                raise _malformed("more than one Content-Length")
            head.length = _read_length(value)
        elif mark == TRANSFER_ENCODING:
            _read_coding(head, value, old=old)
            head.lines[index] = b""
        elif mark == CONNECTION:
            head.lines[index] = b""
            _read_connection(head, value)
        elif mark in (HOP_BY_HOP, TE, TRAILER, UPGRADE):
            head.lines[index] = b""
    if head.chunked and head.length is not None:
        raise _malformed("both Content-Length and Transfer-Encoding")
    return head
