"""The forward proxy on real sockets: destinations by name, third parties without our tokens."""

import asyncio
import base64
import json
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.model import Address, Origin
from sidecar.outbound.addresses import why_refused
from tests.support.http import App, Fields, Request, Response, fetch
from tests.support.inflight import arrive
from tests.support.pod import ISSUER, LOOPBACK, Pod, pod, records
from tests.support.wire_peer import Peer, connected, until

STRICT = ("x-sidecar-carrier", "python/0.1; grade=strict")


@asynccontextmanager
async def proxy_pod(
    directory: Path, outbound: Mapping[str, object] | None = None, **options: Any
) -> AsyncIterator[Pod]:
    """A pod with a proxy, whose app and destination wait for the test's answers."""
    options.setdefault("automatic", False)
    async with pod(
        directory, outbound={"proxy": LOOPBACK, **(outbound or {})}, **options
    ) as running:
        yield running


def proxy_of(running: Pod) -> Address:
    address = running.bound.proxy
    assert address is not None
    return address


async def through(running: Pod, url: str, fields: Fields = (), **options: Any) -> Response:
    """Ask the proxy for *url*."""
    host = url.removeprefix("http://").partition("/")[0].partition("?")[0]
    return await fetch(proxy_of(running), url, host=host, fields=fields, **options)


async def received(app: App, pending: "asyncio.Task[Response]") -> tuple[Response, Request]:
    """Let *app* answer ``ok``; return both sides."""
    request = await app.next()
    request.answer()
    return await pending, request


@pytest.mark.parametrize(
    "authority",
    [
        "profiles",
        "Profiles:80",
        "profiles.",
        "people",
        "people.shop.svc",
        "people:PORT",
        "UPSTREAM",
    ],
)
async def test_a_destination_is_served_by_any_of_its_names(tmp_path: Path, authority: str) -> None:
    """By name, by ``hosts`` and by the upstream itself, as on its own port: with the token."""
    hosts = ("people", "people.shop.svc")
    async with proxy_pod(tmp_path, destination={"hosts": hosts}) as running:
        upstream = running.destination.origin.address
        authority = authority.replace("PORT", str(upstream.port))
        authority = authority.replace("UPSTREAM", str(upstream))
        token = running.mint.token("alice")
        alice = await arrive(running, token)
        fields = [STRICT, ("x-sidecar-context", alice.handle)]
        call = asyncio.create_task(through(running, f"http://{authority}/p?q=1", fields))
        answer, request = await received(running.destination, call)
        assert answer.status == 200
        assert request.target == "/p?q=1"
        assert request.values("host") == [str(upstream)]
        assert request.values("authorization") == [f"Bearer {token}"]
        assert request.values("x-sidecar-context") == []
        await alice.end()


async def test_a_destination_refuses_through_the_proxy_as_on_its_port(tmp_path: Path) -> None:
    """No handle, no call."""
    async with proxy_pod(tmp_path) as running:
        answer = await through(running, "http://profiles/p", [STRICT])
        assert (answer.status, answer.reason) == (403, "attribution_missing")


async def test_another_port_of_a_destination_is_another_server(tmp_path: Path) -> None:
    """Its token goes nowhere but to the destination, and the request not to the destination."""
    third = App(automatic=True)
    async with (
        third.running(),
        proxy_pod(tmp_path, destination={"hosts": ("localhost",)}) as running,
    ):
        alice = await arrive(running, running.mint.token("alice"))
        fields = [STRICT, ("x-sidecar-context", alice.handle)]
        answer = await through(running, f"http://localhost:{third.origin.port}/x", fields)
        assert answer.status == 200
        (request,) = third.received
        assert request.values("authorization") == []
        assert alice.handle not in str(request.fields)
        await alice.end()


@asynccontextmanager
async def third_party(directory: Path, **options: Any) -> AsyncIterator[tuple[Pod, App, str]]:
    """A pod with a proxy, a third party, and the URL of that."""
    third = App(automatic=True)
    async with third.running(), proxy_pod(directory, **options) as running:
        yield running, third, f"http://{third.origin.address}"


