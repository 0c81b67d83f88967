"""One token, found where the configuration says and taken out of the request."""

import base64

import pytest

from sidecar.core.headers import classify
from sidecar.core.outcome import Denial, Reason
from sidecar.core.token_sources import (
    COOKIES,
    PROTOCOLS,
    TOKEN_HEADER,
    Sought,
    TokenSource,
    TokenSources,
)
from sidecar.wire.fields import NameTable
from sidecar.wire.request_head import parse_request_head
from tests.support.wire_proxy import LIMITS

PREFIX = "base64url.bearer.authorization.k8s.io."
AUTHORIZATION = TokenSource("authorization")
HEADER = TokenSource("header", "X-Access-Token")
COOKIE = TokenSource("cookie", "access_token")
PROTOCOL = TokenSource("websocket_protocol", PREFIX)
PLAIN = TokenSource("websocket_protocol", "v1.token.websocket.jupyter.org.")
AFTER = TokenSource("websocket_protocol_after", "bearer")
QUERY = TokenSource("query", "access_token")
ALL = (AUTHORIZATION, HEADER, COOKIE, PROTOCOL, AFTER, QUERY)
TOKEN = b"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"
ENCODED = PREFIX.encode() + base64.urlsafe_b64encode(TOKEN).rstrip(b"=")


def take(
    sources: tuple[TokenSource, ...],
    *lines: bytes,
    query: bytes = b"",
    authorization: tuple[bytes, ...] = (),
) -> tuple[Sought, list[bytes]]:
    """Take from a request with *lines*; return what was found and the lines that stay."""
    places = TokenSources(sources)
    names = NameTable(places.classifier(classify))
    raw = b"".join(
        (b"GET /x%b HTTP/1.1\r\n" % query, b"Host: h\r\n", *(b"%b\r\n" % line for line in lines))
    )
    head = parse_request_head(raw, names, LIMITS)
    sought = places.take(authorization, head.lines, head.marked, query)
    return sought, [line for line in head.lines[1:] if line]


def reason(sought: Sought) -> Reason:
    assert isinstance(sought.token, Denial)
    return sought.token.reason


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (HEADER, b"X-Access-Token: " + TOKEN),
        (HEADER, b"x_access.TOKEN: " + TOKEN),
        (HEADER, b"X-Access-Token: Bearer " + TOKEN),
        (HEADER, b"X-Access-Token: bEARER   " + TOKEN),
        (COOKIE, b"Cookie: access_token=" + TOKEN),
        (COOKIE, b'cookie: access_token="' + TOKEN + b'"'),
        (COOKIE, b'Cookie: access_token="Bearer ' + TOKEN + b'"'),
        (PROTOCOL, b"Sec-WebSocket-Protocol: " + ENCODED),
        (PROTOCOL, b"sec_websocket_protocol: " + ENCODED),
        (AFTER, b"Sec-WebSocket-Protocol: bearer, " + TOKEN),
        (PLAIN, b"Sec-WebSocket-Protocol: v1.token.websocket.jupyter.org." + TOKEN),
    ],
)
def test_a_token_is_found_in_its_field(source: TokenSource, line: bytes) -> None:
    """It is read, and the field is gone."""
    sought, left = take((source,), line)
    assert sought.token == TOKEN
    assert left == []


@pytest.mark.parametrize(
    ("query", "left"),
    [
        (b"?access_token=" + TOKEN, b""),
        (b"?a=%20&access%5ftoken=" + TOKEN.replace(b".", b"%2E") + b"&b", b"?a=%20&b"),
    ],
)
def test_a_token_is_found_in_the_query(query: bytes, left: bytes) -> None:
    """It is decoded, and the parameter is gone."""
    sought, _ = take((QUERY,), query=query)
    assert (sought.token, sought.query) == (TOKEN, left)


@pytest.mark.parametrize(
    ("sent", "left"),
    [
        (b"https://a.example/p?access_token=secret", b"https://a.example/p"),
        (b"https://a.example/p?a=1&Access%5FToken=secret;b", b"https://a.example/p?a=1;b"),
        (b"?access_token=secret", b""),
        (b"https://a.example/p?a=1", b"https://a.example/p?a=1"),
        (b"https://a.example/access_token=1", b"https://a.example/access_token=1"),
    ],
)
def test_a_token_in_the_url_of_the_page_before_goes_no_further(sent: bytes, left: bytes) -> None:
    """A browser repeats the URL in ``Referer``; that is no token of this request."""
    line = b"Referer: " + sent
    sought, lines = take((AUTHORIZATION, QUERY), line, authorization=(b"Bearer " + TOKEN,))
    assert sought.token == TOKEN
    assert lines == ([b"Referer: " + left + b"\r\n"] if left else [])
    assert take((AUTHORIZATION,), line)[1] == [line + b"\r\n"]


def test_authorization_is_one_source_among_others() -> None:
    """Where it is configured it is read as it always is; where it is not it is not looked at."""
    sent = (b"Bearer " + TOKEN,)
    assert take(ALL, authorization=sent)[0].token == TOKEN
    assert reason(take((COOKIE,), authorization=sent)[0]) is Reason.TOKEN_MISSING
    assert reason(take(ALL, authorization=(b"Basic YTpi",))[0]) is Reason.TOKEN_MISSING


def test_nothing_is_missing_with_the_places_named() -> None:
    """The operator reads where the token was looked for."""
    sought, _ = take((COOKIE, AFTER))
    assert isinstance(sought.token, Denial)
    assert sought.token.reason is Reason.TOKEN_MISSING
    assert sought.token.detail == (
        "there is none in the cookie access_token or the WebSocket subprotocol after bearer"
    )


