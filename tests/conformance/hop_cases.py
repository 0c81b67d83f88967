"""Fields that end at this hop, and what a ``Connection`` may not ask for (DESIGN, 6.6)."""

from tests.conformance.cases import SMUGGLED, Case, Passed, Refused, request

_PROTECTED = [
    b"Host", b"content-length", b"Transfer-Encoding", b"Authorization", b"Cookie", b"Forwarded",
    b"X-Forwarded-For", b"x_forwarded_for", b"X-Forwarded-Proto", b"x-forwarded-host",
    b"Traceparent", b"tracestate", b"baggage", b"Correlation-Context", b"b3", b"X-B3-TraceId",
    b"X-Auth-Subject", b"x_auth_roles", b"X-Auth-Anything", b"X-Sidecar-Context",
    b"x-sidecar-carrier", b"X.Sidecar.Context", b"X-Request-Id", b"X-HTTP-Method-Override",
]  # fmt: skip

REFUSED = [
    *(
        Case(
            f"Connection names {option.decode()}",
            request(b"Connection: close, " + option, b"Content-Length: 0"),
            "DESIGN, 6.6",
            Refused(400, "connection_protected"),
        )
        for option in _PROTECTED
    ),
    Case(
        "Connection names Authorization in a second line",
        request(b"Connection: keep-alive", b"Connection: authorization"),
        "DESIGN, 6.6",
        Refused(400, "connection_protected"),
    ),
    Case("Connection with an option that is no token", request(b"Connection: a b"), "9110, 7.6.1"),
    Case("Connection with obs-text", request(b"Connection: \xe9"), "9110, 7.6.1"),
    Case("Connection with a quoted option", request(b'Connection: "close"'), "9110, 7.6.1"),
    Case(
        "Connection with more options than anybody has",
        request(b"Connection: " + b",".join(b"x-%d" % number for number in range(3000))),
        "9110, 7.6.1",
    ),
]

PASSED = [
    Case(
        "Connection names fields",
        request(
            b"X-One: 1", b"Connection: keep-alive, x-one,X-TWO ,, ", b"X-Two: 2", b"X-Three: 3"
        ),
        "9110, 7.6.1",
        Passed(has=((b"x-three", b"3"),), lacks=(b"x-one", b"x-two", b"connection")),
    ),
    Case(
        "Connection names one field many times",
        request(b"Connection: " + b"x-one," * 4000, b"X-One: 1"),
        "9110, 7.6.1",
        Passed(lacks=(b"x-one", b"connection")),
    ),
    Case(
        "Keep-Alive, Proxy-* and TE",
        request(
            b"Connection: keep-alive",
            b"Keep-Alive: timeout=5, max=100",
            b"Proxy-Connection: close",
            b"Proxy-Authorization: Basic eA==",
            b"Proxy-Anything: x",
            b"TE: gzip;q=0.5",
        ),
        "9110, 7.6.1",
        Passed(
            lacks=(
                b"keep-alive",
                b"proxy-connection",
                b"proxy-authorization",
                b"proxy-anything",
                b"connection",
                b"te",
            )
        ),
    ),
    Case(
        "reserved names of ours from a caller",
        request(
            b"X-Auth-Extra: admin",
            b"x_auth_roles: admin",
            b"X.Auth.Roles: admin",
            b"X-Sidecar-Anything: x",
            b"X-Original-URL: /admin",
        ),
        "DESIGN, 6.5",
        Passed(
            lacks=(
                b"x-auth-extra",
                b"x_auth_roles",
                b"x.auth.roles",
                b"x-sidecar-anything",
                b"x-original-url",
            )
        ),
    ),
    Case(
        "a field of another name that looks like hop by hop",
        request(b"X-Proxy-Connection: close", b"X-TE: trailers"),
        "9110, 7.6.1",
        Passed(has=((b"x-proxy-connection", b"close"), (b"x-te", b"trailers"))),
    ),
]

_HIDDEN = (b"Content-Length: %d" % len(SMUGGLED), SMUGGLED)
_CHUNKED = (b"Transfer-Encoding: chunked", b"%x\r\n%b\r\n0\r\n\r\n" % (len(SMUGGLED), SMUGGLED))


def _with_content(*lines: bytes, start: bytes = b"POST /case HTTP/1.1") -> list[bytes]:
    return [
        request(*lines, framing, start=start, content=content)
        for framing, content in (_HIDDEN, _CHUNKED)
    ]


UNDECIDED = {
    "Expect (0.CL)": _with_content(b"Expect: 100-continue"),
    "Expect of GET (0.CL)": _with_content(b"Expect: 100-continue", start=b"GET /case HTTP/1.1"),
    "Expect in capitals": _with_content(b"EXPECT: 100-CONTINUE"),
    "Expect with a word before it": _with_content(b"Expect: y 100-continue"),
    "Expect of two": _with_content(b"Expect: 100-continue, x"),
    "Expect twice": _with_content(b"Expect: 100-continue", b"Expect: 100-continue"),
    "Expect of something else": _with_content(b"Expect: 200-ok"),
    "an empty Expect": _with_content(b"Expect:"),
    "Upgrade to h2c": _with_content(
        b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABk"
    ),
    "Upgrade to websocket by POST": _with_content(
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ),
    "Upgrade that Connection does not name": _with_content(b"Upgrade: websocket"),
    "Upgrade to something unknown": _with_content(b"Connection: upgrade", b"Upgrade: x/1"),
    "CONNECT": _with_content(start=b"CONNECT localhost:443 HTTP/1.1"),
    "CONNECT of a path": _with_content(start=b"CONNECT /case HTTP/1.1"),
    "TRACE": _with_content(start=b"TRACE /case HTTP/1.1"),
    "Max-Forwards: 0": _with_content(b"Max-Forwards: 0", start=b"OPTIONS /case HTTP/1.1"),
}
"""Served or refused: another page decides. Either way the content is no request."""
