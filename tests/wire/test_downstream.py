"""The caller's side: what a request becomes at the origin, and what the caller gets to read."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from sidecar.core.outcome import Reason
from sidecar.wire.exchange import Answer, Pending
from tests.support.wire_exchange import FakeExchange
from tests.support.wire_peer import Message, Peer, until
from tests.support.wire_proxy import answer_each, answering, closing_after, proxied, serving

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Recorder:
    """Script: answer every request with ``OK`` and keep what arrived."""

    def __init__(self, response: bytes = OK) -> None:
        self.requests: list[Message] = []
        self.response = response

    async def __call__(self, peer: Peer) -> None:
        while True:
            self.requests.append(await peer.message())
            await peer.send(self.response)


# --- one request ---


async def test_a_request_and_its_response_pass() -> None:
    """The origin sees the request with our lines; the caller sees its answer; both stay open."""
    origin = Recorder()
    async with proxied(origin) as proxy, proxy.client() as client:
        for _ in range(3):
            await client.send(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
            answer = await client.message()
            assert (answer.status, answer.body) == (200, b"ok")
        assert len(origin.requests) == 3
        request = origin.requests[0]
        assert request.start == b"POST /a HTTP/1.1"
        assert request.body == b"hello"
        assert (request.get(b"host"), request.get(b"x-permit")) == (b"h", b"yes")
        assert proxy.results == [(200, None)] * 3
        assert [each.commits for each in proxy.handler.exchanges] == [1, 1, 1]
        assert (proxy.listener.connections, proxy.pool.connections) == (1, 1)


async def test_what_the_exchange_drops_goes_neither_way() -> None:
    """A field that the application keeps to itself is missing at the origin and in the answer."""
    origin = Recorder(b"HTTP/1.1 200 OK\r\nX-Secret: s\r\nX-B: 1\r\nContent-Length: 0\r\n\r\n")
    async with proxied(origin) as proxy, proxy.client() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\nx-SECRET: t\r\nX-A: 1\r\n\r\n")
        answer = await client.message()
        assert (answer.get(b"x-secret"), answer.get(b"x-b")) == (None, b"1")
        request = origin.requests[0]
        assert (request.get(b"x-secret"), request.get(b"x-a")) == (None, b"1")


async def test_chunked_content_is_framed_anew_and_trailers_end_here() -> None:
    """Extensions and trailers are not passed on; content and framing are."""
    origin = Recorder()
    async with proxied(origin) as proxy, proxy.client() as client:
        await client.send(
            b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
            b"5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nX-Sum: 1\r\n\r\n"
        )
        assert (await client.message()).status == 200
        request = origin.requests[0]
        assert (request.body, request.framing) == (b"hello!", "chunked")
        assert request.get(b"trailer") is None


@pytest.mark.parametrize("method", [b"HEAD", b"GET", b"OPTIONS"])
async def test_head_has_no_content_whatever_its_fields_say(method: bytes) -> None:
    """After HEAD the next request on both connections is read at the right place."""
    origin = Recorder()

    async def script(peer: Peer) -> None:
        while True:
            request = await peer.message()
            origin.requests.append(request)
            head = request.start.startswith(b"HEAD")
            await peer.send(OK.removesuffix(b"ok") if head else OK)

    async with proxied(script) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
            answer = await client.message(head_only=True)
            assert (answer.status, answer.get(b"content-length")) == (200, b"2")
            await client.send(method + b" / HTTP/1.1\r\nHost: h\r\n\r\n")
            answer = await client.message(head_only=method == b"HEAD")
            assert answer.status == 200
        assert proxy.pool.connections == 1


async def test_a_refusal_of_head_has_no_content() -> None:
    """Our own answers keep to RFC 9110, 9.3.2 too, so that the connection stays in step."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        proxy.handler.decide = lambda _exchange: Answer(403, b"", b"no content for you")
        await client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n" + GET)
        head = await client.message(head_only=True)
        assert (head.status, head.get(b"content-length")) == (403, b"18")
        assert (await client.message()).body == b"no content for you"