async def test_an_unlisted_host_gets_the_request_without_anything_of_ours(tmp_path: Path) -> None:
    """Handles in whatever field, reserved names and the caller's token stay in the pod."""
    async with third_party(tmp_path) as (running, third, url):
        token = running.mint.token("alice")
        alice = await arrive(running, token)
        third.automatic = False
        call = asyncio.create_task(
            through(
                running,
                f"{url}/x?q=2",
                [
                    ("x-sidecar-context", alice.handle),
                    STRICT,
                    ("x-auth-subject", "alice"),
                    ("X_Auth_Roles", "ADMIN"),
                    ("x-note", f"see {alice.handle}"),
                    ("baggage", f"sdctx={alice.handle},k=v"),
                    ("proxy-authorization", "Basic eDp5"),
                    ("proxy-connection", "keep-alive"),
                    ("x-own", "stays"),
                ],
                bearer=token,
            )
        )
        request = await third.next()
        request.answer(200, [("x-auth-roles", "ADMIN"), ("x-sidecar-context", alice.handle)])
        answer = await call
        assert answer.status == 200
        assert request.target == "/x?q=2"
        assert request.values("host") == [str(third.origin.address)]
        assert alice.handle not in str(request.fields)
        assert token not in str(request.fields)
        assert request.values("baggage") == ["k=v"]
        assert request.values("x-own") == ["stays"]
        assert not [n for n, _ in request.fields if n.startswith(("x-auth", "x_auth", "proxy-"))]
        assert not [n for n, _ in answer.fields if n.startswith(("x-auth", "x-side"))]
        await alice.end()
    (record,) = [each for each in records(running) if each["route"] == "unlisted"]
    assert record["destination"] == str(third.origin.address)


def jwt(**claims: object) -> str:
    """Something in the form of a JWT that nobody signed."""
    parts = ({"alg": "none"}, claims)
    encoded = [base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=") for p in parts]
    return b".".join((*encoded, b"c2ln")).decode()


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        ("Bearer third-party-key", True),
        ("Basic dXNlcjpwYXNz", True),
        (f"Bearer {jwt(iss='https://elsewhere.example', sub='app')}", True),
        ("Bearer a.b.c", True),
        (f"Bearer {jwt(iss=ISSUER, sub='alice')}", False),
        (f"token={jwt(iss=ISSUER, sub='alice')}, x=y", False),
        ("Bearer sdc1" + "0" * 28, False),
        ("Bearer " + jwt(iss="x").replace(".", f".{'A' * 6}", 1), True),
    ],
)
async def test_only_an_apps_own_credential_goes_to_a_third_party(
    tmp_path: Path, value: str, passes: bool
) -> None:
    """An issuer's token is not the app's to give away, whether we would accept it or not."""
    async with third_party(tmp_path) as (running, third, url):
        answer = await through(running, f"{url}/x", [("authorization", value)])
        assert answer.status == 200
        (request,) = third.received
        assert request.values("authorization") == ([value] if passes else [])


async def test_unlisted_hosts_can_be_refused(tmp_path: Path) -> None:
    """``unlisted: refuse``: destinations and nothing else."""
    async with third_party(tmp_path, outbound={"unlisted": "refuse"}) as (running, third, url):
        answer = await through(running, f"{url}/x")
        assert (answer.status, answer.reason) == (403, "destination_unlisted")
        assert third.received == []


async def test_a_path_alone_is_refused(tmp_path: Path) -> None:
    """The proxy's own port stands for no destination."""
    async with proxy_pod(tmp_path) as running:
        answer = await fetch(proxy_of(running), "/x", host="profiles")
        assert (answer.status, answer.reason) == (421, "destination_unknown")


async def test_a_mapped_port_still_serves_its_own_host_only(tmp_path: Path) -> None:
    """An absolute URL there does not make it a proxy."""
    async with proxy_pod(tmp_path) as running:
        answer = await fetch(
            running.bound.outbound["profiles"], "http://elsewhere/x", host="elsewhere"
        )
        assert (answer.status, answer.reason) == (421, "destination_unknown")


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/", "http://localhost/", "http://[::1]:8080/", "http://127.1/",
     "http://2130706433/", "http://0x7f.1/", "http://[::ffff:127.0.0.1]/",
     "http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/", "http://0.0.0.0:15490/",
     "http://100.100.100.200/", "http://[fd00:ec2::254]/", "http://224.0.0.1/"],
)  # fmt: skip
async def test_addresses_of_this_pod_and_of_the_platform_are_refused(
    tmp_path: Path, url: str
) -> None:
    """In whatever notation the resolver understands."""
    async with proxy_pod(tmp_path, refuses_address=why_refused) as running:
        answer = await through(running, url)
        assert (answer.status, answer.reason) == (403, "target_forbidden")
        text = await running.metrics()
        assert 'reason="target_forbidden",route="unlisted"} 1.0' in text


