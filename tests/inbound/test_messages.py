"""Requests that are sent to the app twice, and answers of the app in more than one piece."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.config.model import Origin
from sidecar.core.keyset import parse_jwks
from sidecar.inbound.exchange import InboundExchange
from sidecar.wire.exchange import Answer, Forward, Timing
from sidecar.wire.request_head import parse_request_head
from tests.support.http import fetch
from tests.support.pod import Pod, pod
from tests.support.wire_peer import Peer, connected, until
from tests.support.wire_proxy import Origin as ScriptedOrigin
from tests.support.wire_proxy import Script

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@asynccontextmanager
async def pod_before(directory: Path, script: Script) -> AsyncIterator[Pod]:
    """A pod whose app does to every connection what *script* says."""
    app = ScriptedOrigin(script)
    async with (
        app.running(),
        pod(directory, inbound={"app": Origin("http", "127.0.0.1", app.port)}) as running,
    ):
        yield running


class Forgetful:
    """Script: close every connection on its second request, without a word."""

    def __init__(self) -> None:
        self.handles: list[bytes] = []

    async def __call__(self, peer: Peer) -> None:
        for answer in (OK, b""):
            head = await peer.head()
            self.handles += re.findall(rb"x-sidecar-context: (\S+)", head)
            await peer.send(answer)


async def retries(running: Pod, direction: str) -> int:
    (line,) = [
        line
        for line in (await running.metrics()).splitlines()
        if line.startswith(f'sidecar_upstream_retries_total{{direction="{direction}"}}')
    ]
    return int(float(line.rpartition(" ")[2]))


def begun(running: Pod, token: str) -> InboundExchange:
    """An exchange that may be forwarded."""
    listener = running.wiring.inbound
    raw = f"GET /users/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n"
    head = parse_request_head(raw.encode(), listener.names, listener.limits)
    exchange = listener.handler.begin(head, "127.0.0.1")
    assert isinstance(exchange, InboundExchange)
    assert isinstance(exchange.start(), Forward)
    return exchange


async def test_a_repeated_request_is_still_the_same_one(tmp_path: Path) -> None:
    """The app sees the same handle again; there is one entry, which ends with the request."""
    app = Forgetful()
    async with pod_before(tmp_path, app) as running:
        token = running.mint.token("alice")
        for _ in range(3):
            answer = await fetch(running.bound.inbound, "/users/a", bearer=token)
            assert (answer.status, answer.body) == (200, b"ok")
        first, second, again, third, once_more = app.handles
        assert second == again
        assert third == once_more
        assert len({first, second, third}) == 3
        assert len(running.wiring.ledger) == 0
        assert await retries(running, "inbound") == 2
        assert 'code="502"' not in await running.metrics()


async def test_a_closing_app_fails_no_get(tmp_path: Path) -> None:
    """gunicorn closes idle connections after two seconds, this one at once; no caller notices."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(OK)
        await asyncio.sleep(0)

    async with pod_before(tmp_path, script) as running:
        token = running.mint.token("alice")
        request = (
            b"GET /users/a HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer %b\r\n\r\n" % token.encode()
        )
        async with connected(running.bound.inbound.host, running.bound.inbound.port) as client:
            for _ in range(400):
                await client.send(request)
                assert (await client.message()).status == 200
        await until(lambda: len(running.wiring.ledger) == 0)


async def test_the_second_attempt_opens_no_second_entry(tmp_path: Path) -> None:
    """The lines are those of the first one, and the ledger forgets both at the end."""
    async with pod(tmp_path) as running:
        exchange = begun(running, running.mint.token("alice"))
        lines = exchange.commit()
        assert isinstance(lines, bytes)
        assert exchange.commit() == lines
        assert len(running.wiring.ledger) == 1
        exchange.finish(200, Timing(0.0), None, whole=True)
        assert len(running.wiring.ledger) == 0


@pytest.mark.parametrize("what", ["token_expired", "key_unknown", "upstream_reset"])
async def test_what_ended_between_two_attempts_is_not_sent_again(tmp_path: Path, what: str) -> None:
    """Expiry, the withdrawal of the key, and whatever else closes an entry."""
    async with pod(tmp_path) as running:
        wiring = running.wiring
        exchange = begun(running, running.mint.token("alice", exp=int(time.time()) + 60))
        assert isinstance(exchange.commit(), bytes)
        if what == "token_expired":
            wiring.inbound.handler.wall_clock = lambda: time.time() + 3600  # type: ignore[attr-defined]
        elif what == "key_unknown":
            running.mint.rotate(withdraw=True)
            wiring.verifier.install("shop", parse_jwks(json.dumps(running.mint.jwks()).encode()))
        else:
            wiring.ledger.close_unless(lambda _credential: False)
        answer = exchange.commit()
        assert isinstance(answer, Answer)
        assert f"x-sidecar-reason: {what}\r\n".encode() in answer.lines
        exchange.finish(answer.status, Timing(0.0), None, whole=True)
        assert len(wiring.ledger) == 0


async def test_interim_answers_and_trailers_leak_nothing(tmp_path: Path) -> None:
    """Handles and reserved names are removed from every piece of an answer."""

    async def script(peer: Peer) -> None:
        head = await peer.head()
        (handle,) = re.findall(rb"x-sidecar-context: (\S+)", head)
        ours = b"x-sidecar-context: %b\r\nX_Auth_Subject: root\r\nx-echo: %b\r\n" % (handle, handle)
        await peer.send(
            b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n%b\r\n"
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n"
            b"grpc-status: 0\r\nbaggage: sdctx=%b\r\n%b\r\n" % (ours, handle, ours)
        )
        await peer.rest()

    async with pod_before(tmp_path, script) as running:
        request = (
            b"GET /users/a HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nAuthorization: Bearer %b\r\n\r\n"
            % running.mint.token("alice").encode()
        )
        async with connected(running.bound.inbound.host, running.bound.inbound.port) as client:
            await client.send(request)
            assert await client.head() == b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
            assert b"200 OK" in await client.head()
            end = b"2\r\nok\r\n0\r\ngrpc-status: 0\r\n\r\n"
            assert await client.exactly(len(end)) == end


async def test_a_refused_expectation_never_asks_for_the_content(tmp_path: Path) -> None:
    """No token: 401 on the head, with the connection's end; with one: the app's 100 and answer."""

    async def script(peer: Peer) -> None:
        head = await peer.head()
        assert b"\r\nExpect: 100-continue\r\n" in head
        await peer.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await peer.exactly(5) == b"hello"
        await peer.send(OK)

    async with pod_before(tmp_path, script) as running:
        head = b"PUT /users/a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
        address = running.bound.inbound
        async with connected(address.host, address.port) as client:
            await client.send(head + b"\r\n")
            assert (await client.refused()).status == 401
        token = running.mint.token("alice").encode()
        async with connected(address.host, address.port) as client:
            await client.send(head + b"Authorization: Bearer %b\r\n\r\n" % token)
            assert (await client.message()).status == 100
            await client.send(b"hello")
            assert (await client.message()).status == 200
