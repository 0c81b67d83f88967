"""A 401 that the exchange does not take for an answer: the request is sent once more."""

import asyncio
from collections.abc import Callable

import pytest

from sidecar.core.outcome import Reason
from sidecar.wire.exchange import CLIENT_GONE, Action, Answer, Forward, Pending
from sidecar.wire.upstream import DROP_SECONDS, MAX_DROPPED_BYTES
from tests.support.wire_exchange import FakeExchange
from tests.support.wire_peer import Message, Peer, until
from tests.support.wire_proxy import Proxy, proxied

GET = b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\nContent-Length: 4\r\n\r\nwhat"
CHUNKED_NO = (
    b"HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwhat\r\n0\r\n\r\n"
)


def replaying(proxy: Proxy, replay_bytes: int = 0) -> None:
    """Have every exchange keep so much, and ask again by the same way."""

    def forward(exchange: FakeExchange) -> Action:
        return Forward(proxy.pool, exchange.head.target, replay_bytes=replay_bytes)

    proxy.handler.decide = proxy.handler.again = proxy.handler.decide_again = forward


class Refusing:
    """Script: refuse the first *times* requests, then answer; remember everything."""

    def __init__(self, *, times: int = 1, no: bytes = NO, polite: bool = False) -> None:
        self.times = times
        self.no = no
        self.polite = polite
        """Answer 100 to every request that expects it."""
        self.connections = 0
        self.requests: list[Message] = []

    async def __call__(self, peer: Peer) -> None:
        self.connections += 1
        while True:
            request = await self.next(peer)
            self.requests.append(request)
            refused = len(self.requests) <= self.times
            answer = self.no if refused else OK
            if request.start.startswith(b"HEAD"):
                answer = answer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
            await peer.send(answer)
            if refused and b"Connection: close" in self.no:
                return

    async def next(self, peer: Peer) -> Message:
        if not self.polite:
            return await peer.message()
        await peer.head()
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        return Message(b"PUT", [], await peer.exactly(5))

    @property
    def bodies(self) -> list[bytes]:
        return [request.body for request in self.requests]


@pytest.mark.parametrize("no", [NO, CHUNKED_NO])
@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"DELETE", b"POST", b"OPTIONS"])
async def test_a_request_without_content_is_sent_again(method: bytes, no: bytes) -> None:
    """Whatever the method: who refuses has not carried it out. The connection stays."""
    origin = Refusing(no=no)
    async with proxied(origin) as proxy, proxy.client() as client:
        replaying(proxy)
        await client.send(b"%b /x HTTP/1.1\r\nHost: h\r\n\r\n" % method)
        answer = await client.message(head_only=method == b"HEAD")
        assert (answer.status, answer.get(b"connection")) == (200, None)
        assert [each.start for each in origin.requests] == [method + b" /x HTTP/1.1"] * 2
        assert origin.connections == 1
        exchange = proxy.handler.exchanges[0]
        assert (exchange.agains, exchange.commits, exchange.failures) == ([401], 2, [])
        assert proxy.results == [(200, None)]
        await until(lambda: proxy.pool.idle_connections == 1)


async def test_what_the_exchange_takes_is_passed_on() -> None:
    """``None`` means that the 401 is the answer."""
    origin = Refusing()
    async with proxied(origin) as proxy, proxy.client() as client:
        await client.send(GET)
        answer = await client.message()
        assert (answer.status, answer.body) == (401, b"what")
        assert proxy.handler.exchanges[0].agains == [401]
        await until(lambda: proxy.pool.idle_connections == 1)


async def test_other_answers_are_not_asked_about() -> None:
    """403 is about rights, and 407 is about somebody else's proxy."""
    for status in (b"200", b"403", b"407", b"500"):
        origin = Refusing(no=NO.replace(b"401", status))
        async with proxied(origin) as proxy, proxy.client() as client:
            replaying(proxy)
            await client.send(GET)
            assert (await client.message()).status == int(status)
            assert proxy.handler.exchanges[0].agains == []


