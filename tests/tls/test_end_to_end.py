"""TLS from end to end: real clients, a real destination, certificates that change meanwhile."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from sidecar.assembly import Bound, Sidecar, serve
from sidecar.config.model import (
    Address,
    Admin,
    Allow,
    Config,
    Destination,
    DestinationTls,
    Forwarded,
    Inbound,
    ListenerTls,
    Origin,
    Outbound,
    Rule,
)
from sidecar.listening import StartError
from sidecar.wiring import Wiring
from tests.support.certificates import HOUR, Authority, Pair, client_context, server_context
from tests.support.http import App, fetch
from tests.support.pod import LOOPBACK, pod, records
from tests.support.wire_peer import PATIENCE_SECONDS, until
from tests.tls.test_rotation import Mount, renamed

NAME = "user-service.test"
DESTINATION = "profiles.test"


@pytest.fixture
def authority() -> Authority:
    return Authority()


@asynccontextmanager
async def caller(context: ssl.SSLContext) -> AsyncIterator[aiohttp.ClientSession]:
    connector = aiohttp.TCPConnector(ssl=context)
    async with aiohttp.ClientSession(connector=connector) as session:
        yield session


@asynccontextmanager
async def destination_over_tls(
    context: ssl.SSLContext,
) -> AsyncIterator[tuple[Origin, list[web.Request]]]:
    """A real server that remembers what it was asked."""
    received: list[web.Request] = []

    async def answer(request: web.Request) -> web.Response:
        received.append(request)
        return web.Response(text="profile")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        yield Origin("https", "127.0.0.1", runner.addresses[0][1]), received
    finally:
        await runner.cleanup()


async def test_a_caller_over_tls(tmp_path: Path, authority: Authority) -> None:
    """Is served as one over plain TCP is; the app learns the scheme if it is told such things."""
    pair = authority.issue(NAME)
    tls = ListenerTls(*pair.write(tmp_path))
    changes = {"tls": tls, "forwarded": Forwarded(), "via": "pod"}
    async with pod(tmp_path, inbound=changes) as running:
        url = f"https://127.0.0.1:{running.bound.inbound.port}/users/alice"
        headers = {
            "Authorization": f"Bearer {running.mint.token('alice')}",
            "X-Forwarded-For": "1.1.1.1",
            "X_Forwarded_Proto": "gopher",
            "Via": "1.0 edge",
        }
        async with caller(client_context(authority)) as session:
            for _ in range(2):
                async with session.get(url, headers=headers, server_hostname=NAME) as answer:
                    assert (answer.status, await answer.text()) == (200, "ok")
                    assert answer.headers["Via"] == "1.1 pod"
        request = running.app.received[-1]
        assert request.values("x-auth-subject") == ["alice"]
        assert request.values("x-forwarded-for") == ["127.0.0.1"]
        assert request.values("x-forwarded-proto") == ["https"]
        assert request.values("x-forwarded-host") == [f"127.0.0.1:{running.bound.inbound.port}"]
        assert request.values("x_forwarded_proto") == []
        assert request.values("via") == ["1.0 edge", "1.1 pod"]
        exposition = await running.metrics()
    ends = float(pair.not_after.timestamp())
    name = 'sidecar_tls_certificate_expiry_timestamp_seconds{endpoint="inbound"}'
    line = next(line for line in exposition.splitlines() if line.startswith(name))
    assert float(line.split(" ")[1]) == ends


def _pair(address: Address) -> tuple[str, int]:
    return address.host, address.port


async def test_plain_http_on_a_tls_listener(tmp_path: Path, authority: Authority) -> None:
    """Is counted, logged as nothing that ever was a request, and answered by nothing."""
    tls = ListenerTls(*authority.issue(NAME).write(tmp_path))
    async with pod(tmp_path, inbound={"tls": tls}) as running:
        reader, writer = await asyncio.open_connection(*_pair(running.bound.inbound))
        writer.write(b"GET /users/alice HTTP/1.1\r\nHost: h\r\n\r\n")
        with suppress(ConnectionError):
            assert await reader.read() == b""
        writer.close()
        exposition = await running.metrics()
    assert (
        'sidecar_tls_handshake_failures_total{endpoint="inbound",reason="not_tls"} 1.0'
        in exposition
    )
    assert running.app.received == []
    assert records(running) == []


@pytest.mark.parametrize("demand", ["required", "optional"])
async def test_callers_with_certificates(tmp_path: Path, authority: Authority, demand: str) -> None:
    """Who must show one and cannot is not let in; a certificate gives no identity."""
    tls = ListenerTls(
        *authority.issue(NAME).write(tmp_path),
        client_ca=authority.write(tmp_path),
        client_certificate=demand,  # type: ignore[arg-type]
    )
    async with pod(tmp_path, inbound={"tls": tls}) as running:
        url = f"https://127.0.0.1:{running.bound.inbound.port}/users/alice"
        with_one = client_context(authority, pair=authority.issue("caller"), directory=tmp_path)
        async with (
            caller(with_one) as session,
            session.get(url, server_hostname=NAME) as answer,
        ):
            assert answer.status == 401
        async with caller(client_context(authority)) as session:
            if demand == "required":
                with pytest.raises((aiohttp.ClientError, ConnectionError)):
                    await session.get(url, server_hostname=NAME)
            else:
                async with session.get(url, server_hostname=NAME) as answer:
                    assert answer.status == 401


async def test_a_token_goes_to_a_destination_over_tls(tmp_path: Path, authority: Authority) -> None:
    """Verified by name and authority, with our certificate, and with its own name as Host."""
    theirs = server_context(authority.issue(DESTINATION), tmp_path, client_ca=authority)
    theirs.verify_mode = ssl.CERT_REQUIRED
    names: list[str | None] = []
    theirs.sni_callback = lambda _tls, name, _context: names.append(name)
    tls = DestinationTls(
        authority.write(tmp_path), DESTINATION, *authority.issue("sidecar").write(tmp_path)
    )
    async with (
        destination_over_tls(theirs) as (origin, received),
        pod(tmp_path, automatic=False, destination={"upstream": origin, "tls": tls}) as running,
    ):
        token = running.mint.token("alice")
        asking = asyncio.create_task(fetch(running.bound.inbound, "/users/alice", bearer=token))
        request = await running.app.next()
        for _ in range(3):
            answer = await running.call_out(request.handle)
            assert (answer.status, answer.body) == (200, b"profile")
        request.answer()
        await asking
    assert {each.headers["Authorization"] for each in received} == {f"Bearer {token}"}
    assert {each.headers["Host"] for each in received} == {str(origin.address)}
    assert names == [DESTINATION]  # one connection


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda _ca: Authority().issue(DESTINATION), "unable to get local issuer certificate"),
        (lambda ca: ca.issue("other.test"), "Hostname mismatch"),
        (lambda ca: ca.issue(DESTINATION, starts=-2 * HOUR, ends=-HOUR), "has expired"),
    ],
)
async def test_a_destination_that_is_not_who_it_should_be(
    tmp_path: Path, authority: Authority, made: Callable[[Authority], Pair], said: str
) -> None:
    """Gets no token; app and operator are told why."""
    tls = DestinationTls(authority.write(tmp_path), DESTINATION)
    async with (
        destination_over_tls(server_context(made(authority), tmp_path)) as (origin, received),
        pod(tmp_path, automatic=False, destination={"upstream": origin, "tls": tls}) as running,
    ):
        token = running.mint.token("alice")
        asking = asyncio.create_task(fetch(running.bound.inbound, "/users/alice", bearer=token))
        request = await running.app.next()
        answer = await running.call_out(request.handle)
        assert (answer.status, answer.reason) == (502, "upstream_unreachable")
        assert said.encode() in answer.body  # the app is the operator's own
        request.answer()
        await asking
    assert received == []
    (record,) = [each for each in records(running) if each["direction"] == "outbound"]
    assert record["detail"].startswith("TLS: certificate verify failed: ")
    assert said in record["detail"]


async def test_the_default_port_is_no_part_of_the_name(tmp_path: Path) -> None:
    """``https://host`` is asked as ``host`` alone."""
    from sidecar import settings

    assert settings.authority(Origin("https", "d.example", 443)) == "d.example"
    assert settings.authority(Origin("https", "d.example", 8443)) == "d.example:8443"
    destination = Destination("d", LOOPBACK, Origin("https", "d.example", 443))
    assert settings.server_name(destination) == "d.example"
    named = replace(destination, tls=DestinationTls(server_name="[::1]"))
    assert settings.server_name(named) == "::1"


