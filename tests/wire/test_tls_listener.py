"""TLS towards callers: handshakes that fail cost nothing, and endings are said in TLS."""

import asyncio
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from unittest.mock import patch

import pytest

from sidecar.core.outcome import Reason
from sidecar.wire.exchange import Answer
from sidecar.wire.pacing import LINGER_SECONDS
from sidecar.wire.tls import ListenerTls, TlsGate
from tests.support.certificates import (
    HOUR,
    Authority,
    client_context,
    self_signed,
    server_context,
)
from tests.support.wire_peer import PATIENCE_SECONDS, Peer, until
from tests.support.wire_proxy import LIMITS, answer_each, answering, closing_after
from tests.support.wire_tls import NAME, TlsProxy, tls_proxied
from tests.support.wire_volume import small_receive_buffer

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


def goodbye(peer: Peer) -> Callable[[], bool]:
    """Return what tells, at the end, whether the other side said ``close_notify``."""
    tls = peer.writer.get_extra_info("ssl_object")

    def was_said() -> bool:
        try:
            return bool(tls.read(1) == b"")
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLError:
            return False

    return was_said


async def is_still_well(proxy: TlsProxy) -> None:
    """Another caller is served."""
    async with proxy.client() as other:
        await other.send(GET)
        assert (await other.message()).status == 200


async def test_requests_one_after_the_other(tmp_path: Path) -> None:
    """A connection behind TLS serves as many requests as a plain one, of any size."""
    async with tls_proxied(answer_each, tmp_path) as proxy, proxy.client() as client:
        for size in (0, 1, 16_384, 200_000):
            body = b"x" * size
            await client.send(
                b"PUT /%d HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (size, size, body)
            )
            assert (await client.message()).body.endswith(b"|" + body)
        assert len(proxy.results) == 4
        tls = client.writer.get_extra_info("ssl_object")
        assert tls.version() == "TLSv1.3"


@pytest.mark.parametrize("turns", range(4))
async def test_a_request_in_the_flight_that_ends_the_handshake(tmp_path: Path, turns: int) -> None:
    """What a caller sends before we have noticed the end of its handshake is not lost."""
    async with tls_proxied(answer_each, tmp_path) as proxy:
        context = client_context(proxy.authority)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname=NAME)
        async with proxy.plain_client() as client:
            while True:
                try:
                    tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    await client.send(outgoing.read())
                    incoming.write(await client.some())
            for _ in range(turns + 1):
                tls.write(GET)
            await client.send(outgoing.read())  # Finished and the requests, in one packet
            await until(lambda: len(proxy.results) == turns + 1)


PLAIN = {
    "http": (GET, "not_tls"),
    "garbage": (b"\xff" * 64, "not_tls"),
    "ssh": (b"SSH-2.0-OpenSSH_9.9\r\n", "not_tls"),
    "postgres": (b"\x00\x00\x00\x08\x04\xd2\x16\x2f", "not_tls"),
    "half a hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "gone"),
    "nothing": (b"", "gone"),
}


@pytest.mark.parametrize(("sent", "kind"), PLAIN.values(), ids=PLAIN)
async def test_bytes_that_are_no_handshake(tmp_path: Path, sent: bytes, kind: str) -> None:
    """They are counted, the connection ends, no exchange began, and others are served."""
    async with tls_proxied(answer_each, tmp_path) as proxy:
        async with proxy.plain_client() as client:
            if sent:
                await client.send(sent)
            client.end()
            assert await client.rest() == b""
        await until(lambda: proxy.failures)
        assert [found for found, _ in proxy.failures] == [kind]
        assert proxy.handler.exchanges == []
        assert proxy.handler.malformed_for == []
        await is_still_well(proxy)
        assert len(proxy.failures) == 1


async def test_a_version_that_is_too_old(tmp_path: Path) -> None:
    """A server's least version is kept, and said in the log."""
    pair = Authority().issue(NAME)
    ours = server_context(pair, tmp_path)
    ours.minimum_version = ssl.TLSVersion.TLSv1_3
    async with tls_proxied(answer_each, tmp_path, server_context_of_ours=ours) as proxy:
        old = client_context(proxy.authority)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with pytest.raises((ssl.SSLError, ConnectionError)):
            async with proxy.client(old):
                pass
        await until(lambda: proxy.failures)
        assert proxy.failures[0][0] == "protocol"


