"""Whatever stands where a token may be gives a value or a refusal, and no app sees a token."""

import base64
import json
from functools import cache

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sidecar.config.model import (
    Address,
    Admin,
    Allow,
    Config,
    Inbound,
    Issuer,
    JwksFile,
    Log,
    Origin,
    Rule,
)
from sidecar.core.keyset import parse_jwks
from sidecar.core.outcome import Denial
from sidecar.core.token_sources import COOKIES, PROTOCOLS, TOKEN_HEADER, TokenSource, TokenSources
from sidecar.testbed.token_mint import TokenMint
from sidecar.wire.exchange import Answer, Forward, Timing
from sidecar.wire.heads import MessageError, RequestHead
from sidecar.wire.request_head import parse_request_head
from sidecar.wiring import Wiring

quick = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)

PREFIX = b"base64url.bearer.authorization.k8s.io."
ALL = (
    TokenSource("authorization"),
    TokenSource("header", "X-Access-Token"),
    TokenSource("cookie", "access_token"),
    TokenSource("websocket_protocol", PREFIX.decode()),
    TokenSource("websocket_protocol_after", "bearer"),
    TokenSource("query", "access_token"),
)
PIECES = st.sampled_from(
    [b"access_token", b"access%5Ftoken", b"Access-Token", b"bearer", b"Bearer ", PREFIX, b"eHl6",
     b"=", b";", b"&", b",", b" ", b"\t", b'"', b"%", b"%3D", b"+", b"[", b"\xff", b"\xa0"]
)  # fmt: skip
TEXT = st.lists(PIECES | st.binary(max_size=2), max_size=8).map(b"".join)
FIELD_BYTES = bytes({*range(0x20, 0x7F), *range(0x80, 0x100)})
TARGET_BYTES = bytes(octet for octet in range(0x21, 0x7F) if octet != ord("#"))


def only(allowed: bytes, text: bytes) -> bytes:
    return text.translate(None, bytes(set(range(256)).difference(allowed)))


@quick
@given(
    st.lists(TEXT, max_size=2),
    st.lists(st.tuples(st.sampled_from([COOKIES, PROTOCOLS, TOKEN_HEADER]), TEXT), max_size=4),
    TEXT,
)
def test_any_bytes_in_any_source_give_a_token_or_a_denial(
    authorization: list[bytes], fields: list[tuple[int, bytes]], query: bytes
) -> None:
    """Nothing raises, lines stay lines, and what stays is part of what was sent."""
    names = {
        COOKIES: b"Cookie",
        PROTOCOLS: b"Sec-WebSocket-Protocol",
        TOKEN_HEADER: b"X-Access-Token",
    }
    lines = [b"%b: %b\r\n" % (names[mark], value) for mark, value in fields]
    marked = [(mark, index, value.strip()) for index, (mark, value) in enumerate(fields)]
    sought = TokenSources(ALL).take(authorization, lines, marked, b"?" + query)
    assert isinstance(sought.token, bytes | Denial)
    assert sought.token != b""
    assert sought.query == b"" or sought.query[:1] == b"?"
    assert len(sought.query) <= len(query) + 1
    for line, (mark, value) in zip(lines, fields, strict=True):
        assert line == b"" or line.startswith(names[mark] + b": ")
        assert len(line) <= len(names[mark]) + len(value) + 4
        assert line == b"" or mark != TOKEN_HEADER


@cache
def mint() -> TokenMint:
    return TokenMint("https://issuer.example", audience=["a"], algorithms=("ES256",))


@cache
def token() -> bytes:
    return mint().token("alice", exp=2**40).encode()


@cache
def wired() -> Wiring:
    """A pod without sockets that looks in every place, and trusts the mint."""
    address = Address("127.0.0.1", 0)
    rules = (Rule("open", ("/open",), Allow.ANYONE), Rule("all", ("/**",), Allow.AUTHENTICATED))
    issuer = Issuer("shop", "https://issuer.example", ("a",), JwksFile("/nowhere"))
    config = Config(
        {"shop": issuer},
        Inbound(address, Origin("http", "127.0.0.1", 1), rules, token_sources=ALL),
        Admin(address),
        log=Log(level="error"),
    )
    wiring = Wiring(config, write_access_log=lambda _batch: None)
    wiring.verifier.install("shop", parse_jwks(json.dumps(mint().jwks()).encode()))
    return wiring


def told(raw: bytes) -> bytes | Answer:
    """What the app is sent for *raw*, or the refusal."""
    listener = wired().inbound
    try:
        head: RequestHead = parse_request_head(raw, listener.names, listener.limits)
    except MessageError as error:
        return listener.handler.malformed(error.reason, error.detail)
    exchange = listener.handler.begin(head, "127.0.0.1")
    action = exchange.start()
    answer: bytes | Answer
    if isinstance(action, Forward):
        answer = exchange.commit()
        if isinstance(answer, bytes):
            answer = head.serialize(action.target, answer)
    else:
        assert isinstance(action, Answer)
        answer = action
    exchange.finish(200, Timing(0.0), None, whole=True)
    return answer


def carried(way: str, text: bytes, at: int) -> tuple[bytes, bytes]:
    """A query and field lines with the token in them, and *text* around it."""
    before, after = text[:at], text[at:]
    plain = token()
    encoded = PREFIX + base64.urlsafe_b64encode(plain).rstrip(b"=")
    match way:
        case "header":
            return b"", b"X_Access-Token: %b%b%b\r\n" % (before, plain, after)
        case "cookie":
            value = b"%b;access_token=%b;%b" % (before, plain, after)
            return b"", b"Cookie: " + value + b"\r\n"
        case "cookie, odd":
            value = b'%b; \xa0access%%5Ftoken\t =  "Bearer %b" ;%b' % (before, plain, after)
            return b"", b"Cookie: " + value + b"\r\n"
        case "prefix":
            value = b"%b,%b,%b" % (before, encoded, after)
            return b"", b"Sec-WebSocket-Protocol: " + value + b"\r\n"
        case "marker":
            value = b"%b, bearer,%b,%b" % (before, plain, after)
            return b"", b"sec_websocket_protocol: " + value + b"\r\n"
        case _:
            query = b"?%b&Access.Token=%b&%b" % (before, plain, after)
            return only(TARGET_BYTES, query), b""


@pytest.mark.parametrize("way", ["header", "cookie", "cookie, odd", "prefix", "marker", "query"])
@pytest.mark.parametrize("path", [b"/open", b"/users"])
def test_the_token_never_reaches_the_app(way: str, path: bytes) -> None:
    """Whatever stands beside it, good or bad, and whether it is verified or not."""
    forwarded = 0

    @quick
    @example(b"", 0)
    @example(b"x, bearer", 9)
    @example(b"bearer,", 0)
    @given(TEXT, st.integers(0, 30))
    def check(text: bytes, at: int) -> None:
        nonlocal forwarded
        query, fields = carried(way, only(FIELD_BYTES, text), at)
        raw = b"GET %b%b HTTP/1.1\r\nHost: h\r\nX-Other: stays\r\n%b" % (path, query, fields)
        answer = told(raw)
        if isinstance(answer, Answer):
            assert token() not in answer.lines + answer.body
            return
        forwarded += 1
        assert token() not in answer
        assert base64.urlsafe_b64encode(token()).rstrip(b"=") not in answer
        assert b"X-Other: stays\r\n" in answer
        assert (b"x-auth-subject: alice\r\n" in answer) is (path != b"/open")

    check()
    assert forwarded