async def test_http10_is_served_and_closed() -> None:
    """A 1.0 caller gets an answer it can read and the end of the connection."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        await client.send(b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        answer = await client.refused()
        assert (answer.status, answer.body) == (200, b"GET /a HTTP/1.1|")
        assert proxy.pool.idle_connections == 1


async def test_http10_gets_chunked_content_bare() -> None:
    """Chunks are unknown to HTTP/1.0: the end of the connection ends the content."""
    chunked = (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    )
    async with proxied(answering(chunked)) as proxy, proxy.client() as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        answer = await client.message(until_close=True)
        assert (answer.body, answer.get(b"transfer-encoding")) == (b"abcde", None)
        assert answer.get(b"connection") == b"close"
        assert not client.was_reset
        assert proxy.pool.idle_connections == 1


async def test_connection_close_is_honoured_and_does_not_reach_the_origin() -> None:
    """The caller's wish concerns the caller's connection alone; later bytes are not answered."""
    origin = Recorder()
    async with proxied(origin) as proxy, proxy.client() as client:
        await client.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n" + GET)
        assert (await client.refused()).status == 200
        assert len(origin.requests) == 1
        assert origin.requests[0].get(b"connection") is None
        assert proxy.pool.idle_connections == 1


async def test_one_empty_line_before_a_request_is_ignored() -> None:
    """RFC 9112, 2.2: old clients send one after their content."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(b"\r\n" + GET)
            assert (await client.message()).status == 200
        await client.send(b"\r\n")
        await client.send(GET)
        assert (await client.message()).status == 200
        assert proxy.results == [(200, None)] * 3


async def test_absolute_form_reaches_the_origin_in_origin_form() -> None:
    """Clients that think we are a proxy are served."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        await client.send(b"GET http://H/x?y HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.message()).body == b"GET /x?y HTTP/1.1|"


async def test_options_asterisk_passes() -> None:
    """``OPTIONS *`` asks about the server and is the origin's to answer."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        await client.send(b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.message()).body == b"OPTIONS * HTTP/1.1|"


# --- several requests ---


async def test_pipelined_requests_are_answered_in_order() -> None:
    """Requests that arrive together are forwarded one after the other."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        await client.send(
            b"POST /1 HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\none"
            b"POST /2 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3\r\ntwo\r\n0\r\n\r\n"
            b"GET /3 HTTP/1.1\r\nHost: h\r\n\r\n"
        )
        bodies = [(await client.message()).body for _ in range(3)]
        assert bodies == [
            b"POST /1 HTTP/1.1|one",
            b"POST /2 HTTP/1.1|two",
            b"GET /3 HTTP/1.1|",
        ]
        assert proxy.pool.connections == 1


async def test_thousands_of_requests_at_once_do_not_grow_the_stack() -> None:
    """Requests that are answered without waiting are taken in a loop, not by recursion."""
    count = 3_000
    async with proxied(answer_each) as proxy, proxy.client() as client:
        proxy.handler.decide = lambda _exchange: Answer(403, b"", b"no")
        sending = asyncio.create_task(client.send(GET * count))
        for _ in range(count):
            assert (await client.message()).status == 403
        await sending
        assert len(proxy.results) == count


async def test_junk_after_a_request_is_refused_after_its_answer() -> None:
    """The good request is served; what follows is judged on its own and ends the connection."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        await client.send(GET + b"\x00\x01junk\r\n\r\n")
        assert (await client.message()).status == 200
        assert (await client.refused()).status == 400
        assert proxy.handler.malformed_for == [Reason.MESSAGE_MALFORMED]


# --- what is refused ---


