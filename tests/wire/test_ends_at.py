"""``Forward.ends_at``: the exchange is over by then, wherever it stands; other timeouts stay."""

import asyncio

from sidecar.core.outcome import Reason
from sidecar.wire.deadlines import NEVER, PUNCTUAL_SECONDS, SWEEP_SECONDS, Deadlines
from sidecar.wire.exchange import Action, Answer, Forward, Pending
from tests.support.wire_clock import ManualTime
from tests.support.wire_exchange import FakeExchange
from tests.support.wire_peer import Peer, full_backlog, until
from tests.support.wire_proxy import Proxy, answer_each, proxied, serving

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
SWITCH = (
    b"GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
PONG = b"\x8a\x02ok"


def ending_in(proxy: Proxy, seconds: float) -> None:
    """Give every exchange so long from its start."""

    def decide(exchange: FakeExchange) -> Action:
        ends_at = proxy.time.clock() + seconds
        return Forward(proxy.pool, exchange.head.target, ends_at=ends_at)

    proxy.handler.decide = decide


class Bomb:
    """Remembers when it went off."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.expired = asyncio.Event()

    def expire(self, now: float) -> None:
        assert now >= self.deadline
        self.deadline = NEVER
        self.expired.set()


async def sent(proxy: Proxy) -> None:
    """Wait until the one request is with the origin."""
    await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)


async def silent(peer: Peer) -> None:
    """Script: accept, and never answer."""
    await peer.rest()


async def test_an_answer_that_does_not_begin_is_504() -> None:
    """Just before: nothing; then the caller is told, and the connection to the origin ends."""
    async with proxied(silent) as proxy, proxy.client() as client:
        ending_in(proxy, 2.0)
        await client.send(GET)
        await sent(proxy)
        proxy.time.passes(1.9)
        assert proxy.results == []
        proxy.time.passes(0.1)
        answer = await client.message()
        assert (answer.status, answer.reason) == (504, b"deadline_exceeded")
        assert answer.get(b"connection") is None  # the caller's own stays
        await until(lambda: proxy.pool.connections == 0)
        proxy.handler.decide = FakeExchange.forward
        assert proxy.results == [(504, None)]
        assert proxy.handler.exchanges[0].details == [
            "the time was over while it waited for the answer"
        ]


async def test_the_caller_s_connection_serves_the_next_request() -> None:
    """The end of one exchange is not the next one's."""
    slow = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.message()
        if not slow.is_set():
            slow.set()
            await peer.rest()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        ending_in(proxy, 2.0)
        await client.send(GET)
        await slow.wait()
        proxy.time.passes(2.0)
        assert (await client.message()).status == 504
        proxy.handler.decide = FakeExchange.forward
        await client.send(GET)
        assert (await client.message()).status == 200
        proxy.time.passes(2.0)
        assert not client.has_ended


async def test_a_trickle_does_not_help() -> None:
    """Each byte is in time for ``body_timeout``; the answer as a whole is not in time."""
    go_on = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")
        await go_on.wait()
        await peer.send(b"b")
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        ending_in(proxy, 40.0)
        await client.send(GET)
        await client.head()
        assert await client.exactly(1) == b"a"
        proxy.time.passes(29.0)
        go_on.set()
        assert await client.exactly(1) == b"b"
        proxy.time.passes(11.0)
        assert await client.rest() == b""
        assert client.was_reset or client.has_ended
        assert proxy.results == [(200, Reason.DEADLINE_EXCEEDED)]
        await until(lambda: proxy.pool.connections == 0)


async def test_an_answer_that_does_not_begin_may_be_over_sooner() -> None:
    """``response_timeout`` is as it was, and says so."""
    async with proxied(silent, response_timeout_seconds=1.0) as proxy, proxy.client() as client:
        ending_in(proxy, 5.0)
        await client.send(GET)
        await sent(proxy)
        proxy.time.passes(1.0)
        assert (await client.message()).reason == b"upstream_timeout"


async def test_content_that_stops_coming_may_be_over_sooner() -> None:
    """So is ``body_timeout``."""

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\na")
        await peer.rest()

    async with proxied(script, body_timeout_seconds=1.0) as proxy, proxy.client() as client:
        ending_in(proxy, 5.0)
        await client.send(GET)
        await client.head()
        await client.exactly(1)
        proxy.time.passes(1.0)
        await client.rest()
        assert proxy.results == [(200, Reason.UPSTREAM_TIMEOUT)]


async def test_waiting_for_a_decision_ends_too() -> None:
    """Nobody is asked to decide any more, and what was waited for is given up by this one alone."""
    given_up = asyncio.Event()

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()

    async with proxied(answer_each) as proxy, proxy.client() as client:
        proxy.handler.decide = lambda _exchange: Pending(never(), ends_at=proxy.time.clock() + 2.0)
        await client.send(GET)
        await until(lambda: proxy.handler.exchanges)
        proxy.time.passes(1.9)
        assert proxy.results == []
        proxy.time.passes(0.1)
        answer = await client.message()
        assert (answer.status, answer.reason) == (504, b"deadline_exceeded")
        await given_up.wait()
        assert proxy.handler.exchanges[0].commits == 0


async def test_the_end_may_change_with_each_action() -> None:
    """What follows a wait says anew until when; nothing of the wait's own end is left."""
    async with proxied(silent) as proxy, proxy.client() as client:
        proxy.handler.decide = lambda _exchange: Pending(
            asyncio.sleep(0), ends_at=proxy.time.clock() + 1.0
        )
        await client.send(GET)
        await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
        proxy.time.passes(30.0)
        assert proxy.results == []
        proxy.time.passes(15.0)  # the response timeout
        assert (await client.message()).reason == b"upstream_timeout"


async def test_waiting_for_a_connection_ends_too() -> None:
    """A backlog that is full, a SYN that nobody answers: the time for it is the exchange's."""
    with full_backlog() as port:
        async with serving(port) as proxy, proxy.client() as client:
            ending_in(proxy, 2.0)
            await client.send(GET)
            await until(lambda: proxy.pool.is_opening)
            proxy.time.passes(2.0)
            answer = await client.message()
            assert (answer.status, answer.reason) == (504, b"deadline_exceeded")
            assert proxy.handler.exchanges[0].details == [
                "the time was over while it waited for a decision or a connection"
            ]


async def test_content_that_is_still_coming_is_not_waited_for() -> None:
    """The rest of the request belongs to nobody: the caller's connection ends as well."""
    async with proxied(silent) as proxy, proxy.client() as client:
        ending_in(proxy, 2.0)
        await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
        await sent(proxy)
        proxy.time.passes(2.0)
        answer = await client.refused()
        assert (answer.status, answer.reason) == (504, b"deadline_exceeded")


async def test_a_tunnel_is_not_cut() -> None:
    """After 101 the two sides decide how long it lasts."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(SWITCHED)
        await peer.exactly(8)
        await peer.send(PONG)
        await peer.rest()

    async with proxied(script) as proxy, proxy.client() as client:
        ending_in(proxy, 2.0)
        await client.send(SWITCH)
        await client.head()
        proxy.time.passes(10.0)
        await client.send(b"\x89\x82\0\0\0\0ok")
        assert await client.exactly(4) == PONG


async def test_an_exchange_that_is_over_has_no_end_any_more() -> None:
    """Nothing is left behind, so that a million of them cost nothing."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        ending_in(proxy, 2.0)
        for _ in range(3):
            await client.send(GET)
            await client.message()
        assert len(proxy.time.deadlines._punctual) == 0
        proxy.time.passes(10.0)
        await client.send(GET)
        assert (await client.message()).status == 200


async def test_a_caller_that_leaves_takes_the_end_along() -> None:
    """The exchange is finished once."""
    async with proxied(silent) as proxy:
        async with proxy.client() as client:
            ending_in(proxy, 2.0)
            await client.send(GET)
            await until(lambda: proxy.pool.connections == 1)
            client.reset()
            await until(lambda: proxy.listener.connections == 0)
        proxy.time.passes(2.0)
        assert [status for status, _ in proxy.results] == [499]


async def test_an_answer_of_our_own_ends_it_as_well() -> None:
    """What was refused at the last check is over."""
    async with proxied(answer_each) as proxy, proxy.client() as client:
        ending_in(proxy, 2.0)
        proxy.handler.commit = lambda _exchange: Answer(403, b"", b"no")
        await client.send(GET)
        assert (await client.message()).status == 403
        assert len(proxy.time.deadlines._punctual) == 0


# --- how late it may be ---


async def test_an_end_between_two_sweeps_is_not_a_sweep_late() -> None:
    """By the loop's own clock: a timer comes for it, long before the next sweep."""
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(loop.time)
    delays: list[float] = []
    called = loop.call_later

    def call_later(delay: float, *args: object, **kwargs: object) -> asyncio.TimerHandle:
        delays.append(delay)
        return called(delay, *args, **kwargs)  # type: ignore[arg-type]

    loop.call_later = call_later  # type: ignore[method-assign]
    deadlines.start(loop)
    try:
        first, second = Bomb(loop.time() + 0.03), Bomb(loop.time() + 0.015)
        deadlines.add_punctual(first)
        deadlines.add_punctual(second)
        await second.expired.wait()
        await first.expired.wait()
        late = Bomb(loop.time() + 100.0)
        deadlines.add_punctual(late)
    finally:
        deadlines.stop()
        del loop.call_later
    between = [delay for delay in delays if delay != SWEEP_SECONDS]
    assert between
    assert all(PUNCTUAL_SECONDS <= delay < SWEEP_SECONDS for delay in between)


def test_a_sweep_finds_the_punctual_ones_too() -> None:
    """Whatever the timers do, a quarter of a second is the most."""
    time = ManualTime()
    due, left = Bomb(1_001.0), Bomb(1_001.0)
    time.deadlines.add_punctual(due)
    time.deadlines.add_punctual(left)
    time.deadlines.discard_punctual(left)
    time.passes(1.0)
    assert due.expired.is_set()
    assert not left.expired.is_set()
