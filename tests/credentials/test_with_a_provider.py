"""TokenEndpoint against an identity provider that believes nothing it is not shown: it verifies
every credential, exchanges real tokens, and fails on demand."""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm

from sidecar.config.model import Client, ClientTls
from sidecar.core.digests import sha256
from sidecar.core.obtained import Failure, ObtainedToken
from sidecar.core.principal import Credential, Principal
from sidecar.core.token_request import TRANSACTION_TOKEN, TokenRequest
from sidecar.credentials.token_endpoint import Surroundings, TokenEndpoint
from sidecar.fetch.client import Fetcher
from sidecar.issuers.endpoints import GivenEndpoint
from sidecar.telemetry.token_endpoint import TokenEndpointMetrics
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.token_faults import Cut, Page, Refusal, Status
from sidecar.testbed.token_mint import ABSENT, TokenMint
from sidecar.testbed.users import Service
from tests.support.certificates import Authority, server_context

POD = "system:serviceaccount:shop:orders"
ACTING = TokenRequest("c", "exchange", audience=("billing",), actor="client")
EXCHANGE = TokenRequest("c", "exchange", audience=("billing",))


def service(**more: Any) -> Service:
    return Service("orders", workload=POD, certificate_name="orders.shop.test", **more)


@asynccontextmanager
async def providing(**options: Any) -> AsyncIterator[IdentityProvider]:
    usual = {"audience": ["orders"], "algorithms": ("ES256",), "services": [service()]}
    async with IdentityProvider(**{**usual, **options}) as provider:
        yield provider


@asynccontextmanager
async def asking(
    provider: IdentityProvider, *, ca: str | None = None, **keys: Any
) -> AsyncIterator[TokenEndpoint]:
    usual = {"client_secret": "orders-secret", "retries": 0} if "auth" not in keys else {}
    client = Client("c", "orders", token_endpoint=provider.token_url, **{**usual, **keys})
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    async with Fetcher(ssl_context=context) as fetcher:
        endpoint = TokenEndpoint(
            client,
            GivenEndpoint(provider.token_url),
            Surroundings(fetcher, time.monotonic, time.time, lambda: 0.0),
            issuer=provider.issuer,
            ca=ca,
            report=TokenEndpointMetrics("c"),
        )
        yield endpoint
        await endpoint.close()


def subject(provider: IdentityProvider, name: str = "alice", **claims: Any) -> Credential:
    token = provider.mint.token(name, **claims).encode()
    principal = Principal("shop", provider.issuer, name)
    return Credential(principal, token, sha256(token), time.time() + 300, float("-inf"))


async def obtained(
    endpoint: TokenEndpoint, provider: IdentityProvider, request: TokenRequest = ACTING
) -> ObtainedToken:
    got = await endpoint.ask(request, subject(provider))
    assert isinstance(got, ObtainedToken), got
    assert got.subject == "alice"
    return got


async def failed(
    endpoint: TokenEndpoint, provider: IdentityProvider, request: TokenRequest = EXCHANGE
) -> Failure:
    got = await endpoint.ask(request, subject(provider))
    assert isinstance(got, Failure)
    return got


def pem(key: Any) -> bytes:
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


@pytest.mark.parametrize("auth", ["client_secret_basic", "client_secret_post"])
async def test_a_secret(auth: str) -> None:
    """The provider knows the client, exchanges for it, and says that it acts."""
    async with (
        providing() as provider,
        asking(provider, auth=auth, client_secret="orders-secret") as endpoint,
    ):
        got = await obtained(endpoint, provider)
        assert got.actor == "orders"
        per_grant = provider.token_requests.per_grant
        assert per_grant["client_credentials"] == 1
        await obtained(endpoint, provider)
        assert per_grant["client_credentials"] == 1


@pytest.mark.parametrize(
    ("audience", "algorithm"), [("token_endpoint", "EdDSA"), ("issuer", "ES256")]
)
async def test_an_assertion_and_a_key_that_rotates(
    tmp_path: Path, audience: str, algorithm: str
) -> None:
    """Each assertion is taken, once as it must be; with a new key on both sides it goes on."""
    published: dict[str, Any] = {}
    path = tmp_path / "key.pem"

    def rotate() -> None:
        if algorithm == "ES256":
            key: Any = ec.generate_private_key(ec.SECP256R1())
            writes: Any = ECAlgorithm
        else:
            key, writes = ed25519.Ed25519PrivateKey.generate(), OKPAlgorithm
        jwk = json.loads(writes.to_jwk(key.public_key()))
        published["keys"] = [{**jwk, "use": "sig", "alg": algorithm, "kid": "k"}]
        path.write_bytes(pem(key))

    rotate()
    async with (
        providing(services=[service(jwks=published)]) as provider,
        asking(
            provider,
            auth="private_key_jwt",
            key=str(path),
            key_id="k",
            algorithm=algorithm,
            assertion_audience=audience,
        ) as endpoint,
    ):
        for _ in range(2):
            await obtained(endpoint, provider, EXCHANGE)
        rotate()
        await obtained(endpoint, provider, EXCHANGE)


async def test_a_token_of_the_platform(tmp_path: Path) -> None:
    """Kubernetes says who the pod is, again and again; with one for somebody else it is nobody."""
    cluster = TokenMint("https://kubernetes.test", audience=["idp"], algorithms=("ES256",))
    path = tmp_path / "token"
    async with (
        providing() as provider,
        asking(provider, auth="client_assertion_file", assertion_file=str(path)) as endpoint,
    ):
        provider.trust_workloads(cluster)
        for _ in range(2):
            path.write_text(cluster.token(POD, aud=provider.issuer))
            await obtained(endpoint, provider)
        path.write_text(cluster.token("system:serviceaccount:shop:other", aud=provider.issuer))
        failure = await failed(endpoint, provider)
        assert (failure.kind, failure.code) == ("misconfigured", "invalid_client")