async def test_our_own_ports_are_refused(tmp_path: Path) -> None:
    """The proxy is no way around the inbound listener, nor into a loop."""
    async with proxy_pod(tmp_path, refuses_address=why_refused) as running:
        for address in (running.bound.inbound, running.bound.admin, proxy_of(running)):
            answer = await through(running, f"http://{address}/")
            assert (answer.status, answer.reason) == (403, "target_forbidden")


async def test_a_name_that_does_not_exist_is_502(tmp_path: Path) -> None:
    """``.invalid`` never does (RFC 2606)."""
    async with proxy_pod(tmp_path) as running:
        answer = await through(running, "http://no-such-host.invalid/")
        assert (answer.status, answer.reason) == (502, "upstream_unreachable")


async def test_connections_to_third_parties_are_kept(tmp_path: Path) -> None:
    """As to a destination."""
    async with third_party(tmp_path) as (running, third, url):
        for _ in range(3):
            assert (await through(running, f"{url}/x")).status == 200
        assert len({request.peer for request in third.received}) == 1


# --- CONNECT ---


@asynccontextmanager
async def echoing() -> AsyncIterator[Origin]:
    """A server that is no HTTP server: it greets, and says back what it hears."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        writer.write(b"hello\n")
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            writer.write(b"bye\n")
        except ConnectionError:
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield Origin("http", *server.sockets[0].getsockname()[:2])
    finally:
        server.close()
        for task in tasks:
            task.cancel()


def connect(authority: object, extra: bytes = b"", version: bytes = b"1.1") -> bytes:
    name = str(authority).encode()
    host = b"Host: " + name + b"\r\n" if version == b"1.1" else b""
    return b"CONNECT " + name + b" HTTP/" + version + b"\r\n" + host + extra + b"\r\n"


@asynccontextmanager
async def asking(running: Pod, request: bytes) -> AsyncIterator[Peer]:
    async with connected(proxy_of(running).host, proxy_of(running).port) as client:
        await client.send(request)
        yield client


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_connect_carries_bytes_both_ways(tmp_path: Path, version: bytes) -> None:
    """A server that speaks first, data that came early, and half-close in each direction."""
    async with echoing() as server:
        ports = {"connect_ports": (server.port,)}
        async with proxy_pod(tmp_path, ports) as running:
            request = connect(server.address, version=version)
            async with asking(running, request + b"early ") as client:
                assert (await client.head()).startswith(b"HTTP/1.1 200 ")
                assert await client.exactly(12) == b"hello\nearly "
                assert 'sidecar_tunnels_open{direction="outbound"} 1.0' in await running.metrics()
                await client.send(b"x" * 100_000)
                assert await client.exactly(100_000) == b"x" * 100_000
                client.end()
                assert await client.rest() == b"bye\n"
            await until(lambda: running.wiring.proxy.connections == 0)  # type: ignore[union-attr]
            text = await running.metrics()
            assert 'sidecar_tunnels_open{direction="outbound"} 0.0' in text
            assert (
                'sidecar_requests_total{code="200",direction="outbound",method="other",'
                'route="connect"} 1.0'
            ) in text
            assert 'duration_seconds_count{direction="outbound",route="connect"}' not in text
    (record,) = records(running)
    assert (record["method"], record["status"]) == ("CONNECT", 200)
    assert record["path"] == str(server.address)


async def test_connect_to_another_port_is_refused(tmp_path: Path) -> None:
    """443 unless the operator says otherwise; and what follows is never read as a request."""
    async with proxy_pod(tmp_path) as running:
        smuggled = b"GET http://profiles/x HTTP/1.1\r\nHost: profiles\r\n\r\n"
        async with asking(running, connect("example.org:25") + smuggled) as client:
            answer = await client.refused()
            assert (answer.status, answer.get(b"x-sidecar-reason")) == (403, b"target_forbidden")


async def test_connect_is_refused_to_this_pod(tmp_path: Path) -> None:
    """The addresses are checked like those of requests."""
    async with echoing() as server:
        ports = {"connect_ports": (server.port,)}
        async with (
            proxy_pod(tmp_path, ports, refuses_address=why_refused) as running,
            asking(running, connect(server.address)) as client,
        ):
            answer = await client.refused()
            assert answer.get(b"x-sidecar-reason") == b"target_forbidden"


async def test_connect_to_nobody_is_502(tmp_path: Path) -> None:
    """The client is told before there is a tunnel, and the connection ends."""
    async with echoing() as server:
        pass
    async with (
        proxy_pod(tmp_path, {"connect_ports": (server.port,)}) as running,
        asking(running, connect(server.address)) as client,
    ):
        answer = await client.refused()
        assert answer.get(b"x-sidecar-reason") == b"upstream_unreachable"


@pytest.mark.parametrize(
    "request_bytes",
    [
        connect("h:443", b"Content-Length: 5\r\n") + b"hello",
        connect("h:443", b"Transfer-Encoding: chunked\r\n") + b"0\r\n\r\n",
        connect("h"),
        connect("h:"),
        connect("h:99999"),
        connect("http://h:443/"),
        connect("/x"),
        connect("u@h:443"),
        b"CONNECT h:443 HTTP/1.1\r\nHost: other:443\r\n\r\n",
        b"CONNECT h:443 HTTP/1.1\r\n\r\n",
    ],
)
async def test_a_malformed_connect_is_400(tmp_path: Path, request_bytes: bytes) -> None:
    """Content first of all: two parsers would disagree whether it is the tunnel's."""
    async with (
        proxy_pod(tmp_path, {"connect_ports": (443,)}) as running,
        asking(running, request_bytes) as client,
    ):
        answer = await client.refused()
        assert (answer.status, answer.get(b"x-sidecar-reason")) == (400, b"message_malformed")


