"""Real HTTP clients that were told of a proxy: with the carrier, without, and with TLS inside."""

import asyncio
import datetime
import ipaddress
import os
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sidecar.config.model import Origin
from tests.support.http import App, fetch
from tests.support.needs import needs_module
from tests.support.pod import LOOPBACK, Pod, pod

ROOT = Path(__file__).parents[2]
CARRIER = ROOT / "sidecar" / "carriers" / "python"
PROXY = {"proxy": LOOPBACK}
CLIENTS = ("urllib", "requests", "httpx")


def needs_client(name: str) -> None:
    if name != "urllib":
        needs_module(name)


@contextmanager
def app_with_carrier() -> Iterator[Origin]:
    """``proxied_app`` as a process of its own, with the carrier on its path."""
    environment = {
        **{name: value for name, value in os.environ.items() if "proxy" not in name.lower()},
        "PYTHONPATH": os.pathsep.join((str(CARRIER), str(ROOT))),
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.journeys.proxied_app"],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield Origin("http", "127.0.0.1", int(process.stdout.readline()))
    finally:
        process.kill()
        process.stdout.close()
        process.wait()


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_carrier_reaches_destinations_through_the_proxy(
    tmp_path: Path, client: str
) -> None:
    """An unchanged app with ``http_proxy`` set: its calls to a destination's name get the token."""
    needs_client(client)
    with app_with_carrier() as origin:
        async with pod(tmp_path, inbound={"app": origin}, outbound=PROXY) as running:
            token = running.mint.token("alice")
            answer = await fetch(
                running.bound.inbound, asking(running, client, "http://profiles/p"), bearer=token
            )
            assert answer.body == b"200 "
            request = await running.destination.next()
            assert request.target == "/p"
            assert request.values("authorization") == [f"Bearer {token}"]
            assert not [name for name, _ in request.fields if name.startswith("x-sidecar")]


@pytest.mark.parametrize("client", CLIENTS)
async def test_the_carriers_handle_does_not_reach_a_third_party(
    tmp_path: Path, client: str
) -> None:
    """The carrier writes it for the proxy, and there it ends."""
    needs_client(client)
    third = App(automatic=True)
    with app_with_carrier() as origin:
        async with (
            third.running(),
            pod(tmp_path, inbound={"app": origin}, outbound=PROXY) as running,
        ):
            url = f"http://{third.origin.address}/x"
            token = running.mint.token("alice")
            answer = await fetch(running.bound.inbound, asking(running, client, url), bearer=token)
            assert answer.body == b"200 "
            request = await third.next()
            assert "sdc1" not in str(request.fields)
            assert request.values("authorization") == []
            assert not [name for name, _ in request.fields if name.startswith("x-sidecar")]


def asking(running: Pod, client: str, url: str) -> str:
    """The path at which the app calls *url* with *client*."""
    return f"/users/x?client={client}&proxy=http://{running.bound.proxy}&url={quote(url)}"


# --- TLS through CONNECT ---


def certified(directory: Path) -> tuple[ssl.SSLContext, Path]:
    """Return a server's context for 127.0.0.1 and the file of the authority that vouches for it."""
    now = datetime.datetime.now(datetime.UTC)
    authority_key, key = (
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP256R1()),
    )
    authority_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(authority_name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
        )

    authority = (
        builder(authority_name, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        builder(name, key.public_key())
        .add_extension(alternative, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    chain, authorities = directory / "server.pem", directory / "authority.pem"
    chain.write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(pem)
    )
    authorities.write_bytes(authority.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)
    return context, authorities


@asynccontextmanager
async def tls_server(context: ssl.SSLContext, heads: list[bytes]) -> AsyncIterator[Origin]:
    """A server that answers 200 with ``secret``, and remembers each head."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\nsecret")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield Origin("https", *server.sockets[0].getsockname()[:2])


def by_urllib(url: str, proxy: str, authorities: Path) -> bytes:
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({"https": proxy}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=authorities)),
    )
    with opener.open(url, timeout=20) as answer:
        return bytes(answer.read())


def by_requests(url: str, proxy: str, authorities: Path) -> bytes:
    import requests

    with requests.Session() as session:
        session.trust_env = False
        return bytes(
            session.get(url, proxies={"https": proxy}, verify=str(authorities), timeout=20).content
        )


def by_httpx(url: str, proxy: str, authorities: Path) -> bytes:
    import httpx

    context = ssl.create_default_context(cafile=authorities)
    with httpx.Client(proxy=proxy, verify=context, trust_env=False, timeout=20) as client:
        return bytes(client.get(url).content)


@pytest.mark.parametrize("call", [by_urllib, by_requests, by_httpx])
async def test_tls_passes_through_connect(
    tmp_path: Path, call: Callable[[str, str, Path], bytes]
) -> None:
    """The client checks the real server's certificate; nothing is added to what it says."""
    needs_client(call.__name__.removeprefix("by_"))
    context, authorities = certified(tmp_path)
    heads: list[bytes] = []
    async with tls_server(context, heads) as origin:
        ports = {**PROXY, "connect_ports": (origin.port,)}
        async with pod(tmp_path, outbound=ports) as running:
            url = f"https://{origin.address}/x"
            proxy = f"http://{running.bound.proxy}"
            assert await asyncio.to_thread(call, url, proxy, authorities) == b"secret"
            text = await running.metrics()
            assert 'code="200",direction="outbound",method="other",route="connect"} 1.0' in text
    (head,) = heads
    assert head.startswith(b"GET /x HTTP/1.1\r\n")
    assert b"x-sidecar" not in head.lower()
    assert b"authorization" not in head.lower()
