"""Each way in which a client shows who it is, as a real server receives it, and what rotates."""

import json
import logging
import os
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm

from sidecar.config.model import Client, ClientTls
from sidecar.core.encoding import base64url_encode
from sidecar.core.obtained import Failure, ObtainedToken
from sidecar.core.token_request import TokenRequest
from sidecar.credentials.token_endpoint import Surroundings, TokenEndpoint
from sidecar.fetch.client import Fetcher
from sidecar.issuers.endpoints import GivenEndpoint
from sidecar.telemetry.token_endpoint import TokenEndpointMetrics
from tests.support.certificates import Authority, Pair, server_context
from tests.support.token_server import NOW, TokenServer, serving, subject_named, unsigned

SERVICE = TokenRequest("c", "client_credentials")
ISSUER = "https://idp.test/realms/shop"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

MakeEndpoint = Callable[..., TokenEndpoint]


@pytest.fixture
async def server() -> AsyncIterator[TokenServer]:
    """A token endpoint."""
    async with serving() as server:
        yield server


@pytest.fixture
async def endpoint() -> AsyncIterator[MakeEndpoint]:
    """Make a client that asks it, at a time of its own."""

    def make(server: TokenServer, *, ca: str | None = None, **keys: Any) -> TokenEndpoint:
        client = Client("c", "me", token_endpoint=server.url, retries=0, **keys)
        around = Surroundings(fetcher, lambda: NOW, lambda: NOW, lambda: 0.0)
        return TokenEndpoint(
            client,
            GivenEndpoint(server.url),
            around,
            issuer=ISSUER,
            ca=ca,
            report=TokenEndpointMetrics("c"),
        )

    # Reading the system's authorities for each test would take longer than the test.
    async with Fetcher(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)) as fetcher:
        yield make


async def obtain(endpoint: TokenEndpoint, request: TokenRequest = SERVICE) -> None:
    subject = None if request is SERVICE else subject_named()
    got = await endpoint.ask(request, subject)
    assert isinstance(got, ObtainedToken), got


async def refusal(endpoint: TokenEndpoint, request: TokenRequest = SERVICE) -> Failure:
    subject = None if request is SERVICE else subject_named()
    got = await endpoint.ask(request, subject)
    assert isinstance(got, Failure)
    return got


def pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


async def test_a_secret_in_the_header(server: TokenServer, endpoint: MakeEndpoint) -> None:
    """And nowhere else (RFC 6749, section 2.3.1)."""
    await obtain(endpoint(server, client_secret="a:b"))
    assert server.basic == ("me", "a:b")
    assert not {"client_id", "client_secret"} & server.last.keys()


async def test_a_secret_in_the_form(server: TokenServer, endpoint: MakeEndpoint) -> None:
    """And nowhere else."""
    await obtain(endpoint(server, auth="client_secret_post", client_secret="a:b"))
    assert (server.last["client_id"], server.last["client_secret"]) == ("me", "a:b")
    assert server.authorizations == [""]


async def test_a_public_client(server: TokenServer, endpoint: MakeEndpoint) -> None:
    """It only says its name."""
    await obtain(endpoint(server, auth="none"))
    assert server.forms == [[("grant_type", "client_credentials"), ("client_id", "me")]]
    assert server.authorizations == [""]


@pytest.mark.parametrize(
    ("written", "audience"),
    [("token_endpoint", ""), ("issuer", ISSUER), ("urn:else", "urn:else")],
)
async def test_a_signed_assertion(
    server: TokenServer, endpoint: MakeEndpoint, tmp_path: Path, written: str, audience: str
) -> None:
    """RFC 7523, section 3: who, for whom, once, and not for long; each one is a new one."""
    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key").write_bytes(pem(key))
    client = endpoint(
        server,
        auth="private_key_jwt",
        key=str(tmp_path / "key"),
        key_id="k1",
        assertion_audience=written,
    )
    seen = set()
    for _ in range(2):
        await obtain(client)
        assertion = server.last["client_assertion"]
        assert server.last["client_assertion_type"] == ASSERTION_TYPE
        assert server.last["client_id"] == "me"
        assert jwt.get_unverified_header(assertion) == {"alg": "ES256", "kid": "k1", "typ": "JWT"}
        options: Any = {"verify_exp": False}
        claims = jwt.decode(
            assertion, key.public_key(), ["ES256"], audience=audience or server.url, options=options
        )
        assert (claims["iss"], claims["sub"]) == ("me", "me")
        assert (claims["iat"], claims["exp"]) == (NOW, NOW + 60)
        seen.add(claims["jti"])
    assert len(seen) == 2