async def test_a_caller_that_does_not_trust_us(tmp_path: Path) -> None:
    """The caller leaves, which is counted as what it is."""

    def call() -> None:  # blocking: asyncio's own client leaves without saying why
        with socket.create_connection(proxy.address) as plain:
            client_context(Authority()).wrap_socket(plain, server_hostname=NAME)

    async with tls_proxied(answer_each, tmp_path) as proxy:
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.to_thread(call)
        await until(lambda: proxy.failures)
        ((kind, detail),) = proxy.failures
        assert (kind, detail) == ("refused_by_peer", "tlsv1 alert unknown ca")
        await is_still_well(proxy)


async def send_and_read(proxy: TlsProxy, context: ssl.SSLContext) -> bytes:
    """What a caller with *context* gets; nothing where the connection ends."""
    try:
        async with proxy.client(context) as client:
            await client.send(GET)
            return await client.rest() if proxy.failures else (await client.message()).start
    except (OSError, asyncio.IncompleteReadError):
        return b""


async def test_client_certificates(tmp_path: Path) -> None:
    """With a client CA only certificates of that CA, for clients, valid now, are let in."""
    authority, strangers = Authority(), Authority()
    ours = server_context(authority.issue(NAME), tmp_path, client_ca=authority)
    async with tls_proxied(
        answer_each, tmp_path, authority=authority, server_context_of_ours=ours
    ) as proxy:
        good = client_context(authority, pair=authority.issue("caller"), directory=tmp_path)
        assert await send_and_read(proxy, good) == b"HTTP/1.1 200 OK"
        assert await send_and_read(proxy, client_context(authority)) == b""
        await until(lambda: proxy.failures)
        assert proxy.failures.pop()[0] == "no_certificate"
        for pair, said in (
            (strangers.issue("caller"), "unable to get local issuer certificate"),
            (self_signed("caller"), "self-signed certificate"),
            (authority.issue("caller", starts=-2 * HOUR, ends=-HOUR), "certificate has expired"),
            (authority.issue("caller", starts=HOUR, ends=2 * HOUR), "certificate is not yet valid"),
            (authority.issue("caller", usage="server"), "unsuitable certificate purpose"),
        ):
            bad = client_context(authority, pair=pair, directory=tmp_path)
            assert await send_and_read(proxy, bad) == b""
            await until(lambda: proxy.failures)
            kind, detail = proxy.failures.pop()
            assert kind == "certificate_refused"
            assert said in detail.replace("unsupported certificate", "unsuitable certificate")
        assert len(proxy.handler.exchanges) == 1


async def test_an_optional_client_certificate(tmp_path: Path) -> None:
    """None is let in, a good one is let in, a bad one is not."""
    authority = Authority()
    ours = server_context(authority.issue(NAME), tmp_path, client_ca=authority)
    ours.verify_mode = ssl.CERT_OPTIONAL
    async with tls_proxied(
        answer_each, tmp_path, authority=authority, server_context_of_ours=ours
    ) as proxy:
        for pair, served in (
            (None, True),
            (authority.issue("caller"), True),
            (Authority().issue("caller"), False),
        ):
            context = client_context(authority, pair=pair, directory=tmp_path)
            assert bool(await send_and_read(proxy, context)) is served


# --- slow and many ---


async def test_slow_handshakes_count_as_connections_and_end(tmp_path: Path) -> None:
    """Whoever does not finish its handshake takes a place for as long as a header section may."""
    async with (
        tls_proxied(answer_each, tmp_path, max_connections=3, header_timeout_seconds=0.3) as proxy,
        proxy.plain_client(),
        proxy.plain_client() as slow,
        proxy.plain_client(),
    ):
        await slow.send(b"\x16\x03\x01")
        await until(lambda: proxy.listener.handshakes == 3)
        async with proxy.client() as client:
            await client.send(GET)
            assert (await client.refused()).reason == b"overloaded"
        await until(lambda: len(proxy.failures) == 3)
        assert {kind for kind, _ in proxy.failures} == {"timeout"}
        assert proxy.listener.handshakes == 0
        await is_still_well(proxy)


async def test_handshakes_are_bounded(tmp_path: Path) -> None:
    """Over the limit, and over those that may read why, a connection is cut off at once."""
    async with tls_proxied(answer_each, tmp_path, max_connections=2) as proxy:
        peers = [socket.create_connection(proxy.address) for _ in range(2 + 128 + 20)]
        try:
            await until(lambda: proxy.listener.handshakes == 130)
            cut = 0
            for peer in peers:
                peer.setblocking(False)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while cut < 20:
                    await asyncio.sleep(0)
                    cut = sum(_has_ended(peer) for peer in peers)
            assert proxy.listener.handshakes == 130
        finally:
            for peer in peers:
                peer.close()
        await until(lambda: proxy.listener.handshakes == 0)


def _has_ended(peer: socket.socket) -> bool:
    try:
        return peer.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


