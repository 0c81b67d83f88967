"""Trailers: for callers that take them, without what they must not say (RFC 9110, 6.5)."""

import pytest

from sidecar.core.headers import classify
from sidecar.wire.fields import NameTable
from sidecar.wire.forwarding_fields import ForwardingHandler
from sidecar.wire.trailers import may_trail
from tests.support.wire_peer import Message, Peer
from tests.support.wire_proxy import proxied

GET = b"GET / HTTP/1.1\r\nHost: h\r\n%b\r\n"
TAKES = b"TE: trailers\r\nConnection: TE\r\n"


class Trailing:
    """Script: answer everything with one chunk and a trailer section."""

    def __init__(self, section: bytes, fields: bytes = b"") -> None:
        self.response = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n%b\r\n2\r\nok\r\n0\r\n%b\r\n"
            % (fields, section)
        )
        self.requests: list[Message] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            self.requests.append(await peer.message())
            await peer.send(self.response)


SECTION = b"grpc-status: 0\r\nGrpc-Message:  a%20b \t\r\nX-Empty:\r\nx-twice: 1\r\nx-twice: 2\r\n"


@pytest.mark.parametrize(
    "field",
    [
        TAKES,
        b"te: Trailers\r\n",
        b"TE: gzip;q=0.5, trailers ,deflate\r\n",
        b"TE: gzip\r\nTE: trailers\r\n",
    ],
)
async def test_a_caller_that_takes_trailers_gets_them_byte_for_byte(field: bytes) -> None:
    """In order, spelled as they were; the origin was told that they are welcome."""
    origin = Trailing(SECTION)
    async with proxied(origin) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(GET % field)
            await client.head()
            assert await client.exactly(10 + len(SECTION) + 2) == (
                b"2\r\nok\r\n0\r\n" + SECTION + b"\r\n"
            )
        request = origin.requests[0]
        assert (request.get(b"te"), request.get(b"connection")) == (b"trailers", b"te")
        assert proxy.pool.idle_connections == 1


async def test_what_a_proxy_adds_to_the_head_is_no_trailer() -> None:
    """``Via`` says where an answer passed, before its content (RFC 9110, 6.5.1)."""
    async with proxied(Trailing(SECTION)) as proxy, proxy.client() as client:
        proxy.listener.handler = ForwardingHandler(proxy.handler, via="pod", fields=None)
        await client.send(GET % TAKES)
        assert b"via: 1.1 pod" in await client.head()
        assert await client.exactly(10 + len(SECTION) + 2) == (
            b"2\r\nok\r\n0\r\n" + SECTION + b"\r\n"
        )


@pytest.mark.parametrize(
    "field", [b"", b"TE:\r\n", b"TE: gzip\r\n", b"TE: trailersx\r\n", b"X-TE: trailers\r\n"]
)
async def test_another_caller_does_not(field: bytes) -> None:
    """Trailers end here, and the origin is not asked for any."""
    origin = Trailing(SECTION, b"Trailer: grpc-status\r\n")
    async with proxied(origin) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(GET % field)
            answer = await client.message()
            assert (answer.body, answer.get(b"trailer")) == (b"ok", None)
        assert origin.requests[0].get(b"te") is None
        assert origin.requests[0].get(b"connection") is None


async def test_http10_has_no_trailers() -> None:
    """Its content is not chunked, so there is no place for them."""
    origin = Trailing(SECTION)
    async with proxied(origin) as proxy, proxy.client() as client:
        await client.send(b"GET / HTTP/1.0\r\nTE: trailers\r\n\r\n")
        answer = await client.message(until_close=True)
        assert answer.body == b"ok"
        assert origin.requests[0].get(b"te") is None


async def test_the_end_of_the_connection_is_asked_for_beside_trailers() -> None:
    """Both options fit in one ``Connection``."""
    origin = Trailing(SECTION)
    async with proxied(origin) as proxy, proxy.client() as client:
        proxy.pool.reuse_after_content = False
        await client.send(
            b"POST / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nContent-Length: 1\r\n\r\nx"
        )
        await client.head()
        assert origin.requests[0].get(b"connection") == b"te, close"


async def test_trailers_of_a_request_end_here() -> None:
    """Nobody can say that the next hop takes them (RFC 9110, 6.5.1)."""
    origin = Trailing(b"")
    async with proxied(origin) as proxy, proxy.client() as client:
        await client.send(
            b"PUT / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"1\r\na\r\n0\r\nX-Sum: 1\r\n\r\n"
        )
        assert (await client.message()).status == 200
        assert origin.requests[0].body == b"a"  # read strictly: a trailer would have failed


async def test_what_is_announced_is_what_may_come() -> None:
    """``Trailer`` goes on without the names that are removed."""
    origin = Trailing(b"x-a: 1\r\nx-secret: 2\r\n", b"Trailer: x-a, X-Secret\r\ntrailer: x-b\r\n")
    async with proxied(origin) as proxy, proxy.client() as client:
        await client.send(GET % TAKES)
        assert b"\r\ntrailer: x-a, x-b\r\n" in await client.head()
        assert await client.exactly(20) == b"2\r\nok\r\n0\r\nx-a: 1\r\n\r\n"


async def test_what_connection_names_ends_here_as_a_trailer_too() -> None:
    """RFC 9110, 7.6.1: header and trailer fields alike."""
    origin = Trailing(b"x-a: 1\r\nX-Hop: 2\r\n", b"Connection: x-b ,x-hop\r\n")
    async with proxied(origin) as proxy, proxy.client() as client:
        await client.send(GET % TAKES)
        await client.head()
        assert await client.exactly(20) == b"2\r\nok\r\n0\r\nx-a: 1\r\n\r\n"


async def test_what_the_application_removes_by_value_is_removed_here_too() -> None:
    """``respond`` is asked about the trailer section as about the header section."""
    origin = Trailing(b"x-a: 1\r\nx-b: handle\r\n")
    async with proxied(origin) as proxy, proxy.client() as client:
        proxy.handler.unwanted = b"handle"
        await client.send(GET % TAKES)
        await client.head()
        assert await client.exactly(20) == b"2\r\nok\r\n0\r\nx-a: 1\r\n\r\n"


@pytest.mark.parametrize(
    "name",
    [
        "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "TE", "Trailer", "Host",
        "Upgrade", "Expect", "Proxy-Authenticate",
        "Cache-Control", "Max-Forwards", "Range", "If-Match", "Forwarded", "X-Forwarded-For", "Via",
        "x_forwarded_for",
        "Authorization", "Cookie", "Set-Cookie", "WWW-Authenticate",
        "Content-Type", "Content-Encoding", "Content-Range", "Location", "Retry-After", "Date",
        "Age", "Vary", "Access-Control-Allow-Origin",
        "X-Auth-Subject", "x_auth_subject", "X-Sidecar-Reason", "X-Sidecar-Context",
        "x-sidecar-carrier", "Baggage", "traceparent", "tracestate", "X-Request-Id", "b3",
        "X-Original-URL",
    ],
)  # fmt: skip
def test_what_a_trailer_may_not_say(name: str) -> None:
    """Framing, routing, credentials, content format, our own names and whatever carries a handle,
    in any spelling that somebody reads alike."""
    names = NameTable(classify)
    for spelled in (name, name.lower(), name.upper()):
        assert not may_trail(spelled.encode(), names)


@pytest.mark.parametrize(
    "name", ["grpc-status", "Grpc-Message", "Server-Timing", "Digest", "ETag", "X-Sum", "dateline"]
)
def test_what_a_trailer_may_say(name: str) -> None:
    """Everything else."""
    assert may_trail(name.encode(), NameTable(classify))
