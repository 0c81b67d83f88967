"""The client over TLS, with a certificate authority made for the test."""

import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sidecar.fetch.client import Fetcher, FetchError


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1, with its key, in one PEM file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "sidecar test")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path / "server.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return path


@pytest.fixture
async def server(certificate: Path) -> AsyncIterator[TestServer]:
    """An https server with content, and a redirect to plain http."""

    async def content(request: web.Request) -> web.Response:
        return web.Response(body=b"content")

    async def downgrade(request: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": "http://127.0.0.1:1/keys"})

    app = web.Application()
    app.router.add_get("/keys", content)
    app.router.add_get("/downgrade", downgrade)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with AsyncExitStack() as stack:
        server = TestServer(app, scheme="https", host="127.0.0.1")
        stack.push_async_callback(server.close)
        await server.start_server(ssl=context)
        yield server


async def test_trusted_certificate(server: TestServer, certificate: Path) -> None:
    """A server whose certificate the given context trusts is read."""
    trust = ssl.create_default_context(cafile=certificate)
    async with Fetcher(ssl_context=trust) as fetcher:
        url = str(server.make_url("/keys"))
        assert await fetcher.get(url, max_bytes=9, timeout_seconds=30) == b"content"


async def test_certificates_that_the_environment_names(
    server: TestServer, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What SSL_CERT_FILE names when the client is first used is trusted, whatever it named before.

    aiohttp's own default reads it once, when it is imported.
    """
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    async with Fetcher() as fetcher:
        url = str(server.make_url("/keys"))
        assert await fetcher.get(url, max_bytes=9, timeout_seconds=30) == b"content"


async def test_untrusted_certificate(server: TestServer) -> None:
    """A certificate that the system's store does not vouch for is refused, and named."""
    async with Fetcher() as fetcher:
        with pytest.raises(FetchError, match="certificate is not accepted") as caught:
            await fetcher.get(str(server.make_url("/keys")), max_bytes=9, timeout_seconds=30)
    assert caught.value.kind == "network_error"
    assert "\n" not in str(caught.value)


async def test_redirect_never_downgrades(server: TestServer, certificate: Path) -> None:
    """A redirect from https to plain http is refused even where plain http is allowed."""
    trust = ssl.create_default_context(cafile=certificate)
    async with Fetcher(ssl_context=trust) as fetcher:
        url = str(server.make_url("/downgrade"))
        with pytest.raises(FetchError, match="plain http") as caught:
            await fetcher.get(url, max_bytes=9, timeout_seconds=30, allow_plaintext=True)
    assert caught.value.kind == "refused_address"
