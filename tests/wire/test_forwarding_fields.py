"""``sidecar.wire.forwarding``: what is added when a request is sent on, and to nothing else."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from sidecar.core.forwarded import ForwardingFields, classifier
from sidecar.wire.exchange import Answer
from sidecar.wire.fields import NameTable
from sidecar.wire.forwarding_fields import ForwardingHandler
from tests.support.wire_exchange import FakeExchange, classify
from tests.support.wire_peer import Message, Peer
from tests.support.wire_proxy import Proxy, proxied

Configure = Callable[[Proxy], ForwardingHandler]


@asynccontextmanager
async def forwarding(
    *, via: str | None = None, trust: tuple[str, ...] | None = None
) -> AsyncIterator[tuple[Proxy, list[Message]]]:
    """A proxy whose handler adds such fields; the list holds what the origin received."""
    received: list[Message] = []

    async def script(peer: Peer) -> None:
        while True:
            received.append(await peer.message())
            await peer.send(
                b"HTTP/1.1 200 OK\r\nVia: 1.1 deeper\r\nX-Forwarded-For: app\r\n"
                b"Content-Length: 0\r\n\r\n"
            )

    async with proxied(script) as proxy:
        fields = None
        if trust is not None:
            fields = ForwardingFields(trust=trust, write="both", scheme=b"http")
            proxy.listener.names = NameTable(classifier(classify))
        proxy.listener.handler = ForwardingHandler(proxy.handler, via=via, fields=fields)
        yield proxy, received


async def asked(proxy: Proxy, head: bytes) -> Message:
    async with proxy.client() as client:
        await client.send(head + b"\r\n")
        return await client.message()


async def test_via_is_added_behind_the_others() -> None:
    """In both directions, with the version that was received."""
    async with forwarding(via="pod%1") as (proxy, received):
        answer = await asked(
            proxy, b"GET / HTTP/1.1\r\nHost: h\r\nVia: 1.0 a, 1.1 b\r\nVia: 1.1 c\r\n"
        )
        assert received[-1].all(b"via") == [b"1.0 a, 1.1 b", b"1.1 c", b"1.1 pod%1"]
        assert answer.all(b"via") == [b"1.1 deeper", b"1.1 pod%1"]
        await asked(proxy, b"GET / HTTP/1.0\r\n")
        assert received[-1].all(b"via") == [b"1.0 pod%1"]
        assert received[-1].get(b"x-permit") == b"yes"
        assert received[-1].get(b"x-forwarded-for") is None


async def test_what_the_peer_wrote_depends_on_the_peer() -> None:
    """The connection's address is what counts, and answers are left alone."""
    head = b"GET / HTTP/1.1\r\nHost: h:8\r\nX-Forwarded-For: 192.0.2.7\r\nX_Real_IP: 1.1.1.1\r\n"
    for trust, chain, element in (
        (("127.0.0.0/8",), b"192.0.2.7, 127.0.0.1", b'for=127.0.0.1;proto=http;host="h:8"'),
        (("192.0.2.0/24",), b"127.0.0.1", b'for=127.0.0.1;proto=http;host="h:8"'),
    ):
        async with forwarding(trust=trust) as (proxy, received):
            for _ in range(2):
                answer = await asked(proxy, head)
            assert received[-1].get(b"x-forwarded-for") == chain
            assert received[-1].get(b"x-forwarded-host") == b"h:8"
            assert received[-1].get(b"forwarded") == element
            assert received[-1].get(b"x_real_ip") is None
            assert received[-1].get(b"via") is None
            assert answer.get(b"x-forwarded-for") == b"app"
            assert answer.all(b"via") == [b"1.1 deeper"]


async def test_answers_of_ours_are_not_forwarded_messages() -> None:
    """Whoever is refused, at either moment, or sends nonsense, gets an answer without ``Via``."""

    def refuse(_exchange: FakeExchange) -> Answer:
        return Answer(403, b"x-reason: no\r\n")

    async with forwarding(via="pod", trust=()) as (proxy, received):
        head = b"GET / HTTP/1.1\r\nHost: h\r\n"
        proxy.handler.commit = refuse
        assert (await asked(proxy, head)).all(b"via") == []
        proxy.handler.decide = refuse
        assert (await asked(proxy, head)).all(b"via") == []
        answer = await asked(proxy, b"nonsense\r\n")
        assert (answer.status, answer.all(b"via")) == (400, [])
        assert received == []


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "x_forwarded_for", "Forwarded", "X-Real-IP", "Via, X-Real-IP"]
)
async def test_connection_may_not_name_them(name: str) -> None:
    """A caller cannot have us delete what its proxy said of it."""
    async with forwarding(trust=("127.0.0.0/8",)) as (proxy, received):
        answer = await asked(
            proxy, b"GET / HTTP/1.1\r\nHost: h\r\nConnection: %b\r\n" % name.encode()
        )
        assert answer.status == 400
        assert received == []
