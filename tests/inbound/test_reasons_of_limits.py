"""Reasons that no other test has a whole sidecar answer with: each by a real pod."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.config.model import Address, Attribution, Limits, Origin
from sidecar.core.outcome import Reason
from tests.support.http import fetch
from tests.support.pod import Pod, pod, soon


async def answer_to(address: Address, raw: bytes) -> bytes:
    """Send *raw* and return what comes back until the connection ends."""
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(raw)
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    return answer


GET = b"GET /open/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"GET /open/" + b"x" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", Reason.TARGET_TOO_LONG),
        (GET + b"x: y\r\n" * 200 + b"\r\n", Reason.HEAD_TOO_LARGE),
        (b"GET /open/x HTTP/2.0\r\nHost: x\r\n\r\n", Reason.VERSION_UNSUPPORTED),
        (GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Reason.CODING_UNSUPPORTED),
        (GET + b"Expect: wonders\r\n\r\n", Reason.EXPECTATION_UNSUPPORTED),
        (b"TRACE /open/x HTTP/1.1\r\nHost: x\r\n\r\n", Reason.METHOD_UNSUPPORTED),
        (b"GET /open/x HT", Reason.REQUEST_TIMEOUT),
    ],
    ids=lambda value: value.code if isinstance(value, Reason) else "",
)
async def test_messages(raw: bytes, reason: Reason, tmp_path: Path) -> None:
    """Each limit of a message has its reason."""
    async with pod(tmp_path, inbound={"limits": Limits(header_timeout_seconds=0.1)}) as running:
        answer = await answer_to(running.bound.inbound, raw)
    assert f"x-sidecar-reason: {reason.code}\r\n".encode() in answer


async def test_a_token_that_is_too_old(tmp_path: Path) -> None:
    """``max_token_age`` counts from ``iat``."""
    async with pod(tmp_path, issuer={"max_token_age_seconds": 60.0}) as running:
        token = running.mint.token("a", iat=soon(-600))
        fields = [("authorization", f"Bearer {token}")]
        answer = await fetch(running.bound.inbound, "/users/1", fields=fields)
    assert answer.reason == "token_too_old"


async def test_an_outbound_listener_is_this_pod_s(tmp_path: Path) -> None:
    """Who is not on loopback is refused."""
    async with pod(tmp_path) as running:
        listener = running.wiring.outbound["profiles"]
        listener._accepts = lambda _peer: False  # another address cannot be had everywhere
        answer = await answer_to(running.bound.outbound["profiles"], GET + b"\r\n")
    assert b"x-sidecar-reason: peer_refused\r\n" in answer


@asynccontextmanager
async def one_in_the_app(
    directory: Path,
    *,
    inbound: Mapping[str, object] | None = None,
    attribution: Attribution | None = None,
) -> AsyncIterator[Pod]:
    """Run a pod whose app has a request of alice, and does not answer it yet."""
    async with pod(directory, automatic=False, inbound=inbound, attribution=attribution) as running:
        first = asyncio.create_task(as_user(running, "alice"))
        request = await running.app.next()
        yield running
        request.answer()
        await first


async def as_user(pod_: Pod, name: str) -> str:
    token = pod_.mint.token(name)
    answer = await fetch(
        pod_.bound.inbound, "/users/1", fields=[("authorization", f"Bearer {token}")]
    )
    return "" if answer.status == 200 else answer.reason


async def test_a_full_ledger(tmp_path: Path) -> None:
    """The newcomer is refused."""
    async with one_in_the_app(tmp_path, attribution=Attribution(ledger_capacity=1)) as running:
        assert await as_user(running, "bob") == "ledger_full"


async def test_turns(tmp_path: Path) -> None:
    """Who waits for too long, and who finds the queue full."""
    exclusive = Attribution(exclusive="credential", exclusive_wait_seconds=0.05, exclusive_queue=1)
    async with one_in_the_app(tmp_path, attribution=exclusive) as running:
        reasons = await asyncio.gather(as_user(running, "bob"), as_user(running, "carol"))
        assert set(reasons) == {"admission_timeout", "admission_full"}


async def test_too_many_connections_to_the_app(tmp_path: Path) -> None:
    """The bound holds, and says so."""
    limits = Limits(max_upstream_connections=1)
    async with one_in_the_app(tmp_path, inbound={"limits": limits}) as running:
        assert await as_user(running, "bob") == "overloaded"


async def test_an_app_that_is_silent(tmp_path: Path) -> None:
    """No answer within ``response_timeout``."""
    limits = Limits(response_timeout_seconds=0.1)
    async with pod(tmp_path, automatic=False, inbound={"limits": limits}) as running:
        assert await as_user(running, "alice") == "upstream_timeout"


async def test_an_app_that_speaks_something_else(tmp_path: Path) -> None:
    """What is no HTTP is not passed on."""

    async def nonsense(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"220 mail.example ESMTP\r\n")
        writer.close()

    server = await asyncio.start_server(nonsense, "127.0.0.1", 0)
    async with server:
        app = Origin("http", "127.0.0.1", server.sockets[0].getsockname()[1])
        async with pod(tmp_path, inbound={"app": app}) as running:
            assert await as_user(running, "alice") == "upstream_malformed"


async def test_a_connection_accepted_after_the_stop(tmp_path: Path) -> None:
    """The kernel may have accepted it before the listener was closed."""
    async with pod(tmp_path) as running:
        running.wiring.inbound.stopped = True
        answer = await answer_to(running.bound.inbound, GET + b"\r\n")
    assert b"x-sidecar-reason: draining\r\n" in answer