async def test_once_is_enough() -> None:
    """A second 401 is the answer, and its exchange is not asked about it."""
    origin = Refusing(times=2)
    async with proxied(origin) as proxy, proxy.client() as client:
        replaying(proxy)
        await client.send(GET)
        answer = await client.message()
        assert (answer.status, answer.get(b"www-authenticate")) == (401, b"Bearer")
        assert proxy.handler.exchanges[0].agains == [401]
        await client.send(GET)  # another exchange has a chance of its own
        assert (await client.message()).status == 200


async def test_the_next_request_on_the_connection_may_be_sent_again_too() -> None:
    """What one exchange used up is not taken from the next."""
    origin = Refusing()
    async with proxied(origin) as proxy, proxy.client() as client:
        replaying(proxy)
        for _ in range(2):
            origin.requests.clear()
            await client.send(GET)
            assert (await client.message()).status == 200
        assert [each.agains for each in proxy.handler.exchanges] == [[401], [401]]


# --- content ---


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    ("framing", "parts"),
    [
        (b"Content-Length: 10", [b"hello", b"world"]),
        (b"Transfer-Encoding: chunked", [b"5\r\nhello\r\n", b"5\r\nworld\r\n0\r\n\r\n"]),
    ],
)
async def test_content_that_is_kept_is_sent_again(
    framing: bytes, parts: list[bytes], streamed: bool
) -> None:
    """Whole and once each time, whether it came with the head or was streamed on after it."""
    origin = Refusing()
    async with proxied(origin) as proxy, proxy.client() as client:
        replaying(proxy, 64)
        head = b"POST /x HTTP/1.1\r\nHost: h\r\n" + framing + b"\r\n\r\n"
        if streamed:
            await client.send(head)
            await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
            for part in parts:
                await client.send(part)
                await asyncio.sleep(0)
        else:
            await client.send(head + b"".join(parts))
        assert (await client.message()).status == 200
        assert origin.bodies == [b"helloworld"] * 2
        assert proxy.buffered_bytes == 0


@pytest.mark.parametrize(("size", "status"), [(63, 200), (64, 200), (65, 401)])
@pytest.mark.parametrize("streamed", [False, True])
async def test_more_than_may_be_kept_is_not(size: int, status: int, streamed: bool) -> None:
    """Then the 401 goes to the caller, unasked; and what was kept is let go at once."""
    origin = Refusing()
    async with proxied(origin) as proxy, proxy.client() as client:
        replaying(proxy, 64)
        head = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % size
        await client.send(head if streamed else head + b"a" * size)
        if streamed:
            await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
            await client.send(b"a" * 40)
            await until(lambda: proxy.buffered_bytes == 40)
            await client.send(b"a" * (size - 40))
        assert (await client.message()).status == status
        assert origin.bodies == [b"a" * size] * (2 if status == 200 else 1)
        assert proxy.handler.exchanges[0].agains == ([401] if status == 200 else [])
        assert proxy.buffered_bytes == 0


