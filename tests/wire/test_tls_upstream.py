"""TLS towards an origin: who is refused, what is whole, and what a new context changes."""

import asyncio
import socket
import ssl
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from sidecar.core.outcome import Reason
from tests.support.certificates import (
    HOUR,
    Authority,
    Pair,
    client_context,
    self_signed,
    server_context,
)
from tests.support.needs import needs_abort_of_what_is_gone
from tests.support.wire_peer import Peer, until
from tests.support.wire_proxy import answer_each
from tests.support.wire_tls import NAME, TlsProxy, tls_proxied
from tests.support.wire_volume import small_receive_buffer

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"


async def ask(proxy: TlsProxy, request: bytes = GET) -> tuple[int, bytes]:
    """Send one request on a connection of its own; return status and content."""
    async with proxy.client() as client:
        await client.send(request)
        answer = await client.message()
        return answer.status, answer.body


def below(peer: Peer) -> socket.socket:
    """Return the TCP connection under a peer's TLS, as somebody on the way may treat it."""
    return socket.socket(fileno=socket.dup(peer.writer.get_extra_info("socket").fileno()))


async def failing(proxy: TlsProxy) -> tuple[Reason, str]:
    """Send one request that cannot be forwarded, and return why."""
    status, _ = await ask(proxy)
    assert status in (502, 504)
    exchange = proxy.handler.exchanges[-1]
    return exchange.failures[-1], exchange.details[-1]


async def test_requests_go_out_in_tls(tmp_path: Path) -> None:
    """And connections are used again, as plain ones are."""
    async with tls_proxied(answer_each, tmp_path, origin_tls=True) as proxy:
        for _ in range(3):
            assert await ask(proxy) == (200, b"GET / HTTP/1.1|")
        body = b"y" * 300_000
        put = b"PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        assert await ask(proxy, put) == (200, b"PUT / HTTP/1.1|" + body)
        assert proxy.pool.connections == 1


REFUSED: dict[str, tuple[object, str]] = {
    "expired": (
        lambda ca: ca.issue(NAME, starts=-2 * HOUR, ends=-HOUR),
        "TLS: certificate verify failed: certificate has expired",
    ),
    "not yet valid": (
        lambda ca: ca.issue(NAME, starts=HOUR, ends=2 * HOUR),
        "TLS: certificate verify failed: certificate is not yet valid",
    ),
    "of another name": (
        lambda ca: ca.issue("other.test"),
        f"TLS: certificate verify failed: Hostname mismatch, certificate is not valid for '{NAME}'",
    ),
    "of another CA": (
        lambda _ca: Authority().issue(NAME),
        "TLS: certificate verify failed: unable to get local issuer certificate",
    ),
    "of another CA by the same name": (
        lambda _ca: Authority("test authority").issue(NAME),
        "TLS: certificate verify failed: unable to get local issuer certificate",
    ),
    "self-signed": (
        lambda _ca: self_signed(NAME),
        "TLS: certificate verify failed: self-signed certificate",
    ),
    "for clients": (
        lambda ca: ca.issue(NAME, usage="client"),
        "TLS: certificate verify failed: unsuitable certificate purpose",
    ),
}


@pytest.mark.parametrize(("made", "said"), REFUSED.values(), ids=REFUSED)
async def test_a_certificate_that_does_not_prove_the_origin(
    tmp_path: Path, made: object, said: str
) -> None:
    """Nothing is sent, the answer is 502, and the log says what was wrong."""
    authority = Authority()
    pair = made(authority)  # type: ignore[operator]
    assert isinstance(pair, Pair)
    received: list[bytes] = []

    async def script(peer: Peer) -> None:
        received.append(await peer.rest())

    async with tls_proxied(
        script,
        tmp_path,
        authority=authority,
        origin_tls=True,
        origin_context=server_context(pair, tmp_path),
    ) as proxy:
        reason, detail = await failing(proxy)
        assert reason is Reason.UPSTREAM_UNREACHABLE
        assert said in detail.replace(
            "unsupported certificate purpose", "unsuitable certificate purpose"
        )
        assert proxy.pool.connections == 0
        assert b"".join(received) == b""


async def test_an_origin_that_speaks_no_tls(tmp_path: Path) -> None:
    """Plain HTTP on the other side is told from a certificate problem."""
    async with tls_proxied(answer_each, tmp_path, origin_tls=True) as proxy:

        async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            writer.close()

        server = await asyncio.start_server(plain, "127.0.0.1", 0)
        proxy.pool.port = server.sockets[0].getsockname()[1]
        assert await failing(proxy) == (Reason.UPSTREAM_UNREACHABLE, "TLS: wrong version number")
        server.close()


