"""Fields that end at this hop, and what a ``Connection`` may not ask for (DESIGN, 6.6)."""

from tests.conformance.cases import Case, Passed, Refused, request

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
