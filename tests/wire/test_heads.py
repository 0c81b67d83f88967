"""Heads: what is understood, what is refused and why, what is written for the next hop."""

from dataclasses import replace

import pytest

from sidecar.core.outcome import Reason
from sidecar.wire.beginnings import is_hopeless, is_hopeless_answer
from sidecar.wire.field_lines import MAX_CONNECTION_OPTIONS, MAX_FIELDS_EVER
from sidecar.wire.fields import FIRST_APPLICATION_MARK, NameTable
from sidecar.wire.heads import MessageError, RequestHead, ResponseHead
from sidecar.wire.request_head import parse_request_head
from sidecar.wire.response_head import parse_response_head
from tests.support.wire_exchange import classify
from tests.support.wire_messages import BAD_FIELDS, BAD_LINES, with_fields
from tests.support.wire_proxy import LIMITS

MALFORMED = Reason.MESSAGE_MALFORMED


def request(raw: bytes) -> RequestHead:
    return parse_request_head(raw, NameTable(classify), LIMITS)


def response(raw: bytes) -> ResponseHead:
    return parse_response_head(raw, NameTable(classify), LIMITS.max_fields)


# --- requests that are good ---


def test_a_plain_request_is_understood() -> None:
    """Method, target, host and lines are as sent; there is no content."""
    head = request(b"GET /a?b=c HTTP/1.1\r\nHost: example.com:80\r\nX-One: 1\r\n")
    assert (head.method, head.target, head.host) == (b"GET", b"/a?b=c", b"example.com:80")
    assert head.lines == [b"Host: example.com:80\r\n", b"X-One: 1\r\n"]
    assert (head.length, head.chunked, head.close, head.http10) == (0, False, False, False)


@pytest.mark.parametrize("method", [b"GET", b"M-SEARCH", b"!", b"PURGE", b"OPTIONS"])
def test_any_upper_case_token_is_a_method(method: bytes) -> None:
    """Methods are not a closed set."""
    assert request(with_fields(start=method + b" / HTTP/1.1")).method == method


@pytest.mark.parametrize(
    ("target", "origin_form"),
    [
        (b"http://h/a?b", b"/a?b"),
        (b"HTTP://H/", b"/"),
        (b"http://h", b"/"),
        (b"http://h:80/x", b"/x"),
        (b"http://h?q", b"/?q"),
        (b"//h/x", b"//h/x"),
        (b"/http://other/", b"/http://other/"),
        (b'/%00%zz|{}^"', b'/%00%zz|{}^"'),
    ],
)
def test_the_target_becomes_origin_form(target: bytes, origin_form: bytes) -> None:
    """Absolute form is reduced to what an origin server expects; a path stays as it was sent."""
    assert request(with_fields(start=b"GET %b HTTP/1.1" % target)).target == origin_form


@pytest.mark.parametrize("target", [b"*", b"http://h"])
def test_options_may_ask_about_the_server(target: bytes) -> None:
    """``OPTIONS *``, and absolute form without a path, which means the same (RFC 9112, 3.2.4)."""
    assert request(with_fields(start=b"OPTIONS %b HTTP/1.1" % target)).target == b"*"


@pytest.mark.parametrize(
    "host",
    [b"h", b"a.b_c-d~e", b"10.0.0.1:65535", b"[::1]", b"[2001:db8::1]:8080", b"h:0", b"localhost"],
)
def test_a_host_is_a_name_or_address_with_an_optional_port(host: bytes) -> None:
    """The value of Host is read without the space around it."""
    assert request(with_fields(b"Host:\t %b \t" % host, host=False)).host == host


def test_http10_is_read_and_ends_the_connection() -> None:
    """HTTP/1.0 may do without Host, knows no expectation, and closes whatever it says."""
    head = request(
        with_fields(
            b"Connection: keep-alive",
            b"Expect: 100-continue",
            b"Content-Length: 3",
            start=b"POST / HTTP/1.0",
            host=False,
        )
    )
    assert (head.http10, head.close, head.host, head.length) == (True, True, b"", 3)
    assert b"".join(head.lines) == b"Content-Length: 3\r\n"