@pytest.mark.parametrize(
    ("raw", "status", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400, Reason.MESSAGE_MALFORMED),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400, Reason.MESSAGE_MALFORMED),
        (b"\r\n\r\n" + GET, 400, Reason.MESSAGE_MALFORMED),
        (b"\x16\x03\x01\x02\x00\x01\x00", 400, Reason.MESSAGE_MALFORMED),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, Reason.VERSION_UNSUPPORTED),
        (b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n\r\n", 501, Reason.UPGRADE_UNSUPPORTED),
        (b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
         b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n", 501,
         Reason.UPGRADE_UNSUPPORTED),
        (b"PUT / HTTP/1.1\r\nHost: h\r\nExpect: 200-ok\r\nContent-Length: 5\r\n\r\n", 417,
         Reason.EXPECTATION_UNSUPPORTED),
        (b"GET /%b HTTP/1.1\r\nHost: h\r\n\r\n" % (b"a" * 1_024), 414, Reason.TARGET_TOO_LONG),
        (b"GET /%b" % (b"a" * 5_000), 414, Reason.TARGET_TOO_LONG),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: %b\r\n\r\n" % (b"y" * 5_000), 431,
         Reason.HEAD_TOO_LARGE),
        (b"GET / HTTP/1.1\r\nHost: h\r\n" + b"X: y\r\n" * 50 + b"\r\n", 431,
         Reason.HEAD_TOO_LARGE),
        (b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n", 413, Reason.BODY_TOO_LARGE),
    ],
)  # fmt: skip
async def test_a_bad_request_gets_one_answer_and_the_end(
    raw: bytes, status: int, reason: Reason
) -> None:
    """Refused before an exchange begins: nothing reaches the origin, the connection closes."""
    async with proxied(answer_each, max_body_bytes=100) as proxy, proxy.client() as client:
        await client.send(raw)
        answer = await client.refused()
        assert (answer.status, answer.reason) == (status, reason.code.encode())
        assert answer.get(b"date") == b"Tue, 14 Nov 2023 22:13:20 GMT"
        assert proxy.handler.malformed_for == [reason]
        assert proxy.handler.exchanges == []
        assert proxy.pool.connections == 0


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"5\r\nhelloX", 400, Reason.MESSAGE_MALFORMED),
        (b"5\r\nhello\r\n64\r\n", 413, Reason.BODY_TOO_LARGE),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
async def test_content_that_turns_out_bad_is_refused(
    at_once: bool, content: bytes, status: int, reason: Reason
) -> None:
    """An exchange whose content breaks ends in a refusal; the origin never sees it complete."""
    arrived: list[bytes] = []

    async def script(peer: Peer) -> None:
        arrived.append(await peer.head() + await peer.rest())

    head = b"PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with proxied(script, max_body_bytes=100) as proxy, proxy.client() as client:
        if at_once:
            await client.send(head + content)
        else:
            await client.send(head)
            await until(lambda: proxy.pool.connections == 1)
            await client.send(content)
        answer = await client.refused()
        assert (answer.status, answer.reason) == (status, reason.code.encode())
        assert proxy.handler.exchanges[0].failures == [reason]
        assert proxy.results == [(status, None)]
        await until(lambda: proxy.pool.connections == 0)
        assert not any(b"0\r\n\r\n" in each for each in arrived)


async def test_a_refusal_leaves_the_connection_usable() -> None:
    """A request that was read whole and refused does not cost the caller its connection."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        proxy.handler.decide = lambda _exchange: Answer(401, b"x-reason: none\r\n", b"who?")
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
        answer = await client.message()
        assert (answer.status, answer.body, answer.get(b"connection")) == (401, b"who?", None)
        proxy.handler.decide = FakeExchange.forward
        await client.send(GET)
        assert (await client.message()).status == 200


async def test_a_refusal_before_the_content_has_come_ends_the_connection() -> None:
    """What is still to come of a refused request is thrown away, not read as a request."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        proxy.handler.decide = lambda _exchange: Answer(401, b"", b"who?")
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 99999\r\n\r\n")
        answer = await client.message()
        assert (answer.status, answer.get(b"connection")) == (401, b"close")
        await client.send(GET)  # content, as far as the framing goes
        assert await client.rest() == b""
        assert len(proxy.handler.exchanges) == 1


