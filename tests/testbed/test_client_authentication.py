"""How clients show the embedded provider who they are, but for secrets."""

import ssl
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sidecar.testbed.client_authentication import ASSERTION_TYPE
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.signing_key import SigningKey
from sidecar.testbed.token_mint import ABSENT, TokenMint
from sidecar.testbed.users import Service
from tests.support.certificates import Authority
from tests.testbed.asking import ask, claims

KEY = SigningKey.generate("ES256", kid="client")
POD = "system:serviceaccount:shop:a"
A = Service("a", jwks={"keys": [KEY.public_jwk()]}, workload=POD, certificate_name="a.shop.test")
OWN = {"grant_type": "client_credentials", "client_assertion_type": ASSERTION_TYPE}


@pytest.fixture
async def provider() -> AsyncIterator[IdentityProvider]:
    """A provider with a client that has a key of its own, and another that has none."""
    services = [A, Service("b")]
    async with IdentityProvider(audience=["x"], services=services, algorithms=("ES256",)) as it:
        yield it


def assertion(provider: IdentityProvider, **changes: Any) -> str:
    now = int(time.time())
    said = {
        "iss": "a",
        "sub": "a",
        "aud": provider.token_url,
        "exp": now + 60,
        "jti": f"{time.perf_counter_ns()}",
        **changes,
    }
    return KEY.sign({name: value for name, value in said.items() if value is not ABSENT})


async def test_an_assertion_of_the_clients_own_key(provider: IdentityProvider) -> None:
    """private_key_jwt, for the endpoint's URL or the issuer's; taken once."""
    for aud in (provider.token_url, [provider.issuer]):
        shown = assertion(provider, aud=aud)
        status, answer = await ask(provider, {**OWN, "client_assertion": shown})
        assert (status, claims(answer["access_token"])["sub"]) == (200, "a")
        status, answer = await ask(provider, {**OWN, "client_assertion": shown})
        assert (status, answer["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": "https://elsewhere.test"},
        {"exp": 1000},
        {"exp": int(time.time()) + 86_400},
        {"sub": "b"},
        {"iss": "b"},
        {"iss": "b", "sub": "b"},
        {"jti": ABSENT},
    ],
)
async def test_an_assertion_that_is_not_taken(
    provider: IdentityProvider, changes: dict[str, Any]
) -> None:
    """For somebody else, too old, too long, or of somebody else (RFC 7523, section 3)."""
    status, answer = await ask(
        provider, {**OWN, "client_assertion": assertion(provider, **changes)}
    )
    assert (status, answer["error"]) == (401, "invalid_client")


async def test_an_assertion_of_a_stranger(provider: IdentityProvider) -> None:
    """A key that nobody published signs for nobody."""
    stranger = SigningKey.generate("ES256", kid="client")
    shown = stranger.sign(
        {"iss": "a", "sub": "a", "aud": provider.issuer, "exp": 2**32, "jti": "1"}
    )
    status, answer = await ask(provider, {**OWN, "client_assertion": shown})
    assert (status, answer["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("others", "error"),
    [
        ({"client_id": "b"}, "invalid_client"),
        ({"client_secret": "a-secret"}, "invalid_request"),
        ({"client_assertion_type": "else"}, "invalid_request"),
    ],
)
async def test_an_assertion_and_something_else(
    provider: IdentityProvider, others: dict[str, str], error: str
) -> None:
    """The form says nothing that contradicts it."""
    _, answer = await ask(provider, {**OWN, "client_assertion": assertion(provider), **others})
    assert answer["error"] == error


async def test_a_token_of_the_platform() -> None:
    """What Kubernetes signs for a pod is shown as often as it is asked for."""
    cluster = TokenMint("https://kubernetes.test", audience=["none"], algorithms=("ES256",))
    services = [A, Service("b")]
    async with IdentityProvider(audience=["x"], services=services, algorithms=("ES256",)) as it:
        long = int(time.time()) + 3600
        shown = cluster.token(POD, aud=[it.issuer], exp=long)
        status, _ = await ask(it, {**OWN, "client_assertion": shown})
        assert status == 401
        it.trust_workloads(cluster)
        for _ in range(2):
            status, answer = await ask(it, {**OWN, "client_assertion": shown})
            assert (status, claims(answer["access_token"])["sub"]) == (200, "a")
        for wrong in (
            cluster.token(POD, exp=long),
            cluster.token("system:serviceaccount:shop:z", aud=it.issuer),
        ):
            status, _ = await ask(it, {**OWN, "client_assertion": wrong})
            assert status == 401


async def test_a_certificate(tmp_path: Path) -> None:
    """tls_client_auth: the certificate's name is the client's, and its authority is trusted."""
    authority = Authority()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=authority.pem.decode())
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(*authority.issue("127.0.0.1").write(tmp_path, "server"))
    form = {"grant_type": "client_credentials", "client_id": "a"}
    async with IdentityProvider(
        audience=["x"], services=[A], algorithms=("ES256",), tls=context
    ) as provider:
        assert provider.token_url.startswith("https://127.0.0.1:")
        async with aiohttp.ClientSession() as session:
            plain = ssl.create_default_context(cadata=authority.pem.decode())
            async with session.get(provider.discovery_url, ssl=plain) as answer:
                methods = (await answer.json())["token_endpoint_auth_methods_supported"]
        assert methods[-2:] == ["private_key_jwt", "tls_client_auth"]
        for name, expected in (("a.shop.test", 200), ("b.shop.test", 401), (None, 401)):
            shown = ssl.create_default_context(cadata=authority.pem.decode())
            if name is not None:
                shown.load_cert_chain(*authority.issue(name, usage="client").write(tmp_path))
            status, _ = await ask(provider, form, ssl=shown)
            assert status == expected