@pytest.mark.parametrize(
    "value", [b"close", b"Close", b"keep-alive, close", b", close ,", b"x-a,close"]
)
def test_connection_close_is_noticed(value: bytes) -> None:
    """The option may stand anywhere in the list and in any case."""
    assert request(with_fields(b"Connection: " + value)).close


@pytest.mark.parametrize("size", [b"0", b"007", b"123456789012345678"])
def test_a_length_is_a_decimal_number(size: bytes) -> None:
    """Leading zeros are part of the grammar (RFC 9110, 8.6)."""
    assert request(with_fields(b"Content-Length: " + size)).length == int(size)


def test_chunked_is_recognised_in_any_case() -> None:
    """The coding's name is case-insensitive; the field is written anew for the next hop."""
    head = request(with_fields(b"Transfer-Encoding: Chunked"))
    assert head.chunked
    assert head.serialize(b"/", b"") == (
        b"POST / HTTP/1.1\r\nHost: h\r\ntransfer-encoding: chunked\r\n\r\n"
    )


# --- requests that are bad ---


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_request_line_is_malformed(line: bytes) -> None:
    """What is not exactly ``method SP target SP HTTP/1.x`` is refused, never repaired."""
    with pytest.raises(MessageError) as raised:
        request(with_fields(start=line))
    assert raised.value.reason is MALFORMED


@pytest.mark.parametrize("lines", BAD_FIELDS)
def test_bad_fields_are_malformed(lines: bytes) -> None:
    """What two parsers could read differently is refused."""
    with pytest.raises(MessageError) as raised:
        request(with_fields(lines))
    assert raised.value.reason is MALFORMED


@pytest.mark.parametrize(
    "host",
    [b"", b"a b", b"a,b", b"user@h", b"h/path", b"h:", b"h:x", b"h:123456", b"h:65536", b"a:1:2",
     b"[::1", b"::1", b"[::1]x", b"[:::]", b"[1.2.3.4]", b"h%41", b"h?q", b"h#f", b"\xe9", b"h\\x"],
)  # fmt: skip
def test_a_bad_host_is_malformed(host: bytes) -> None:
    """Host must be one unambiguous ``host[:port]``."""
    with pytest.raises(MessageError) as raised:
        request(with_fields(b"Host: " + host, host=False))
    assert raised.value.reason is MALFORMED


def test_http11_needs_a_host() -> None:
    """RFC 9112, 3.2: exactly one Host."""
    with pytest.raises(MessageError) as raised:
        request(with_fields(host=False))
    assert raised.value.reason is MALFORMED