# --- files that change under load ---


def bare(app: Origin, **inbound: object) -> Config:
    """A configuration that asks for no token."""
    rules = (Rule("all", ("/**",), Allow.ANYONE),)
    return Config(
        issuers={},
        inbound=replace(Inbound(LOOPBACK, app, rules), **inbound),  # type: ignore[arg-type]
        admin=Admin(LOOPBACK),
        drain_timeout_seconds=2.0,
    )


@asynccontextmanager
async def running_sidecar(config: Config) -> AsyncIterator[Bound]:
    async with Sidecar(Wiring(config, write_access_log=lambda _batch: None)).running(
        lambda _line: None
    ) as bound:
        yield bound


async def serial_of(address: Address, context: ssl.SSLContext, name: str) -> str:
    """Return the serial number of the certificate that a new connection gets."""
    reader, writer = await asyncio.open_connection(
        address.host, address.port, ssl=context, server_hostname=name
    )
    try:
        return str(writer.get_extra_info("peercert")["serialNumber"])
    finally:
        writer.transport.abort()
        del reader


async def until_served(get: Callable[[], Awaitable[str]], seen: set[str]) -> None:
    """Wait until a certificate that was not *seen* before is served."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (serial := await get()) in seen:
            await asyncio.sleep(0.05)
    seen.add(serial)


@pytest.mark.parametrize("way", ["rename", "links"])
async def test_certificates_are_replaced_under_load(
    tmp_path: Path, authority: Authority, way: str
) -> None:
    """No request fails, whether on a connection that stays or on one of its own, and every new
    certificate is served."""
    mount = Mount(tmp_path)

    def publish() -> None:
        pair = authority.issue(NAME)
        (mount.publish(pair) if way == "links" else renamed(tmp_path, pair))

    publish()
    tls = ListenerTls(str(tmp_path / "tls.crt"), str(tmp_path / "tls.key"))
    context = client_context(authority)
    statuses: list[int] = []
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        app = await stack.enter_async_context(App(automatic=True).running())
        bound = await stack.enter_async_context(running_sidecar(bare(app.origin, tls=tls)))
        url = f"https://127.0.0.1:{bound.inbound.port}/"

        async def load(fields: dict[str, str]) -> None:
            async with caller(context) as session:
                while not stop.is_set():
                    async with session.get(url, server_hostname=NAME, headers=fields) as answer:
                        await answer.read()
                        statuses.append(answer.status)
                    await asyncio.sleep(0.005)

        async with asyncio.TaskGroup() as group:
            for fields in ({}, {}, {"Connection": "close"}, {"Connection": "close"}):
                group.create_task(load(fields))
            seen = {await serial_of(bound.inbound, context, NAME)}
            for count in (100, 200, 300):
                await until(lambda: len(statuses) > count)  # noqa: B023 - awaited at once
                publish()
                await until_served(lambda: serial_of(bound.inbound, context, NAME), seen)
            (tmp_path / "tls.key").unlink()  # a bad pair does no harm either
            await until(lambda: len(statuses) > 400)
            stop.set()
        exposition = (await fetch(bound.admin, "/metrics")).body.decode()
    assert len(seen) == 4
    assert set(statuses) == {200}
    assert 'sidecar_tls_reloads_total{endpoint="inbound",result="success"} 3.0' in exposition


async def test_a_destinations_authority_is_replaced(tmp_path: Path, authority: Authority) -> None:
    """From then on only who is trusted now is called, on no connection from before."""
    other = Authority()
    ca = tmp_path / "ca.crt"
    ca.write_bytes(other.pem + authority.pem)
    theirs = server_context(authority.issue(DESTINATION), tmp_path)
    async with (
        destination_over_tls(theirs) as (origin, received),
        App(automatic=True).running() as app,
    ):
        config = replace(
            bare(app.origin),
            outbound=Outbound(
                {
                    "d": Destination(
                        "d",
                        LOOPBACK,
                        origin,
                        token="none",
                        tls=DestinationTls(str(ca), DESTINATION),
                    )
                }
            ),
        )
        async with running_sidecar(config) as bound:
            assert (await fetch(bound.outbound["d"], "/")).status == 200
            ca.write_bytes(other.pem)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (answer := await fetch(bound.outbound["d"], "/")).status == 200:
                    await asyncio.sleep(0.05)
            assert answer.reason == "upstream_unreachable"
            before = len(received)
            ca.write_bytes(authority.pem)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while (await fetch(bound.outbound["d"], "/")).status != 200:
                    await asyncio.sleep(0.05)
            assert len(received) == before + 1
            exposition = (await fetch(bound.admin, "/metrics")).body.decode()
    assert 'sidecar_tls_reloads_total{endpoint="outbound d",result="success"} 2.0' in exposition


async def test_files_that_cannot_be_used_at_the_start(tmp_path: Path) -> None:
    """The sidecar does not start, and one line says which file of what."""
    config = bare(
        Origin("http", "127.0.0.1", 9),
        tls=ListenerTls(str(tmp_path / "tls.crt"), str(tmp_path / "tls.key")),
    )
    with pytest.raises(StartError) as caught:
        await serve(config, announce=lambda _line: None)
    assert str(caught.value) == (
        f"TLS of inbound: {tmp_path}/tls.crt cannot be read: No such file or directory"
    )
