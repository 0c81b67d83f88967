"""Head of a request: bytes to a value, strictly (RFC 9112, 2 to 6; RFC 9110, 7 and 9)."""

import ipaddress
import re
from functools import lru_cache
from typing import Final

from sidecar.core.outcome import Reason
from sidecar.wire.field_lines import (
    names_trailers,
    read_coding,
    read_connection,
    read_fields,
    read_length,
    split_lines,
)
from sidecar.wire.fields import (
    CONNECTION,
    CONTENT_LENGTH,
    EXPECT,
    FIRST_APPLICATION_MARK,
    HOP_BY_HOP,
    HOST,
    LOOKALIKE,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    NameTable,
    is_token,
)
from sidecar.wire.heads import MessageError, RequestHead, malformed
from sidecar.wire.limits import WireLimits
from sidecar.wire.websocket import UPGRADE_LINES, requested_key

_TARGET: Final = bytes(c for c in range(0x21, 0x7F) if c != ord("#"))
# Narrower than reg-name (RFC 3986, 3.2.2): no percent, comma, semicolon, quote or parenthesis,
# which no host has and which a list, a URL or a log could read differently.
_HOST = re.compile(rb"([A-Za-z0-9._~!$&*+=-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")
_SHORT_HOST: Final = 128
"""Bytes; what was judged is remembered up to this length."""
_ABSOLUTE = re.compile(rb"(?i:http)://([^/?@]+)([/?].*)?")
_COMMON_METHODS = frozenset((b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"PATCH", b"OPTIONS"))


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
        raise malformed("the request line is not method, target and version") from None
    del lines[0]
    if method not in _COMMON_METHODS:
        _check_method(method, connect=connect)
    if version != b"HTTP/1.1\r\n" and version != b"HTTP/1.0\r\n":
        if re.fullmatch(rb"HTTP/[0-9](?:\.[0-9])?\r\n", version):
            raise MessageError(Reason.VERSION_UNSUPPORTED, "only HTTP/1.1 and 1.0 are served")
        raise malformed("the version is not HTTP")
    if len(target) > limits.max_target_bytes:
        raise MessageError(Reason.TARGET_TOO_LONG, f"over {limits.max_target_bytes} bytes")
    if not target or target.translate(None, _TARGET):
        raise malformed("the target is empty or has characters that a target cannot have")
    head = RequestHead(method, target, lines)
    old = version == b"HTTP/1.0\r\n"
    read_fields(head, names)
    _frame_request(head, old, names, limits)
    if method == b"CONNECT":
        _resolve_authority(head)
    elif target[0] != 0x2F:  # not origin form
        _resolve_target(head)
    return head


def _check_method(method: bytes, *, connect: bool) -> None:
    if not is_token(method):
        raise malformed("the method is not a token")
    # Methods are case-sensitive (RFC 9110, 9.1), yet Django, Werkzeug and aiohttp read ``delete``
    # as DELETE: a rule about DELETE would not see it coming.
    if method != method.upper():
        raise malformed("the method has lower-case letters")
    if method == b"CONNECT" and not connect:
        raise MessageError(Reason.UPGRADE_UNSUPPORTED, "CONNECT is not served")
    if method == b"TRACE":  # an app that answers it would show the caller what we told the app
        raise MessageError(Reason.METHOD_UNSUPPORTED, "TRACE is not served")


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
                raise malformed("more than one Host")
            host = value
        elif mark == CONTENT_LENGTH:
            if length is not None:
                raise malformed("more than one Content-Length")
            length = value
        elif mark == CONNECTION:
            head.lines[index] = b""
            read_connection(head, value, names)
        elif mark == TRANSFER_ENCODING:
            read_coding(head, value, old=old)
            head.lines[index] = b""
        elif mark in (HOP_BY_HOP, TRAILER):
            head.lines[index] = b""
        elif mark == TE:
            head.lines[index] = b""
            head.takes_trailers |= not old and names_trailers(value)
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
            raise malformed("a field's name could be read as that of a framing field")
    if length is not None:
        if head.chunked:
            raise malformed("both Content-Length and Transfer-Encoding")
        head.length = read_length(length)
        if limits.max_body_bytes is not None and head.length > limits.max_body_bytes:
            raise MessageError(Reason.BODY_TOO_LARGE, f"over {limits.max_body_bytes} bytes")
    if expectation >= 0:
        if not head.has_content:  # then there is nothing to wait for
            head.lines[expectation] = b""
        head.expects = head.lines[expectation] != b""
    if host is None:
        if not old:
            raise malformed("no Host")
    elif not _is_authority(host):
        raise malformed("Host is not host[:port]")
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
    # A service is called by few names; whoever calls it by others makes that cost what it would.
    return _judge_short(value) if len(value) <= _SHORT_HOST else _judge_authority(value)


@lru_cache(maxsize=256)
def _judge_short(value: bytes) -> bool:
    return _judge_authority(value)


def _judge_authority(value: bytes) -> bool:
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


def _resolve_target(head: RequestHead) -> None:
    """Turn absolute form into origin form; allow ``*`` to OPTIONS alone (RFC 9112, 3.2)."""
    if head.target == b"*" and head.method == b"OPTIONS":
        return
    match = _ABSOLUTE.fullmatch(head.target)
    if match is None:
        raise malformed("the target is neither a path nor an http URL")
    authority, rest = match.groups()
    if not _is_authority(authority):
        raise malformed("the target's authority is not host[:port]")
    if _without_default_port(authority) != _without_default_port(head.host):
        raise malformed("the target's authority and Host differ")
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
        raise malformed("the target of CONNECT is not host:port")
    if head.host and head.host.lower() not in (target.lower(), host.lower()):
        raise malformed("the target of CONNECT and Host differ")
    if head.has_content:  # it would be read as the tunnel's first bytes, or not
        raise malformed("CONNECT with content")
    head.close = True  # without a tunnel, what comes after it may be anything but a request
    head.proxied = target


def _without_default_port(authority: bytes) -> bytes:
    return authority.lower().removesuffix(b":80")