async def test_an_origin_that_never_shakes_hands(tmp_path: Path) -> None:
    """The handshake is part of connecting, with its time; the socket is closed afterwards."""
    ended = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.read(4096):
                pass
        except ConnectionError:
            pass
        ended.set()
        writer.close()

    async with tls_proxied(
        answer_each, tmp_path, origin_tls=True, connect_timeout_seconds=0.2
    ) as proxy:
        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        proxy.pool.port = server.sockets[0].getsockname()[1]
        reason, _ = await failing(proxy)
        assert reason is Reason.UPSTREAM_TIMEOUT
        async with asyncio.timeout(10):
            await ended.wait()
        assert proxy.pool.connections == 0
        assert not proxy.pool.is_full
        server.close()


async def test_an_origin_that_hangs_up_during_the_handshake(tmp_path: Path) -> None:
    """Which is no reset by the network."""

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4096)
        writer.close()

    async with tls_proxied(answer_each, tmp_path, origin_tls=True) as proxy:
        server = await asyncio.start_server(leave, "127.0.0.1", 0)
        proxy.pool.port = server.sockets[0].getsockname()[1]
        assert await failing(proxy) == (
            Reason.UPSTREAM_UNREACHABLE,
            "TLS: the peer ended the connection during the handshake",
        )
        server.close()


async def test_our_certificate(tmp_path: Path) -> None:
    """An origin that asks for a certificate gets ours; without one it is told apart."""
    authority = Authority()
    theirs = server_context(authority.issue(NAME), tmp_path, client_ca=authority)
    async with tls_proxied(
        answer_each, tmp_path, authority=authority, origin_tls=True, origin_context=theirs
    ) as proxy:
        status, _ = await ask(proxy)
        assert status == 502
        proxy.pool_context = client_context(
            authority, pair=authority.issue("sidecar"), directory=tmp_path
        )
        assert (await ask(proxy))[0] == 200


async def test_an_origin_that_says_why_it_refuses_our_certificate(tmp_path: Path) -> None:
    """In TLS 1.3 its alert comes after the handshake: the log has it all the same."""
    authority = Authority()
    theirs = server_context(authority.issue(NAME), tmp_path, client_ca=authority)
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:  # blocking: asyncio's own server leaves without saying why
        plain, _ = listening.accept()
        with theirs.wrap_socket(plain, server_side=True, do_handshake_on_connect=False) as tls:
            with suppress(ssl.SSLError):
                tls.do_handshake()
            tls.shutdown(socket.SHUT_WR)
            while tls.recv(4096):
                pass

    async with tls_proxied(answer_each, tmp_path, authority=authority, origin_tls=True) as proxy:
        proxy.pool.port = listening.getsockname()[1]
        serving = asyncio.create_task(asyncio.to_thread(serve))
        reason, detail = await failing(proxy)
        await serving
        listening.close()
        assert reason is Reason.UPSTREAM_RESET
        assert detail == "TLS failed before an answer: tlsv13 alert certificate required"


# --- the end of the content ---


async def test_content_that_ends_with_close_notify_is_whole(tmp_path: Path) -> None:
    """The origin said that it is done."""

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(UNTIL_CLOSE + b"hello")

    async with tls_proxied(script, tmp_path, origin_tls=True) as proxy:
        assert await ask(proxy) == (200, b"hello")
        assert proxy.results == [(200, None)]


@pytest.mark.parametrize("reset", [False, True])
async def test_content_that_is_cut_off_is_not_whole(tmp_path: Path, reset: bool) -> None:
    """Whoever ends the TCP connection on the way does not end the content (truncation)."""
    needs_abort_of_what_is_gone()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(UNTIL_CLOSE + b"transfer 100")
        if reset:
            peer.reset()
        else:
            with below(peer) as plain:
                plain.shutdown(socket.SHUT_WR)
        await peer.rest()

    async with tls_proxied(script, tmp_path, origin_tls=True) as proxy:
        async with proxy.client() as client:
            await client.send(GET)
            received = await client.rest()
        assert received.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\n0\r\n\r\n" not in received
        assert proxy.results == [(200, Reason.UPSTREAM_RESET)]


async def test_an_answer_that_is_cut_off_before_it_began(tmp_path: Path) -> None:
    """Is an answer of ours, with the detail."""

    async def script(peer: Peer) -> None:
        await peer.head()
        with below(peer) as plain:
            plain.shutdown(socket.SHUT_WR)
        await peer.rest()

    async with tls_proxied(script, tmp_path, origin_tls=True) as proxy:
        reason, detail = await failing(proxy)
        assert reason is Reason.UPSTREAM_RESET
        assert detail == (
            "the connection was cut off: it ended without TLS close_notify, before an answer"
        )