async def test_an_answer_may_ask_for_the_end_of_the_connection() -> None:
    """``close`` of an answer is announced and done."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        proxy.handler.decide = lambda _exchange: Answer(403, b"", b"", close=True)
        await client.send(GET)
        assert (await client.refused()).status == 403


# --- the second check ---


async def test_nothing_is_forwarded_without_the_second_check() -> None:
    """An answer from ``commit`` goes to the caller; the origin's connection stays untouched."""
    origin = Recorder()
    async with proxied(origin) as proxy, proxy.client() as client:
        proxy.handler.commit = lambda _exchange: Answer(403, b"x-reason: late\r\n")
        await client.send(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
        assert (await client.message()).reason == b"late"
        assert origin.requests == []
        assert proxy.pool.idle_connections == 1
        proxy.handler.commit = lambda _exchange: b""
        await client.send(GET)
        assert (await client.message()).status == 200
        assert len(origin.requests) == 1
        assert proxy.pool.connections == 1


async def test_the_second_check_comes_after_the_connection() -> None:
    """While a connection is being made, nothing is committed."""
    committed_with: list[int] = []
    async with proxied(answer_each) as proxy, proxy.client() as client:

        def commit(_exchange: FakeExchange) -> bytes:
            committed_with.append(proxy.pool.connections)
            return b""

        proxy.handler.commit = commit
        await client.send(GET)
        assert (await client.message()).status == 200
        assert committed_with == [1]


# --- decisions that wait ---


async def test_a_decision_may_wait_and_content_is_kept_meanwhile() -> None:
    """What arrives while the decision is pending is forwarded after it, in order."""
    origin = Recorder()
    decided = asyncio.Event()

    async def wait() -> None:
        await decided.wait()

    async with proxied(origin) as proxy, proxy.client() as client:
        proxy.handler.decide = lambda _exchange: Pending(wait())
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello")
        await until(lambda: proxy.handler.exchanges)
        await client.send(b"world")
        await until(lambda: proxy.buffered_bytes == 10)
        assert proxy.pool.connections == 0
        decided.set()
        assert (await client.message()).status == 200
        assert origin.requests[0].body == b"helloworld"


async def test_a_decision_may_wait_and_then_refuse() -> None:
    """The second decision is as free as the first."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        proxy.handler.decide = lambda _exchange: Pending(asyncio.sleep(0))
        proxy.handler.decide_again = lambda _exchange: Answer(401, b"", b"no")
        await client.send(GET + GET)
        assert [(await client.message()).status for _ in range(2)] == [401, 401]


# --- answers that come early, or in unusual shapes ---


async def test_an_answer_before_the_content_is_complete_ends_both_connections() -> None:
    """The caller gets the answer and learns that the connection is over; the origin's is not
    used again, because it may still wait for content."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno")
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\nabc")
        answer = await client.message()
        assert (answer.status, answer.body) == (403, b"no")
        assert answer.get(b"connection") == b"close"
        await client.send(b"more")
        assert await client.rest() == b""
        assert proxy.results == [(403, None)]
        await until(lambda: proxy.pool.connections == 0)