async def test_stopping_during_a_handshake(tmp_path: Path) -> None:
    """A handshake holds up no stop, and is no failure."""
    async with tls_proxied(answer_each, tmp_path) as proxy, proxy.plain_client() as slow:
        await until(lambda: proxy.listener.handshakes == 1)
        async with asyncio.timeout(PATIENCE_SECONDS / 2):
            await proxy.listener.drain(60.0)
        assert proxy.failures == []
        assert await slow.rest() == b""


async def test_stopping_before_a_handshake_has_begun(tmp_path: Path) -> None:
    """Even then its place is free again and its socket closed."""

    class Hasty(asyncio.Protocol):
        def __init__(self, gate: TlsGate) -> None:
            self.gate = gate

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.gate.connection_made(transport)
            self.gate.abort()

    async with tls_proxied(answer_each, tmp_path) as proxy:
        tls = ListenerTls(lambda: proxy.server_context, lambda *_args: None)
        server = await asyncio.get_running_loop().create_server(
            lambda: Hasty(TlsGate(proxy.listener, tls)), "127.0.0.1", 0
        )
        proxy.address = server.sockets[0].getsockname()
        async with proxy.plain_client() as client:
            assert await client.rest() == b""
        await until(lambda: proxy.listener.handshakes == 0)
        server.close()


async def test_no_descriptor_is_left(tmp_path: Path) -> None:
    """One connection cannot be served; its place is free again, and it is told."""
    async with tls_proxied(answer_each, tmp_path) as proxy:
        with patch("os.dup", side_effect=OSError(24, "Too many open files")):
            async with proxy.plain_client() as client:
                assert await client.rest() == b""
        assert proxy.failures == [("other", "Too many open files")]
        assert proxy.listener.handshakes == 0
        await is_still_well(proxy)


async def test_failed_handshakes_leave_nothing_open(tmp_path: Path) -> None:
    """However they failed, their sockets are closed."""
    async with tls_proxied(answer_each, tmp_path, header_timeout_seconds=0.2) as proxy:
        await is_still_well(proxy)
        await until(lambda: proxy.listener.connections == 0)
        before = len(os.listdir("/dev/fd"))
        for sent in (GET, b"\x16\x03\x01", b""):
            for leaves in (True, False):
                async with proxy.plain_client() as client:
                    await client.send(sent)
                    if leaves:
                        client.reset()
                    await client.rest()
        with pytest.raises(ssl.SSLCertVerificationError):
            async with proxy.client(client_context(Authority())):
                pass
        await until(lambda: len(proxy.failures) == 7)
        await until(lambda: len(os.listdir("/dev/fd")) <= before)


# --- endings ---


async def test_an_answer_that_ends_with_the_connection_is_ended_in_tls(tmp_path: Path) -> None:
    """A caller of HTTP/1.0 learns from close_notify that it has everything."""
    script = closing_after(b"HTTP/1.1 200 OK\r\n\r\nhello")
    async with tls_proxied(script, tmp_path) as proxy, proxy.client() as client:
        await client.send(b"GET / HTTP/1.0\r\n\r\n")
        was_said = goodbye(client)
        answer = await client.message(until_close=True)
        assert (answer.body, client.was_reset, was_said()) == (b"hello", False, True)
        # Without waiting for our time to be over.
        assert proxy.results == [(200, None)]