@pytest.mark.parametrize("framing", [b"Content-Length: %d\r\n", b""], ids=["length", "close"])
async def test_a_slow_caller_loses_nothing_when_the_origin_closes(
    tmp_path: Path, framing: bytes
) -> None:
    """What the origin sent before it closed arrives, however late it is read."""
    size = 12_000_000
    sent = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        lines = framing % size if framing else b""
        await peer.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n%b\r\n" % lines)
        await peer.send(b"z" * size)
        sent.set()

    async with tls_proxied(script, tmp_path, origin_tls=True) as proxy, proxy.client() as client:
        small_receive_buffer(client)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET)
        await until(lambda: proxy.listener.buffered_bytes > 64 * 1024)
        for _ in range(100):
            await asyncio.sleep(0)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        answer = await client.message()
        assert answer.body == b"z" * size
        assert sent.is_set()
        assert proxy.results == [(200, None)]


@pytest.mark.parametrize("left", [1, 10_000, 100_000])
async def test_the_end_that_waits_for_a_slow_caller(tmp_path: Path, left: int) -> None:
    """The last of an answer and the origin's close arrive while nobody reads them: uvloop would
    throw away what it has read from the socket and could not hand over."""
    needs_abort_of_what_is_gone()
    sent, closed = [0], asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.head()
        await peer.send(UNTIL_CLOSE)
        while not is_paused():
            await peer.send(b"a" * 8_192)
            sent[0] += 8_192
            for _ in range(5):
                await asyncio.sleep(0)
        await peer.send(b"b" * left)
        with below(peer) as plain:
            peer.close()  # says close_notify, and asyncio would wait for ours
            for _ in range(20):
                await asyncio.sleep(0)
            plain.shutdown(socket.SHUT_WR)
        closed.set()

    async with tls_proxied(script, tmp_path, origin_tls=True) as proxy, proxy.client() as client:

        def is_paused() -> bool:
            return any(getattr(each, "_paused", False) for each in proxy.pool._all)

        small_receive_buffer(client)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(GET)
        await closed.wait()
        for _ in range(200):
            await asyncio.sleep(0.0005)
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        answer = await client.message()
        assert len(answer.body) == sent[0] + left
        assert proxy.results == [(200, None)]


# --- a new context ---


async def test_a_new_context_retires_what_is_idle(tmp_path: Path) -> None:
    """The next request opens a connection under the new one."""
    async with tls_proxied(answer_each, tmp_path, origin_tls=True) as proxy:
        await ask(proxy)
        assert proxy.pool.idle_connections == 1
        proxy.pool_context = client_context(proxy.authority)
        proxy.pool.retire()  # type: ignore[attr-defined]
        await until(lambda: proxy.pool.connections == 0)
        assert (await ask(proxy))[0] == 200


async def test_a_new_context_lets_what_is_busy_finish(tmp_path: Path) -> None:
    """A request in progress is not disturbed; its connection serves no other."""
    go = asyncio.Event()

    async def script(peer: Peer) -> None:
        while True:
            await peer.message()
            await go.wait()
            await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with tls_proxied(script, tmp_path, origin_tls=True) as proxy:
        asking = asyncio.create_task(ask(proxy))
        await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
        proxy.pool_context = client_context(Authority())
        proxy.pool.retire()  # type: ignore[attr-defined]
        go.set()
        assert await asking == (200, b"ok")
        assert proxy.pool.idle_connections == 0
        reason, detail = await failing(proxy)
        assert reason is Reason.UPSTREAM_UNREACHABLE
        assert "certificate verify failed" in detail


async def test_an_origin_that_closes_an_idle_connection(tmp_path: Path) -> None:
    """A pooled connection that ended is not used again."""
    answered = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.message()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await answered.wait()

    async with tls_proxied(script, tmp_path, origin_tls=True) as proxy:
        assert (await ask(proxy))[0] == 200
        answered.set()
        await until(lambda: proxy.pool.connections == 0)
        assert (await ask(proxy))[0] == 200


async def test_a_certificate_that_ends_soon_is_a_certificate(tmp_path: Path) -> None:
    """Validity is the certificate's own, to the second."""
    authority = Authority()
    pair = authority.issue(NAME, ends=timedelta(minutes=1))
    async with tls_proxied(
        answer_each,
        tmp_path,
        authority=authority,
        origin_tls=True,
        origin_context=server_context(pair, tmp_path),
    ) as proxy:
        assert (await ask(proxy))[0] == 200
