"""Calls that are sent to the destination twice, and answers of it in more than one piece."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sidecar.config.model import Attribution, Origin
from sidecar.outbound.exchange import OutboundExchange
from sidecar.wire.exchange import Answer, Forward, Timing
from sidecar.wire.request_head import parse_request_head
from tests.support.inflight import arrive
from tests.support.pod import Pod, pod
from tests.support.wire_peer import Peer, connected
from tests.support.wire_proxy import Origin as ScriptedOrigin
from tests.support.wire_proxy import Script

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def pod_before(
    directory: Path, script: Script, *, attribution: Attribution | None = None
) -> AsyncIterator[Pod]:
    """A pod whose destination does to every connection what *script* says."""
    destination = ScriptedOrigin(script)
    async with (
        destination.running(),
        pod(
            directory,
            automatic=False,
            attribution=attribution,
            destination={"upstream": Origin("http", "127.0.0.1", destination.port)},
        ) as running,
    ):
        yield running


async def test_a_repeated_call_carries_the_same_token_and_counts_once(tmp_path: Path) -> None:
    """With ``max_calls: 2`` two calls are made, the second of them in two attempts."""
    tokens: list[bytes] = []

    async def script(peer: Peer) -> None:
        for answer in (OK, b""):
            tokens.extend(re.findall(rb"authorization: Bearer (\S+)", await peer.head()))
            await peer.send(answer)

    async with pod_before(tmp_path, script, attribution=Attribution(max_calls=2)) as running:
        token = running.mint.token("alice")
        alice = await arrive(running, token)
        for _ in range(2):
            assert (await running.call_out(alice.handle)).status == 200
        assert tokens == [token.encode()] * 3
        assert (await running.call_out(alice.handle)).reason == "attribution_call_limit"
        metrics = await running.metrics()
        assert 'sidecar_upstream_retries_total{direction="outbound"} 1.0' in metrics
        assert 'sidecar_upstream_retries_total{direction="inbound"} 0.0' in metrics
        await alice.end()


async def test_a_call_whose_cause_ended_is_not_sent_again(tmp_path: Path) -> None:
    """Liveness is judged before each attempt, just before the head is written."""
    async with pod(tmp_path, automatic=False) as running:
        alice = await arrive(running, running.mint.token("alice"))
        listener = running.wiring.outbound["profiles"]
        raw = (
            "GET / HTTP/1.1\r\nHost: localhost\r\nx-sidecar-carrier: python/0.1; grade=strict\r\n"
            f"x-sidecar-context: {alice.handle}\r\n"
        )
        head = parse_request_head(raw.encode(), listener.names, listener.limits)
        exchange = listener.handler.begin(head, "127.0.0.1")
        assert isinstance(exchange, OutboundExchange)
        assert isinstance(exchange.start(), Forward)
        assert isinstance(exchange.commit(), bytes)
        assert isinstance(exchange.commit(), bytes)
        await alice.end()
        answer = exchange.commit()
        assert isinstance(answer, Answer)
        assert b"x-sidecar-reason: attribution_dead\r\n" in answer.lines
        exchange.finish(answer.status, Timing(0.0), None, whole=True)


async def test_interim_answers_and_trailers_bring_no_name_of_ours(tmp_path: Path) -> None:
    """A third party cannot tell the app who is calling, in whichever piece of its answer."""

    async def script(peer: Peer) -> None:
        assert b"\r\nte: trailers\r\nconnection: te\r\n" in await peer.head()
        await peer.send(
            b"HTTP/1.1 103 Early Hints\r\nX-Auth-Subject: root\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
            b"x-sum: 1\r\nx_auth_subject: root\r\nx-sidecar-context: sdc1\r\n\r\n"
        )
        await peer.rest()

    async with pod_before(tmp_path, script) as running:
        alice = await arrive(running, running.mint.token("alice"))
        address = running.bound.outbound["profiles"]
        async with connected(address.host, address.port) as app:
            await app.send(
                b"GET / HTTP/1.1\r\nHost: localhost\r\nTE: trailers\r\n"
                b"x-sidecar-carrier: python/0.1; grade=strict\r\nx-sidecar-context: %b\r\n\r\n"
                % alice.handle.encode()
            )
            assert await app.head() == b"HTTP/1.1 103 Early Hints\r\n\r\n"
            assert b"200 OK" in await app.head()
            end = b"0\r\nx-sum: 1\r\n\r\n"
            assert await app.exactly(len(end)) == end
        await alice.end()