async def test_a_certificate(tmp_path: Path) -> None:
    """The provider asks for it, and knows the client by the name in it."""
    authority = Authority()
    ca = authority.write(tmp_path)
    context = server_context(authority.issue("127.0.0.1"), tmp_path, client_ca=authority)
    shown = authority.issue("orders.shop.test", usage="client").write(tmp_path, "client")
    async with (
        providing(tls=context) as provider,
        asking(provider, ca=ca, auth="tls_client_auth", tls=ClientTls(*shown)) as endpoint,
    ):
        await obtained(endpoint, provider)
        authority.issue("others.shop.test", usage="client").write(tmp_path, "client")
        assert (await failed(endpoint, provider)).code == "invalid_client"


async def test_a_transaction_token() -> None:
    """No access token: ``N_A``, and what was asked for."""
    request = TokenRequest(
        "c", "exchange", audience=("shop.test",), requested_type=TRANSACTION_TOKEN, scopes=("pay",)
    )
    async with providing() as provider, asking(provider) as endpoint:
        got = await endpoint.ask(request, subject(provider, scope="pay"))
        assert isinstance(got, ObtainedToken), got
        assert got.issued_type == TRANSACTION_TOKEN


async def test_opaque_tokens() -> None:
    """They come too; whose they are only the provider knows."""
    async with providing(issues_opaque=True) as provider, asking(provider) as endpoint:
        got = await endpoint.ask(EXCHANGE, subject(provider))
        assert isinstance(got, ObtainedToken), got
        assert (got.subject, got.actor) == ("", "")
        assert b"." not in got.token or got.token.count(b".") != 2


async def test_what_it_refuses() -> None:
    """The subject's fault and ours are told apart as the provider tells them."""
    only = service(audiences=frozenset({"billing"}))
    async with providing(services=[only]) as provider, asking(provider) as endpoint:
        target = TokenRequest("c", "exchange", audience=("elsewhere",))
        assert (await failed(endpoint, provider, target)).kind == "misconfigured"
        stranger = TokenMint("https://elsewhere.test", audience=["x"], algorithms=("ES256",))
        token = stranger.token("alice").encode()
        unknown = Credential(
            Principal("x", "https://elsewhere.test", "alice"),
            token,
            sha256(token),
            time.time() + 60,
            float("-inf"),
        )
        got = await endpoint.ask(EXCHANGE, unknown)
        assert isinstance(got, Failure)
        assert got.kind == "refused"
    async with providing() as provider, asking(provider, client_secret="old") as endpoint:
        failure = await failed(endpoint, provider)
        assert (failure.kind, failure.code) == ("misconfigured", "invalid_client")


FAULTS: dict[str, tuple[Callable[[IdentityProvider], None], str]] = {
    "429": (lambda p: setattr(p.faults, "instead", Status(429, "7")), "unavailable"),
    "503": (lambda p: setattr(p.faults, "instead", Status(503)), "unavailable"),
    "500": (lambda p: setattr(p.faults, "instead", Status(500)), "unavailable"),
    "HTML": (lambda p: setattr(p.faults, "instead", Page()), "unavailable"),
    "cut": (lambda p: setattr(p.faults, "instead", Cut()), "unavailable"),
    "denied": (lambda p: setattr(p.faults, "instead", Refusal("access_denied", 403)), "refused"),
    "scope": (lambda p: setattr(p.faults, "instead", Refusal("invalid_scope")), "misconfigured"),
    "aud": (lambda p: setattr(p.faults, "claims", {"aud": "other"}), "invalid_answer"),
    "sub": (lambda p: setattr(p.faults, "claims", {"sub": "mallory"}), "invalid_answer"),
    "expired": (lambda p: setattr(p.faults, "claims", {"exp": 1000}), "invalid_answer"),
    "type": (
        lambda p: setattr(p.faults, "answer", {"issued_token_type": "urn:x"}),
        "invalid_answer",
    ),
    "no type": (
        lambda p: setattr(p.faults, "answer", {"issued_token_type": ABSENT}),
        "invalid_answer",
    ),
    "DPoP": (lambda p: setattr(p.faults, "answer", {"token_type": "DPoP"}), "invalid_answer"),
}


async def test_every_fault() -> None:
    """What comes is never taken for a token, and when it is over a token comes again."""
    async with providing() as provider:
        for name, (switch_on, kind) in FAULTS.items():
            async with asking(provider) as endpoint:
                switch_on(provider)
                failure = await failed(endpoint, provider)
                assert failure.kind == kind, name
                provider.faults.clear()
                if failure.retry_after_seconds is None:
                    await obtained(endpoint, provider)
                else:
                    assert (await failed(endpoint, provider)).retry_after_seconds == pytest.approx(
                        7, abs=1
                    )


async def test_it_dies_and_comes_back() -> None:
    """In the middle of a request, too: that request fails, the next one works."""
    async with providing() as provider, asking(provider) as endpoint:
        provider.faults.hold = asyncio.Event()
        under_way = asyncio.create_task(failed(endpoint, provider))
        while not provider.token_requests.total:
            await asyncio.sleep(0)
        await provider.go_down()
        assert (await under_way).kind == "unavailable"
        provider.faults.clear()
        assert "no connection could be made" in (await failed(endpoint, provider)).detail
        await provider.come_back()
        await obtained(endpoint, provider)