async def test_content_goes_on_while_the_answer_has_begun() -> None:
    """An origin that answers while it reads gets the rest of the content."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        await peer.send(await peer.exactly(5))
        await peer.send(await peer.exactly(5))
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhello")
        head = await client.head()
        assert b"connection: close" in head
        assert await client.exactly(5) == b"hello"
        await client.send(b"world")
        assert await client.rest() == b"world"
        assert proxy.results == [(200, None)]


async def test_content_until_close_becomes_chunked() -> None:
    """A 1.1 caller can tell the whole answer from one that was cut, and keeps its connection."""
    script = closing_after(b"HTTP/1.1 200 OK\r\n\r\nall of it")
    async with proxied(script) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(GET)
            answer = await client.message()
            assert (answer.body, answer.framing) == (b"all of it", "chunked")
            assert answer.get(b"connection") is None
        await until(lambda: proxy.pool.connections == 0)


async def test_content_until_close_stays_so_for_http10() -> None:
    """A 1.0 caller reads to the end of its connection."""
    script = closing_after(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    async with proxied(script) as proxy, proxy.client() as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        answer = await client.message(until_close=True)
        assert (answer.start, answer.body) == (b"HTTP/1.1 200 OK", b"all of it")
        assert not client.was_reset


@pytest.mark.parametrize(
    ("response", "length"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", None),
        (b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", None),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", b"99"),
        (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", None),
    ],
)
async def test_answers_without_content_keep_everything_in_step(
    response: bytes, length: bytes | None
) -> None:
    """204 and 304 end with their head, whatever their fields say."""
    async with proxied(answering(response)) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(GET)
            answer = await client.message()
            assert answer.body == b""
            assert answer.get(b"content-length") == length
            assert answer.get(b"transfer-encoding") is None
        assert proxy.pool.connections == 1


# --- who may connect, and how many ---


async def test_a_peer_that_may_not_connect_is_told_so() -> None:
    """Refused before it has said anything."""
    async with proxied(answer_each) as proxy:
        proxy.accepts = lambda peer: peer != "127.0.0.1"
        async with proxy.client() as client:
            assert (await client.refused()).reason == b"peer_refused"


async def test_connections_over_the_bound_are_refused_and_the_others_stay() -> None:
    """Who is connected keeps being served; a place that becomes free is given away again."""
    async with proxied(answer_each, max_connections=2) as proxy:
        async with proxy.client() as first, proxy.client():
            await until(lambda: proxy.listener.connections == 2)
            async with proxy.client() as third:
                answer = await third.refused()
                assert (answer.status, answer.reason) == (503, b"overloaded")
            await first.send(GET)
            assert (await first.message()).status == 200
        await until(lambda: proxy.listener.connections == 0)
        async with proxy.client() as again:
            await again.send(GET)
            assert (await again.message()).status == 200


async def test_a_flood_of_connections_does_not_even_get_an_answer() -> None:
    """Refused connections that linger are bounded as well."""
    async with proxied(answer_each, max_connections=1) as proxy, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(proxy.client()) for _ in range(160)]
        received = [await client.rest() for client in clients[1:]]
        answered = [each for each in received if each]
        assert all(each.startswith(b"HTTP/1.1 503 ") for each in answered)
        assert 0 < len(answered) <= 128
        assert proxy.listener.connections <= 1 + 128


# --- when there is no origin ---


async def test_an_origin_that_is_not_there_is_502(unused_tcp_port: int) -> None:
    """The failed connection is the exchange's to explain; the caller's connection stays."""
    async with serving(unused_tcp_port) as proxy, proxy.client() as client:
        for _ in range(2):
            await client.send(GET)
            answer = await client.message()
            assert (answer.status, answer.reason) == (502, b"upstream_unreachable")
        assert [each.commits for each in proxy.handler.exchanges] == [0, 0]
        assert proxy.results == [(502, None)] * 2


async def test_every_connection_busy_is_503_overloaded() -> None:
    """At the bound a request is refused, not queued, also when many come in the same moment."""
    release = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.message()
        await release.wait()
        await peer.send(OK)

    async with proxied(script, max_upstream_connections=2) as proxy, AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(proxy.client()) for _ in range(3)]
        await until(lambda: proxy.listener.connections == 3)
        for client in clients:
            client.writer.write(GET)
        await until(lambda: len(proxy.results) == 1)
        assert proxy.results == [(503, None)]
        await until(lambda: proxy.pool.connections == 2)
        release.set()
        answers = [await client.message() for client in clients]
        assert sorted(answer.status for answer in answers) == [200, 200, 503]


@pytest.mark.parametrize("decide", ["start", "resume"])
async def test_a_fault_of_ours_ends_the_connection_and_forwards_nothing(decide: str) -> None:
    """An exchange that raises fails closed, and the loop reports it."""
    origin = Recorder()
    reported: list[object] = []

    def fault(_exchange: FakeExchange) -> Answer:
        raise ZeroDivisionError

    async with proxied(origin) as proxy, proxy.client() as client:
        loop = asyncio.get_running_loop()
        usual = loop.get_exception_handler()
        loop.set_exception_handler(lambda _loop, context: reported.append(context["exception"]))
        if decide == "start":
            proxy.handler.decide = fault
        else:
            proxy.handler.decide = lambda _exchange: Pending(asyncio.sleep(0))
            proxy.handler.decide_again = fault
        await client.send(GET)
        assert await client.rest() == b""
        await until(lambda: proxy.listener.connections == 0)
        loop.set_exception_handler(usual)
        assert [type(each) for each in reported] == [ZeroDivisionError]
        assert origin.requests == []