def test_http10_has_no_transfer_coding() -> None:
    """Which of the two framings a 1.0 recipient would believe is anyone's guess."""
    with pytest.raises(MessageError) as raised:
        request(with_fields(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0"))
    assert raised.value.reason is MALFORMED


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (with_fields(start=b"GET / HTTP/2.0"), Reason.VERSION_UNSUPPORTED),
        (with_fields(start=b"GET / HTTP/1.2"), Reason.VERSION_UNSUPPORTED),
        (with_fields(start=b"GET / HTTP/0.9"), Reason.VERSION_UNSUPPORTED),
        (with_fields(start=b"PRI * HTTP/2.0", host=False), Reason.VERSION_UNSUPPORTED),
        (with_fields(start=b"CONNECT h:443 HTTP/1.1"), Reason.UPGRADE_UNSUPPORTED),
        (with_fields(start=b"CONNECT /x HTTP/1.1"), Reason.UPGRADE_UNSUPPORTED),
        (with_fields(b"Upgrade: websocket", b"Connection: upgrade"), Reason.UPGRADE_UNSUPPORTED),
        (with_fields(b"Upgrade: h2c, websocket"), Reason.UPGRADE_UNSUPPORTED),
        (with_fields(start=b"TRACE / HTTP/1.1"), Reason.METHOD_UNSUPPORTED),
        (with_fields(b"Expect: whatever"), Reason.EXPECTATION_UNSUPPORTED),
        (with_fields(b"Expect: 100-continue, whatever"), Reason.EXPECTATION_UNSUPPORTED),
        (with_fields(b"Expect:"), Reason.EXPECTATION_UNSUPPORTED),
        (with_fields(b"Transfer-Encoding: gzip, chunked"), Reason.CODING_UNSUPPORTED),
        (with_fields(start=b"GET /%b HTTP/1.1" % (b"a" * 1024)), Reason.TARGET_TOO_LONG),
        (with_fields(*[b"X: y"] * 50), Reason.HEAD_TOO_LARGE),
    ],
)
def test_what_is_http_but_not_served_says_so(raw: bytes, reason: Reason) -> None:
    """A caller who spoke HTTP learns which part of it is not served."""
    with pytest.raises(MessageError) as raised:
        request(raw)
    assert raised.value.reason is reason


def test_as_many_fields_as_the_wire_can_hold_are_read_and_one_more_is_refused() -> None:
    """The bound that a configuration may ask for at most is a bound and not an accident."""
    limits = replace(LIMITS, max_fields=MAX_FIELDS_EVER)
    most = with_fields(*(b"X: 1" for _ in range(MAX_FIELDS_EVER - 1)))
    assert len(parse_request_head(most, NameTable(), limits).lines) == MAX_FIELDS_EVER
    with pytest.raises(MessageError) as raised:
        parse_request_head(most + b"X: 1\r\n", NameTable(), limits)
    assert raised.value.reason is Reason.HEAD_TOO_LARGE


def test_the_bounds_themselves_are_allowed() -> None:
    """A target and a number of fields exactly at their limits pass."""
    target = b"/" + b"a" * (LIMITS.max_target_bytes - 1)
    lines = [b"X: y"] * (LIMITS.max_fields - 1)
    assert len(request(with_fields(*lines, start=b"GET %b HTTP/1.1" % target)).lines) == 50


@pytest.mark.parametrize(("length", "fits"), [(9, True), (10, True), (11, False)])
def test_content_over_its_bound_is_refused_by_its_length(length: int, fits: bool) -> None:
    """The declared length decides before a byte of content is read."""
    limits = replace(LIMITS, max_body_bytes=10)
    raw = with_fields(b"Content-Length: %d" % length)
    if fits:
        assert parse_request_head(raw, NameTable(), limits).length == length
    else:
        with pytest.raises(MessageError) as raised:
            parse_request_head(raw, NameTable(), limits)
        assert raised.value.reason is Reason.BODY_TOO_LARGE


# --- hop by hop ---


def test_hop_by_hop_fields_end_here() -> None:
    """Connection, the fields it names, and the fixed ones are not passed on (RFC 9110, 7.6.1)."""
    head = request(
        with_fields(
            b"X-Named: 1",
            b"Connection: keep-alive, x-named, X-Later",
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: keep-alive",
            b"Proxy-Authorization: Basic x",
            b"TE: trailers",
            b"Trailer: X-Sum",
            b"X-LATER: 2",
            b"X-Stays: 3",
        )
    )
    assert b"".join(head.lines) == b"Host: h\r\nX-Stays: 3\r\n"


def test_an_offer_of_h2c_is_ignored_and_goes_no_further() -> None:
    """Java's client offers it with every plain request; nothing of the offer is passed on."""
    head = request(
        with_fields(
            b"Connection: Upgrade, HTTP2-Settings",
            b"Upgrade: h2c",
            b"HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk",
        )
    )
    assert b"".join(head.lines) == b"Host: h\r\n"
    assert not head.close