async def test_a_key_that_is_replaced(
    server: TokenServer,
    endpoint: MakeEndpoint,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """By a link that is turned, as Kubernetes does; while it is broken the old one signs."""
    old, new = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    (tmp_path / "old").write_bytes(pem(old))
    jwk = {**json.loads(ECAlgorithm.to_jwk(new)), "kid": "new"}
    (tmp_path / "new").write_text(json.dumps(jwk))
    (tmp_path / "key").symlink_to("old")
    client = endpoint(server, auth="private_key_jwt", key=str(tmp_path / "key"))

    async def signs(key: ec.EllipticCurvePrivateKey) -> None:
        await obtain(client)
        jwt.decode(
            server.last["client_assertion"],
            key.public_key(),
            ["ES256"],
            options={"verify_exp": False, "verify_aud": False},
        )

    await signs(old)
    (tmp_path / "key").unlink()
    for _ in range(3):
        await signs(old)
    assert caplog.messages == [
        f"{tmp_path}/key cannot be read: No such file or directory; what it held before stays in "
        "use"
    ]
    (tmp_path / "key").symlink_to("new")
    await signs(new)
    assert jwt.get_unverified_header(server.last["client_assertion"])["kid"] == "new"


async def test_a_key_by_its_certificate(
    server: TokenServer, endpoint: MakeEndpoint, tmp_path: Path
) -> None:
    """Its thumbprint is named, as Entra wants it; half a new pair is not used."""
    authority = Authority()
    certificate, key = authority.issue("me").write(tmp_path)
    client = endpoint(server, auth="private_key_jwt", key=key, certificate=certificate)

    async def signs_with(pair: Pair) -> None:
        await obtain(client)
        held = x509.load_pem_x509_certificate(pair.certificate)
        assertion = server.last["client_assertion"]
        thumbprint = base64url_encode(held.fingerprint(SHA256())).decode()
        assert jwt.get_unverified_header(assertion)["x5t#S256"] == thumbprint
        options: Any = {"verify_exp": False, "verify_aud": False}
        jwt.decode(assertion, held.public_key(), ["ES256"], options=options)  # type: ignore[arg-type]

    old = Pair(Path(certificate).read_bytes(), Path(key).read_bytes(), datetime.now(UTC))
    new = authority.issue("me")
    await signs_with(old)
    Path(key).write_bytes(new.key)
    await signs_with(old)
    Path(certificate).write_bytes(new.certificate)
    await signs_with(new)
    other = endpoint(server, auth="private_key_jwt", key=key, certificate=certificate)
    Path(certificate).write_bytes(old.certificate)
    assert (await refusal(other)).detail.endswith("the file of `certificate` is not one of `key`")


async def test_a_key_that_never_was(
    server: TokenServer, endpoint: MakeEndpoint, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody is asked; the operator is told once which key of the configuration it is."""
    path = tmp_path / "key"
    path.write_bytes(pem(rsa.generate_private_key(65537, 1024)))
    client = endpoint(server, auth="private_key_jwt", key=str(path))
    for _ in range(2):
        failure = await refusal(client)
        assert failure.kind == "misconfigured"
        assert failure.detail == ("client c: the file of `key` holds an RSA key of under 2048 bits")
    assert server.asked == 0
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_an_assertion_of_somebody_else(
    server: TokenServer, endpoint: MakeEndpoint, tmp_path: Path
) -> None:
    """A projected token: passed on as it is, and read again when the kubelet renewed it."""
    path = tmp_path / "token"
    client = endpoint(server, auth="client_assertion_file", assertion_file=str(path))
    for number in (1, 2):
        token = unsigned(sub="system:serviceaccount:shop:orders", exp=NOW + 600, n=number)
        new = tmp_path / "new"
        new.write_text(token + "\n")
        os.replace(new, path)
        await obtain(client)
        assert server.last["client_assertion"] == token
        assert server.last["client_assertion_type"] == ASSERTION_TYPE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        ("hunter2", "holds no signed JWT"),
        ("a.b.c", "holds no signed JWT"),
        (unsigned(exp="x"), "holds a JWT whose exp is not a time"),
        ("x" * 20_000, "is larger than 16KiB"),
    ],
)
async def test_an_assertion_that_is_none(
    server: TokenServer, endpoint: MakeEndpoint, tmp_path: Path, content: str | None, said: str
) -> None:
    """Found out here, and nothing of it is told."""
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    failure = await refusal(
        endpoint(server, auth="client_assertion_file", assertion_file=str(path))
    )
    assert failure == Failure("misconfigured", f"client c: the file of `assertion_file` {said}")
    assert server.asked == 0


@pytest.mark.parametrize(("exp", "good"), [(NOW + 0.1, True), (NOW, False), (None, True)])
async def test_an_assertion_that_is_over(
    server: TokenServer, endpoint: MakeEndpoint, tmp_path: Path, exp: float | None, good: bool
) -> None:
    """The server would say no more than that it does not like us."""
    (tmp_path / "token").write_text(unsigned(sub="x", **({} if exp is None else {"exp": exp})))
    client = endpoint(server, auth="client_assertion_file", assertion_file=str(tmp_path / "token"))
    if good:
        await obtain(client)
    else:
        assert (await refusal(client)).detail.startswith(
            "client c: the JWT in the file of `assertion_file` has expired"
        )
        assert server.asked == 0


async def test_an_actor_of_a_file(
    server: TokenServer, endpoint: MakeEndpoint, tmp_path: Path
) -> None:
    """Sent as it is; what is none is our mistake, and nobody is asked."""
    path = tmp_path / "actor"
    acting = TokenRequest("c", "exchange", actor="file", actor_file=str(path))
    client = endpoint(server, auth="none")
    failure = await refusal(client, acting)
    assert failure.kind == "misconfigured"
    assert "the file of `actor_file` cannot be read" in failure.detail
    path.write_text(unsigned(sub="orders", exp=NOW + 60))
    await obtain(client, acting)
    assert server.last["actor_token"] == path.read_text()
    assert server.last["actor_token_type"] == "urn:ietf:params:oauth:token-type:jwt"
    assert server.asked == 1


async def test_a_certificate(endpoint: MakeEndpoint, tmp_path: Path) -> None:
    """RFC 8705, section 2: a real server demands it; a new one is shown once it is there."""
    authority = Authority()
    ca = authority.write(tmp_path)
    context = server_context(authority.issue("127.0.0.1"), tmp_path, client_ca=authority)
    async with serving(context) as server:
        paths = authority.issue("old", usage="client").write(tmp_path)
        client = endpoint(server, ca=ca, auth="tls_client_auth", tls=ClientTls(*paths))
        await obtain(client)
        assert server.last["client_id"] == "me"
        authority.issue("new", usage="client").write(tmp_path)
        await obtain(client)
        assert server.peers == ["old", "new"]
        stranger = Authority("another").issue("me", usage="client").write(tmp_path, "stranger")
        other = endpoint(server, ca=ca, auth="tls_client_auth", tls=ClientTls(*stranger))
        failure = await refusal(other)
        assert failure.kind == "unavailable"
        assert "closed before an answer" in failure.detail
        assert server.asked == 2


async def test_what_is_sent_is_told_nowhere(
    server: TokenServer,
    endpoint: MakeEndpoint,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever becomes of it: nothing secret is in a log, a failure or a ``repr``."""
    caplog.set_level(logging.DEBUG)
    (tmp_path / "token").write_text(unsigned(sub="me", exp=NOW + 60))
    assertion = (tmp_path / "token").read_text()
    acting = TokenRequest("c", "exchange", audience=("x",))
    clients = [
        endpoint(server, client_secret="hunter2"),
        endpoint(server, auth="client_assertion_file", assertion_file=str(tmp_path / "token")),
    ]
    told = []
    for status in (200, 302, 400, 401, 429, 500):
        server.answer = lambda form, status=status: web.json_response(
            {"error": "invalid_client", "error_description": " ".join(form.values())},
            status=status,
        )
        for client in clients:
            told += [repr(await client.ask(acting, subject_named())), repr(client)]
    text = caplog.text + "".join(told)
    for secret in ("hunter2", assertion, subject_named().token.decode()):
        assert secret not in text
        assert secret[:40] not in text
