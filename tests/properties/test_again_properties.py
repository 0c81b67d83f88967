"""What holds for requests that are sent once more after a 401, however they and the answers come.

Each caller gets one answer to each request, in order; the origin gets each request's whole content
every time, and never a third time.
"""

import asyncio
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sidecar.wire.exchange import Action, Forward
from tests.properties.test_wire_properties import EXAMPLES, LOOPS, run, valid_requests
from tests.support.wire_exchange import FakeExchange
from tests.support.wire_peer import Peer, until
from tests.support.wire_proxy import proxied

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
NO = b"HTTP/1.1 401 No\r\nContent-Length: 4\r\n\r\nwhat"
CHUNKED_NO = b"HTTP/1.1 401 No\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nwhat\r\n0\r\n\r\n"
LONG_NO = b"HTTP/1.1 401 No\r\nContent-Length: 20000\r\n\r\n" + b"a" * 20_000
LAST_NO = b"HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
ANSWERS = [OK, HINT + OK, NO, HINT + NO, CHUNKED_NO, LONG_NO, LAST_NO]


class Origin:
    """Gives these answers, one after the other over all connections, then ``OK``."""

    def __init__(self, answers: list[bytes]) -> None:
        self.left = list(answers)
        self.given: list[bytes] = []
        self.requests: list[tuple[bytes, bytes]] = []

    async def __call__(self, peer: Peer) -> None:
        while True:
            request = await peer.message()
            self.requests.append((request.start.split(b" ")[1], request.body))
            answer = self.left.pop(0) if self.left else OK
            self.given.append(answer)
            half = len(answer) // 2
            await peer.send(answer[:half])
            await asyncio.sleep(0)
            await peer.send(answer[half:])
            if answer is LAST_NO:
                return


@LOOPS
@EXAMPLES
@given(
    sent=st.lists(valid_requests(), min_size=1, max_size=3),
    answers=st.lists(st.sampled_from(ANSWERS), max_size=6),
    replay_bytes=st.sampled_from([0, 30, 2_000]),
    pieces=st.integers(1, 8),
    turns=st.sampled_from([1, 40]),
)
def test_each_request_has_one_answer_and_is_sent_whole_at_most_twice(
    new_loop: Any,
    sent: list[tuple[bytes, bytes, bytes]],
    answers: list[bytes],
    replay_bytes: int,
    pieces: int,
    turns: int,
) -> None:
    """Twice exactly if the first answer was a 401 and the exchange was asked.

    Between the *pieces* the loop has so many *turns*: some content comes after its head was sent.
    """

    async def conversation() -> None:
        origin = Origin(answers)
        async with proxied(origin) as proxy, proxy.client() as client:

            def forward(exchange: FakeExchange) -> Action:
                return Forward(proxy.pool, exchange.head.target, replay_bytes=replay_bytes)

            proxy.handler.decide = proxy.handler.again = forward
            raw = b"".join(each[0] for each in sent)
            size = len(raw) // pieces + 1
            for start in range(0, len(raw), size):
                await client.send(raw[start : start + size])
                for _ in range(turns):
                    await asyncio.sleep(0)
            statuses = []
            for _ in sent:
                while (answer := await client.message()).status < 200:
                    assert answer.status == 103
                statuses.append(answer.status)
            await until(lambda: len(proxy.results) == len(sent))
            attempts = iter(zip(origin.requests, origin.given, strict=True))
            for exchange, (_, target, content), status in zip(
                proxy.handler.exchanges, sent, statuses, strict=True
            ):
                assert exchange.commits in (1, 2)
                assert exchange.agains == [401] * (exchange.commits - 1)
                first = None
                for _ in range(exchange.commits):
                    request, given_ = next(attempts)
                    assert request == (target, content)
                    first = first or given_
                assert status == (401 if b" 401 " in given_ else 200)
                assert first is not None
                if b" 401 " not in first:
                    assert exchange.commits == 1
                elif not exchange.head.has_content or replay_bytes == 2_000:
                    assert exchange.commits == 2
                elif not replay_bytes:
                    assert exchange.commits == 1
            assert next(attempts, None) is None
            assert proxy.listener.buffered_bytes == 0

    run(new_loop, conversation())