@pytest.mark.parametrize(
    "option",
    [b"host", b"Content-Length", b"Transfer-Encoding", b"authorization", b"Cookie", b"forwarded",
     b"x-forwarded-for", b"X_Forwarded_For", b"traceparent", b"tracestate", b"baggage",
     b"correlation-context", b"b3", b"x-b3-traceid", b"x-auth-subject", b"x_auth_subject",
     b"x-sidecar-context", b"x-secret"],
)  # fmt: skip
def test_connection_must_not_name_what_identity_hangs_on(option: bytes) -> None:
    """Having us delete such a field is an attack; what the application marked counts as well."""
    with pytest.raises(MessageError) as raised:
        request(with_fields(b"Connection: close, " + option))
    assert raised.value.reason is Reason.CONNECTION_PROTECTED


def test_connection_may_name_a_few_fields_and_not_many() -> None:
    """The same option is one, however often it is said; the bound itself is allowed."""
    names = [b"x-%d" % number for number in range(MAX_CONNECTION_OPTIONS)]
    options = b"Connection: close," + b",".join(names * 2)
    head = request(with_fields(options, b"X-63: dropped"))
    assert b"".join(head.lines) == b"Host: h\r\n"
    with pytest.raises(MessageError) as raised:
        request(with_fields(options + b",x-more"))
    assert raised.value.reason is MALFORMED


def test_connection_cannot_take_framing_out_of_an_answer() -> None:
    """An answer's framing stays, whatever its Connection names."""
    head = response(
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nDate: today\r\nX-A: 1\r\n"
        b"Connection: content-length, transfer-encoding, date, x-a\r\n"
    )
    assert head.length == 3
    assert b"".join(head.lines) == b"Content-Length: 3\r\nDate: today\r\n"


def test_marked_fields_are_reported_with_their_values() -> None:
    """Whoever forwards finds its own fields by mark, in any spelling."""
    head = request(with_fields(b"x-SECRET:  one ", b"X-Other: y", b"X-Secret:two"))
    found = [
        (head.lines[index], value)
        for mark, index, value in head.marked
        if mark >= FIRST_APPLICATION_MARK
    ]
    assert found == [(b"x-SECRET:  one \r\n", b"one"), (b"X-Secret:two\r\n", b"two")]


def test_serializing_adds_lines_and_the_given_target() -> None:
    """The head goes on as HTTP/1.1 with the target that was decided upon and the lines of ours."""
    head = request(with_fields(b"Content-Length: 2", start=b"PUT /old HTTP/1.0"))
    assert head.serialize(b"/new", b"x-ours: 1\r\n") == (
        b"PUT /new HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nx-ours: 1\r\n\r\n"
    )


# --- responses ---