async def test_an_answer_that_broke_is_not_ended_in_tls(tmp_path: Path) -> None:
    """Where the end of the bytes is the end of the content, a broken answer ends in a reset."""
    script = closing_after(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    async with tls_proxied(script, tmp_path) as proxy:
        for version in (b"1.0", b"1.1"):
            async with proxy.client() as client:
                was_said = goodbye(client)
                await client.send(b"GET / HTTP/%b\r\nHost: h\r\n\r\n" % version)
                assert (await client.rest()).endswith(b"hello")
                assert not was_said()
        assert proxy.results == [(200, Reason.UPSTREAM_RESET)] * 2


@pytest.mark.parametrize("tls_version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_refused_upload_is_read_on(tmp_path: Path, tls_version: ssl.TLSVersion) -> None:
    """A caller that is still sending gets the answer, then the end; what it sends is discarded."""
    async with tls_proxied(answer_each, tmp_path) as proxy:
        proxy.handler.decide = lambda _exchange: Answer(403, b"", b"no")
        context = client_context(proxy.authority)
        context.maximum_version = tls_version
        async with proxy.client(context) as client:
            await client.send(b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n")
            for _ in range(20):
                client.writer.write(b"x" * 5_000)
                await asyncio.sleep(0)
            answer = await client.message()
            assert (answer.status, answer.body) == (403, b"no")
            assert await client.rest() == b""
            assert not client.was_reset


@asynccontextmanager
async def that_never_leaves(proxy: TlsProxy, request: bytes) -> AsyncIterator[Peer]:
    """A caller that sends *request* over TLS and reacts to nothing."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = client_context(proxy.authority).wrap_bio(incoming, outgoing, server_hostname=NAME)
    async with proxy.plain_client() as client:
        while True:
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                await client.send(outgoing.read())
                incoming.write(await client.some())
        tls.write(request)
        await client.send(outgoing.read())
        await until(lambda: proxy.results)
        yield client


async def test_an_answered_connection_that_stays_is_ended(tmp_path: Path) -> None:
    """A caller that ignores our close_notify is cut off when its time is over."""
    request = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    async with (
        tls_proxied(answer_each, tmp_path) as proxy,
        that_never_leaves(proxy, request),
    ):
        for seconds in (LINGER_SECONDS + 0.1, LIMITS.body_timeout_seconds - 0.1):
            proxy.time.passes(seconds)
            await asyncio.sleep(0.01)
            assert proxy.listener.connections == 1
        proxy.time.passes(0.2)
        await until(lambda: proxy.listener.connections == 0)


async def test_an_idle_connection_that_stays_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    """The pools of most clients notice our goodbye when they next want to use the connection."""
    async with tls_proxied(answer_each, tmp_path) as proxy, that_never_leaves(proxy, GET):
        draining = asyncio.create_task(proxy.listener.drain(60.0))
        await asyncio.sleep(0.01)
        proxy.time.passes(0.25)
        async with asyncio.timeout(PATIENCE_SECONDS):
            await draining


async def test_an_idle_connection_ends_with_close_notify(tmp_path: Path) -> None:
    """Nobody needs to take the end of an idle connection for an attack."""
    async with tls_proxied(answer_each, tmp_path) as proxy, proxy.client() as client:
        await client.send(GET)
        await client.message()
        was_said = goodbye(client)
        proxy.time.passes(61.0)
        assert await client.rest() == b""
        assert was_said()
        await until(lambda: proxy.listener.connections == 0)


async def test_draining_ends_idle_connections_with_close_notify(tmp_path: Path) -> None:
    """And those in progress after their exchange."""
    begin = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.message()
        await begin.wait()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await peer.rest()

    async with (
        tls_proxied(script, tmp_path) as proxy,
        proxy.client() as idle,
        proxy.client() as busy,
    ):
        await busy.send(GET)
        await until(lambda: proxy.handler.exchanges)
        were_said = goodbye(idle), goodbye(busy)
        draining = asyncio.create_task(proxy.listener.drain(60.0))
        assert await idle.rest() == b""
        begin.set()
        assert (await busy.message()).get(b"connection") == b"close"
        assert await busy.rest() == b""
        assert [was_said() for was_said in were_said] == [True, True]
        async with asyncio.timeout(PATIENCE_SECONDS):
            await draining


async def test_a_slow_caller_gets_all_of_an_answer_that_ends_its_connection(
    tmp_path: Path,
) -> None:
    """Lingering begins when the answer is sent, not when it is written."""
    body = b"x" * 16_000_000  # four times what the kernel takes off our hands at most
    async with tls_proxied(answer_each, tmp_path) as proxy, proxy.client() as client:
        small_receive_buffer(client)
        proxy.handler.decide = lambda _exchange: Answer(200, b"", body, close=True)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET)
        await until(lambda: proxy.listener.buffered_bytes > 0)
        proxy.time.passes(2.5)
        proxy.time.passes(20.0)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert (await client.message()).body == body
        assert await client.rest() == b""


async def test_pipelined_requests(tmp_path: Path) -> None:
    """Requests sent in one record are answered in order."""
    script = answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    async with tls_proxied(script, tmp_path) as proxy, proxy.client() as client:
        await client.send(GET * 50)
        for _ in range(50):
            assert (await client.message()).body == b"ok"


async def test_a_new_certificate_serves_the_next_connection(tmp_path: Path) -> None:
    """Connections that are open keep theirs and go on."""
    async with tls_proxied(answer_each, tmp_path) as proxy, proxy.client() as before:
        later = proxy.authority.issue(NAME, ends=timedelta(hours=5))
        proxy.server_context = server_context(later, tmp_path)
        async with proxy.client() as after:
            for client in (before, after):
                await client.send(GET)
                assert (await client.message()).status == 200
            old, new = (
                client.writer.get_extra_info("peercert")["notAfter"] for client in (before, after)
            )
            assert old != new
