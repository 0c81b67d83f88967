"""A connection that is not made is tried again, within bounds: nothing was sent."""

import asyncio
import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sidecar.wire.connecting import HandshakeError, is_lasting
from sidecar.wire.deadlines import NEVER
from sidecar.wire.delivery import FIRST_PAUSE_SECONDS
from sidecar.wire.exchange import Action, Forward
from tests.support.wire_exchange import FakeExchange
from tests.support.wire_peer import full_backlog, until
from tests.support.wire_proxy import Origin, Proxy, answer_each, proxied, serving

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi"


@contextmanager
def refused_port() -> Iterator[int]:
    """Give a port at which nobody listens, and where nobody else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


class Retries:
    """Counts what a pool tries again; the pauses are as long as the test says."""

    def __init__(self, proxy: Proxy, part: float = 0.0) -> None:
        self.count = 0
        self.pauses = 0
        self.part = part
        proxy.pool.connect_retried = self.retried
        proxy.pool.jitter = self.jitter

    def retried(self) -> None:
        self.count += 1

    def jitter(self) -> float:
        self.pauses += 1
        return self.part


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_a_refused_connection_is_tried_so_many_times_more(retries: int) -> None:
    """Then the caller is told, and the exchange was committed to nothing."""
    with refused_port() as port:
        async with serving(port, connect_retries=retries) as proxy, proxy.client() as client:
            tried = Retries(proxy)
            await client.send(GET)
            answer = await client.message()
            assert (answer.status, answer.reason) == (502, b"upstream_unreachable")
            assert (tried.count, tried.pauses) == (retries, retries)
            assert proxy.handler.exchanges[0].commits == 0


@pytest.mark.parametrize("request_", [GET, POST])
async def test_whoever_is_there_the_next_time_is_asked(request_: bytes) -> None:
    """Any method: what was not sent was not carried out. The content is sent once."""
    origin = Origin(answer_each)
    async with origin.running():
        with refused_port() as port:
            async with serving(port, connect_retries=1) as proxy, proxy.client() as client:
                tried = Retries(proxy)

                def back_up() -> float:
                    proxy.pool.port = origin.port
                    return 0.0

                proxy.pool.jitter = back_up
                await client.send(request_)
                answer = await client.message()
                assert answer.status == 200
                assert answer.body.endswith(b"|hi" if request_ is POST else b"|")
                assert tried.count == 1
                assert proxy.handler.exchanges[0].commits == 1


async def test_a_connection_in_time_is_tried_once() -> None:
    """Nothing is counted while all is well."""
    async with proxied(answer_each, connect_retries=3) as proxy, proxy.client() as client:
        tried = Retries(proxy)
        await client.send(GET)
        assert (await client.message()).status == 200
        assert (tried.count, tried.pauses) == (0, 0)


@pytest.mark.parametrize("bounded", [False, True])
async def test_one_that_was_too_slow_is_tried_again_only_within_an_end(bounded: bool) -> None:
    """Without one, each try would have the caller wait for another ``connect_timeout``."""
    with full_backlog() as port:
        async with (
            serving(port, connect_retries=2, connect_timeout_seconds=0.02) as proxy,
            proxy.client() as client,
        ):
            tried = Retries(proxy)

            def forward(exchange: FakeExchange) -> Action:
                ends_at = proxy.time.clock() + 5.0 if bounded else NEVER
                return Forward(proxy.pool, exchange.head.target, ends_at=ends_at)

            proxy.handler.decide = forward
            await client.send(GET)
            assert (await client.message()).reason == b"upstream_timeout"
            assert tried.count == (2 if bounded else 0)


async def test_the_end_holds_during_a_pause() -> None:
    """Nobody waits for a try that would come too late."""
    with refused_port() as port:
        async with serving(port, connect_retries=3) as proxy, proxy.client() as client:
            tried = Retries(proxy, part=1_000.0)
            ends_at = proxy.time.clock() + 2.0
            proxy.handler.decide = lambda exchange: Forward(
                proxy.pool, exchange.head.target, ends_at=ends_at
            )
            await client.send(GET)
            await until(lambda: tried.pauses)
            proxy.time.passes(2.0)
            assert (await client.message()).reason == b"deadline_exceeded"
            assert tried.count == 0


async def test_a_caller_that_leaves_during_a_pause_ends_it() -> None:
    """There is nobody to connect for."""
    with refused_port() as port:
        async with serving(port, connect_retries=3) as proxy:
            tried = Retries(proxy, part=1_000.0)
            async with proxy.client() as client:
                await client.send(GET)
                await until(lambda: tried.pauses)
                client.reset()
                await until(lambda: proxy.listener.connections == 0)
            assert [status for status, _ in proxy.results] == [499]


async def test_the_pauses_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as long each time, of which the jitter takes a part."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def noted(seconds: float) -> None:
        if seconds > 0.001:  # which the test's own waiting takes
            pauses.append(seconds)
        await sleep(0)

    with refused_port() as port:
        async with serving(port, connect_retries=3) as proxy, proxy.client() as client:
            Retries(proxy, part=0.5)
            monkeypatch.setattr(asyncio, "sleep", noted)
            await client.send(GET)
            await client.message()
            monkeypatch.undo()
    assert pauses == [FIRST_PAUSE_SECONDS * factor for factor in (0.5, 1.0, 2.0)]


@pytest.mark.parametrize(
    ("error", "lasting"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), False),
        (ConnectionResetError("closed as soon as it was open"), False),
        (OSError(errno.EHOSTUNREACH, "no route"), False),
        (OSError("Multiple exceptions: refused, refused"), False),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), False),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), True),
        (HandshakeError("TLS: certificate verify failed"), True),
    ],
)
def test_what_would_be_the_same_a_moment_later_is_not_tried_again(
    error: OSError, lasting: bool
) -> None:
    """A name that does not exist, a certificate that does not verify."""
    assert is_lasting(error) is lasting