@pytest.mark.parametrize(
    ("line", "onward"),
    [
        (b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\n"),
        (b"HTTP/1.1 200 ", b"HTTP/1.1 200 \r\n"),
        (b"HTTP/1.1 200", b"HTTP/1.1 200 \r\n"),
        (b"HTTP/1.0 404 Not Found", b"HTTP/1.1 404 Not Found\r\n"),
        (b"HTTP/1.0 404", b"HTTP/1.1 404 \r\n"),
        (b"HTTP/1.1 599 \xe9\t!", b"HTTP/1.1 599 \xe9\t!\r\n"),
    ],
)
def test_a_status_line_goes_on_as_http11(line: bytes, onward: bytes) -> None:
    """The version is ours; status and reason are the origin's."""
    assert response(line + b"\r\n").status_line == onward


@pytest.mark.parametrize(
    ("raw", "close"),
    [
        (b"HTTP/1.1 200 OK\r\n", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n", True),
        (b"HTTP/1.0 200 OK\r\n", True),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
    ],
)
def test_when_a_response_ends_its_connection(raw: bytes, close: bool) -> None:
    """HTTP/1.0 and ``close`` mean that the connection is not used again."""
    assert response(raw).close is close


@pytest.mark.parametrize(
    "raw",
    [
        b"\r\n",
        b"HTTP/1.1\r\n",
        b"HTTP/1.1 \r\n",
        b"HTTP/1.1 20 OK\r\n",
        b"HTTP/1.1 2000 OK\r\n",
        b"HTTP/1.1 099 Odd\r\n",
        b"HTTP/1.1 600 Odd\r\n",
        b"HTTP/1.1 +20 Odd\r\n",
        b"HTTP/1.1  200 OK\r\n",
        b"HTTP/1.2 200 OK\r\n",
        b"HTTP/2.0 200 OK\r\n",
        b"http/1.1 200 OK\r\n",
        b"ICY 200 OK\r\n",
        b" HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 O\x00K\r\n",
        b"HTTP/1.1 200 O\rK\r\n",
        b"HTTP/1.1 200 OK\r\nNo-Colon\r\n",
        b"HTTP/1.1 200 OK\r\nSpace : x\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1,1\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: a b\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 51,
    ],
)
def test_a_bad_response_head_is_the_upstreams_fault(raw: bytes) -> None:
    """Whatever is wrong with an answer, the reason is the same and it is not passed on."""
    with pytest.raises(MessageError) as raised:
        response(raw)
    assert raised.value.reason is Reason.UPSTREAM_MALFORMED


def test_a_response_head_loses_what_ends_here() -> None:
    """Hop-by-hop fields and framing go; the application drops its own by mark."""
    head = response(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nKeep-Alive: timeout=5\r\n"
        b"Upgrade: h2c\r\nProxy-Authenticate: x\r\nX-Secret: s\r\nX-Stays: 1\r\n"
    )
    head.drop(FIRST_APPLICATION_MARK)
    assert head.serialize(b"x-ours: 2\r\n") == b"HTTP/1.1 200 OK\r\nX-Stays: 1\r\nx-ours: 2\r\n\r\n"


# --- the beginning of a head ---


@pytest.mark.parametrize(
    "raw",
    [b"GET / HTTP/1.1\nHost", b"GET / HTTP/1.1\rHost", b"GET / HTTP/1.1\r\r", b"\r\n\r\nGET",
     b"\x16\x03\x01\x02", b"G\x00T", b"\n"],
)  # fmt: skip
def test_a_beginning_that_cannot_become_a_request_is_hopeless(raw: bytes) -> None:
    """Bare line ends, a second empty line, TLS: nothing that follows could mend it."""
    assert is_hopeless(raw, 2 if raw.startswith(b"\r\n") else 0)


@pytest.mark.parametrize(
    "raw", [b"", b"\r", b"\r\n", b"G", b"GET / HTTP/1.1\r", b"GET / HTTP/1.1\r\nA: b\r"]
)
def test_a_beginning_of_a_request_is_not_hopeless(raw: bytes) -> None:
    """Any beginning of a valid request is waited for."""
    assert not is_hopeless(raw, 2 if raw.startswith(b"\r\n") else 0)


@pytest.mark.parametrize(
    "raw",
    [b"<html>", b"SSH-2.0", b"\x15\x03\x03", b"HTTP/2", b"\r\n", b"\n", b"http/1.1 200 OK",
     b"HTTP/1.1 200 OK\nX", b"HTTP/1.1 200 OK\rX", b" HTTP/1.1"],
)  # fmt: skip
def test_a_beginning_that_cannot_become_an_answer_is_hopeless(raw: bytes) -> None:
    """Another protocol, or content without a head, is not waited for."""
    assert is_hopeless_answer(raw)


@pytest.mark.parametrize("raw", [b"", b"H", b"HTTP/1.", b"HTTP/1.0 200 OK\r", b"HTTP/1.1 200\r\nX"])
def test_a_beginning_of_an_answer_is_not_hopeless(raw: bytes) -> None:
    """Any beginning of a valid answer is waited for."""
    assert not is_hopeless_answer(raw)