@pytest.mark.parametrize(
    "line",
    [
        b"X-Access-Token:",
        b"X-Access-Token: Bearer",
        b"X-Access-Token: Basic YTpi",
        b"X-Access-Token: \xff\xfe",
        b"X-Access-Token: a b",
        b"Cookie: access_token=",
        b"Cookie: access_token",
        b'Cookie: access_token="',
        b'Cookie: access_token="a',
        b"Cookie: access_token=a b; x=1",
        b"Cookie: access_token=%61",
        b"Sec-WebSocket-Protocol: " + PREFIX.encode(),
        b"Sec-WebSocket-Protocol: " + PREFIX.encode() + b"eA==",
        b"Sec-WebSocket-Protocol: " + PREFIX.encode() + b"eB",
        b"Sec-WebSocket-Protocol: " + PREFIX.encode() + b"eHl6IA",
        b"Sec-WebSocket-Protocol: chat, bearer",
        b"Sec-WebSocket-Protocol: bearer, a=b",
    ],
)
def test_what_is_there_and_no_token_is_malformed(line: bytes) -> None:
    """It never counts as absent."""
    sought, _ = take(ALL, line)
    assert reason(sought) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    "query", [b"?access_token", b"?access_token=", b"?access_token=a+b", b"?access_token=%ff"]
)
def test_a_parameter_that_is_no_token_is_malformed(query: bytes) -> None:
    """As in any other place."""
    assert reason(take((QUERY,), query=query)[0]) is Reason.TOKEN_MALFORMED


@pytest.mark.parametrize(
    "lines",
    [
        (b"X-Access-Token: a", b"X-Access-Token: a"),
        (b"X-Access-Token: a", b"X_Access_Token: a"),
        (b"X-Access-Token: a, a",),
        (b"Cookie: access_token=a; access_token=a",),
        (b"Cookie: access_token=a", b"Cookie: access_token=a"),
        (b"Cookie: access_token=a; access%5Ftoken=a",),
        (b"Sec-WebSocket-Protocol: bearer, a, bearer, a",),
        (b"Sec-WebSocket-Protocol: " + ENCODED + b", bearer, a",),
        (b"X-Access-Token: a", b"Cookie: access_token=a"),
        (b"X-Access-Token: ", b"Cookie: access_token="),
    ],
)
def test_two_tokens_are_refused_even_if_equal(lines: tuple[bytes, ...]) -> None:
    """In one source or in two, good or bad (RFC 6750, section 2), and none of them stays."""
    sought, left = take(ALL, *lines)
    assert reason(sought) is Reason.TOKEN_REPEATED
    assert left == []


def test_two_tokens_are_refused_wherever_they_are() -> None:
    """Authorization and the query count too; the places are named, the tokens are not."""
    sought, _ = take(ALL, authorization=(b"Bearer secret",), query=b"?access_token=secret")
    assert isinstance(sought.token, Denial)
    assert sought.token.detail == (
        "the request has 2 tokens, in Authorization and the query parameter access_token; send one"
    )
    assert reason(take(ALL, authorization=(b"Bearer a", b"Bearer a"))[0]) is Reason.TOKEN_REPEATED
    assert reason(take(ALL, query=b"?access_token=a;Access-Token=a")[0]) is Reason.TOKEN_REPEATED


def test_what_is_not_configured_is_not_looked_at() -> None:
    """Other places stay as they are, whatever is in them."""
    lines = (
        b"X-Access-Token: " + TOKEN,
        b"Cookie: access_token=" + TOKEN,
        b"Sec-WebSocket-Protocol: bearer, " + TOKEN,
    )
    sought, left = take((TokenSource("header", "X-Other"),), *lines, query=b"?access_token=a")
    assert reason(sought) is Reason.TOKEN_MISSING
    assert left == [line + b"\r\n" for line in lines]
    assert sought.query == b"?access_token=a"


def test_marks_are_only_for_what_is_configured() -> None:
    """A name that needs no look costs none, and marks that there were go before."""
    mark = TokenSources((HEADER, TokenSource("header", "x-forwarded-access-token"))).classifier(
        classify
    )
    assert mark(b"x_access_token") == TOKEN_HEADER
    assert mark(b"x-forwarded-access-token") == TOKEN_HEADER
    assert (mark(b"cookie"), mark(b"sec-websocket-protocol"), mark(b"accept")) == (0, 0, 0)
    assert mark(b"authorization") == classify(b"authorization")
    assert TokenSources((COOKIE,)).classifier(classify)(b"cookie") == COOKIES
    assert TokenSources((AFTER,)).classifier(classify)(b"sec-websocket-protocol") == PROTOCOLS


def test_only_what_is_ours_is_held_back() -> None:
    """From a call of the app: its own header and cookie pass."""
    places = TokenSources((HEADER, COOKIE))
    lines = [
        b"X-Access-Token: ours\r\n",
        b"X-Access-Token: theirs\r\n",
        b"Cookie: a=1; access_token=ours; access_token=theirs\r\n",
        b"Accept: ours\r\n",
    ]
    marked = [
        (TOKEN_HEADER, 0, b"ours"),
        (TOKEN_HEADER, 1, b"theirs"),
        (COOKIES, 2, b"a=1; access_token=ours; access_token=theirs"),
    ]
    places.hold_back(lines, marked, lambda value: value == b"ours")
    assert lines == [
        b"",
        b"X-Access-Token: theirs\r\n",
        b"Cookie: a=1; access_token=theirs\r\n",
        b"Accept: ours\r\n",
    ]