async def test_connect_elsewhere_is_still_501(tmp_path: Path) -> None:
    """Only the proxy's listener makes tunnels."""
    async with proxy_pod(tmp_path) as running:
        for address in (running.bound.inbound, running.bound.outbound["profiles"]):
            async with connected(address.host, address.port) as client:
                await client.send(connect("h:443"))
                assert (await client.refused()).status == 501


async def test_connect_past_a_destination_is_counted_and_warned_about_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing can be attached to what cannot be read: the operator should know."""
    async with echoing() as server:
        ports = {"connect_ports": (server.port,), "unlisted": "refuse"}
        hosts = {"hosts": ("127.0.0.1",)}
        async with proxy_pod(tmp_path, ports, destination=hosts) as running:
            with caplog.at_level(logging.WARNING, "sidecar.outbound"):
                for _ in range(2):
                    async with asking(running, connect(server.address)) as client:
                        assert (await client.head()).startswith(b"HTTP/1.1 200 ")
            text = await running.metrics()
            assert 'sidecar_destination_connects_total{route="profiles"} 2.0' in text
    warnings = [each for each in caplog.records if "profiles" in each.getMessage()]
    assert len(warnings) == 1


async def test_unlisted_refuse_holds_for_connect_too(tmp_path: Path) -> None:
    """A tunnel to anywhere would make the list pointless."""
    async with (
        proxy_pod(tmp_path, {"unlisted": "refuse"}) as running,
        asking(running, connect("example.org:443")) as client,
    ):
        answer = await client.refused()
        assert answer.get(b"x-sidecar-reason") == b"destination_unlisted"


async def test_tunnels_end_when_the_pod_does(tmp_path: Path) -> None:
    """They have the drain timeout and no more."""
    async with (
        echoing() as server,
        proxy_pod(tmp_path, {"connect_ports": (server.port,)}) as running,
        asking(running, connect(server.address)) as client,
    ):
        await client.head()
        assert await client.exactly(6) == b"hello\n"
        await running.wiring.proxy.drain(0.05)  # type: ignore[union-attr]
        assert await client.rest() == b""