async def test_content_that_is_not_kept_is_not_sent_again() -> None:
    """Nothing is kept unless the exchange says so."""
    origin = Refusing()
    async with proxied(origin) as proxy, proxy.client() as client:
        replaying(proxy, 0)
        await client.send(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
        assert (await client.message()).status == 401
        assert proxy.handler.exchanges[0].agains == []


async def test_a_refusal_of_half_a_request_is_passed_on() -> None:
    """What is still to come was never seen by anybody, so it could not be sent again."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(NO)
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        replaying(proxy, 64)
        await client.send(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe")
        assert (await client.refused()).status == 401
        assert proxy.handler.exchanges[0].agains == []


async def test_what_follows_an_early_answer_is_not_kept() -> None:
    """The answer was passed on: nothing is sent again after it."""
    seen = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        await peer.exactly(4)
        seen.set()
        await peer.send(b"k")
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        replaying(proxy, 64)
        await client.send(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n")
        await client.head()
        await client.send(b"hell")
        await seen.wait()
        assert proxy.buffered_bytes == 0
        assert await client.rest() == b"ok"


# --- expectations and interim answers ---


async def test_an_expectation_that_was_met_is_met_once() -> None:
    """The caller sees one 100 Continue and one answer."""
    origin = Refusing(polite=True)
    async with proxied(origin) as proxy, proxy.client() as client:
        replaying(proxy, 64)
        await client.send(
            b"PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        assert (await client.message()).status == 100
        await client.send(b"hello")
        assert (await client.message()).status == 200
        assert origin.bodies == [b"hello"] * 2


async def test_an_expectation_that_was_refused_is_the_answer() -> None:
    """The content was not sent, so the caller has it still and may decide itself."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(NO)
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        replaying(proxy, 64)
        await client.send(
            b"PUT /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n"
        )
        assert (await client.refused()).status == 401
        assert proxy.handler.exchanges[0].agains == []


@pytest.mark.parametrize("first", [True, False])
async def test_interim_answers_come_once(first: bool) -> None:
    """Those of the second attempt are passed on if the first attempt had none."""
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    requests = 0

    async def script(peer: Peer) -> None:
        nonlocal requests
        while True:
            await peer.message()
            requests += 1
            if requests == 1:
                await peer.send((hint if first else b"") + NO)
            else:
                await peer.send(hint + OK)

    async with proxied(script) as proxy, proxy.client() as client:
        replaying(proxy)
        await client.send(GET)
        assert (await client.message()).status == 103
        assert (await client.message()).status == 200


# --- what becomes of the connection that said 401 ---

LONG = b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n" % (MAX_DROPPED_BYTES + 1)
CLOSING = NO.replace(b"Content-Length", b"Connection: close\r\nContent-Length")
UNTIL_CLOSE = b"HTTP/1.1 401 No\r\n\r\nwhat"
ENDLESS = b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n8000\r\n" + b"a" * 0x7000
BROKEN = b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"
AND_MORE = NO + b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize("no", [LONG, CLOSING, UNTIL_CLOSE, ENDLESS, BROKEN, AND_MORE])
@pytest.mark.parametrize("most", [1, 10])
async def test_a_connection_of_no_more_use_is_closed(no: bytes, most: int) -> None:
    """Its place is free at once, so that the second attempt finds one in a full pool too."""
    origin = Refusing(no=no)
    async with proxied(origin, max_upstream_connections=most) as proxy, proxy.client() as client:
        replaying(proxy)
        await client.send(GET)
        assert (await client.message()).status == 200
        assert origin.connections == 2
        assert proxy.handler.exchanges[0].commits == 2  # at once, on the second one
        await until(lambda: proxy.pool.connections == 1)


class Slowly:
    """Script: refuse the first request and wait with the content; serve what follows."""

    def __init__(self) -> None:
        self.finish = asyncio.Event()
        self.peers: list[Peer] = []

    async def __call__(self, peer: Peer) -> None:
        self.peers.append(peer)
        await peer.message()
        if len(self.peers) == 1:
            await peer.send(NO[:-2])
            await self.finish.wait()
            await peer.send(NO[-2:])
            await peer.message()
        await peer.send(OK)
        await peer.rest()


async def test_the_rest_of_a_short_answer_is_read_away() -> None:
    """Nobody waits for it: the second attempt has another connection meanwhile."""
    origin = Slowly()
    async with proxied(origin) as proxy, proxy.client() as client:
        replaying(proxy)
        await client.send(GET)
        assert (await client.message()).status == 200
        assert proxy.pool.connections == 2
        assert proxy.pool.idle_connections == 1
        origin.finish.set()
        await until(lambda: proxy.pool.idle_connections == 2)


async def test_it_is_not_waited_for_long() -> None:
    """A server that does not end its refusal loses the connection."""
    origin = Slowly()
    async with proxied(origin) as proxy, proxy.client() as client:
        replaying(proxy)
        await client.send(GET)
        assert (await client.message()).status == 200
        proxy.time.passes(DROP_SECONDS)
        await until(lambda: proxy.pool.connections == 1)
        origin.finish.set()


async def test_it_is_not_waited_for_where_its_place_is_needed() -> None:
    """A pool with a place for one connection has none for leftovers."""
    origin = Slowly()
    async with proxied(origin, max_upstream_connections=1) as proxy, proxy.client() as client:
        replaying(proxy)
        await client.send(GET)
        assert (await client.message()).status == 200
        assert len(origin.peers) == 2
        origin.finish.set()


def resets(peer: Peer) -> None:
    peer.reset()


def closes(peer: Peer) -> None:
    peer.close()


@pytest.mark.parametrize("leave", [resets, closes])
async def test_a_server_that_leaves_after_its_refusal_is_no_loss(
    leave: Callable[[Peer], None],
) -> None:
    """While its rest is read away, and while the exchange decides."""
    gone = asyncio.Event()
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        await peer.message()
        if connections == 1:
            await peer.send(NO[:-2])
            leave(peer)
            gone.set()
            return
        await peer.send(OK)
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        replaying(proxy)

        async def until_gone() -> None:
            await gone.wait()
            await until(lambda: proxy.pool.connections == 0)

        proxy.handler.again = lambda _exchange: Pending(until_gone())
        await client.send(GET)
        assert (await client.message()).status == 200
        assert connections == 2


async def test_a_kept_connection_that_was_closed_costs_nothing() -> None:
    """The second attempt may meet a close that crosses with it, as any request may."""
    connections = 0

    async def script(peer: Peer) -> None:
        nonlocal connections
        connections += 1
        await peer.message()
        if connections == 1:
            await peer.send(NO)
            await peer.head()  # of the second attempt, which gets no answer
            return
        await peer.send(OK)
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        replaying(proxy)
        await client.send(GET)
        assert (await client.message()).status == 200
        assert (connections, proxy.handler.exchanges[0].commits) == (2, 3)


# --- what the exchange may want instead ---


async def test_it_may_be_decided_later() -> None:
    """Asking for another token takes a while; the content waits for that."""
    origin = Refusing()
    proceed = asyncio.Event()
    async with proxied(origin) as proxy, proxy.client() as client:
        replaying(proxy, 64)

        async def wait() -> None:
            await proceed.wait()

        proxy.handler.again = lambda _exchange: Pending(wait())
        await client.send(b"PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi")
        await until(lambda: proxy.pool.idle_connections == 1)
        assert proxy.listener.buffered_bytes == 2
        proceed.set()
        assert (await client.message()).status == 200
        assert origin.bodies == [b"hi", b"hi"]


async def test_it_may_be_an_answer_of_ours() -> None:
    """The caller sees that one and not the 401."""
    origin = Refusing()
    async with proxied(origin) as proxy, proxy.client() as client:
        proxy.handler.again = lambda _exchange: Answer(503, b"", b"later")
        await client.send(GET)
        answer = await client.message()
        assert (answer.status, answer.body) == (503, b"later")
        assert proxy.results == [(503, None)]


async def test_the_second_attempt_may_be_refused_at_the_last_moment() -> None:
    """It is checked as the first one was."""
    origin = Refusing()
    async with proxied(origin) as proxy, proxy.client() as client:
        replaying(proxy)
        proxy.handler.commit = lambda exchange: (
            b"" if exchange.commits == 1 else Answer(403, b"", b"over")
        )
        await client.send(GET)
        assert (await client.message()).status == 403
        assert len(origin.requests) == 1


async def test_a_caller_that_leaves_meanwhile_is_not_served() -> None:
    """There is nobody to ask again for."""
    origin = Refusing()
    asked = asyncio.Event()
    async with proxied(origin) as proxy:
        async with proxy.client() as client:
            replaying(proxy)

            async def wait() -> None:
                asked.set()
                await asyncio.Event().wait()

            proxy.handler.again = lambda _exchange: Pending(wait())
            await client.send(GET)
            await asked.wait()
            client.reset()
            await until(lambda: proxy.listener.connections == 0)
        assert proxy.results == [(CLIENT_GONE, None)]
        assert len(origin.requests) == 1


async def test_the_end_holds_for_both_attempts() -> None:
    """A second attempt has no more time than was left."""

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(NO)
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        ends_at = proxy.time.clock() + 5.0

        def forward(exchange: FakeExchange) -> Action:
            return Forward(proxy.pool, exchange.head.target, ends_at=ends_at)

        proxy.handler.decide = proxy.handler.again = forward
        await client.send(GET)
        await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits == 2)
        proxy.time.passes(5.0)
        assert (await client.message()).reason == Reason.DEADLINE_EXCEEDED.code.encode()


async def test_pipelined_requests_wait_for_it() -> None:
    """In order, each with its own answer."""
    origin = Refusing()
    async with proxied(origin) as proxy, proxy.client() as client:
        replaying(proxy)
        await client.send(GET * 3)
        for _ in range(3):
            assert (await client.message()).status == 200
        assert len(origin.requests) == 4
