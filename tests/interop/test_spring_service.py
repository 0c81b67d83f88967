"""Spring Boot services behind a sidecar: one without any code about tokens, and one with it."""

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
import pytest_asyncio

from sidecar.config.model import Address
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.ports import free_ports
from sidecar.testbed.processes import sidecar
from tests.interop.needed import needs_program
from tests.interop.programs import SPRING_SERVICE
from tests.interop.spring_service_process import SpringService
from tests.support.http import Response, fetch

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
]

CONFIGURATION = """\
version: 1
issuers:
  shop: {{issuer: {issuer}, audiences: [user-service], profile: keycloak}}
inbound:
  listen: 127.0.0.1:0
  app: {app}
  token_to_app: {token_to_app}
  rules:
    - {{paths: [/headers/received], allow: anyone}}
    - {{paths: [/**], require: authenticated}}
  identity:
    headers:
      x-user-authorities: {{from: roles, prefix: ROLE_}}
    signed: {{audience: user-service}}
admin: {{listen: "127.0.0.1:{admin}"}}
drain_timeout: 1s
"""


@dataclass
class Stage:
    """An issuer, the service, and the two sidecars in front of it."""

    provider: IdentityProvider
    service: Address
    withholding: Address
    forwarding: Address


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """One Java process for all tests of this module."""
    program = needs_program(SPRING_SERVICE)
    directory = tmp_path_factory.mktemp("spring")
    ports = dict(zip(("withhold", "forward"), free_ports(2), strict=True))
    async with AsyncExitStack() as stack:
        provider = IdentityProvider(audience=["user-service"])
        await stack.enter_async_context(provider)
        service = SpringService(
            program,
            jwks_url=provider.jwks_url,
            issuer=provider.issuer,
            admin_port=ports["withhold"],
        )
        stack.push_async_callback(service.process.stop)
        await service.process.start()
        inbound: dict[str, Address] = {}
        for choice, admin in ports.items():
            file = directory / f"{choice}.yaml"
            file.write_text(
                CONFIGURATION.format(
                    issuer=provider.issuer, app=service.origin, token_to_app=choice, admin=admin
                )
            )
            started = await stack.enter_async_context(sidecar(choice, file))
            host, _, port = started.listener("inbound").rpartition(":")
            inbound[choice] = Address(host, int(port))
        yield Stage(provider, service.address, inbound["withhold"], inbound["forward"])


def said(answer: Response) -> dict[str, object]:
    assert answer.status == 200, (answer.status, answer.reason, answer.fields)
    content: dict[str, object] = json.loads(answer.body)
    return content


ROLES = {"roles": ["ADMIN", "USER"]}


async def test_headers_alone_make_method_security_work(stage: Stage) -> None:
    """``@PreAuthorize`` asks for a role that the sidecar read from the token."""
    mint = stage.provider.mint
    alice = mint.token("alice", realm_access=ROLES)
    bob = mint.token("bob", realm_access={"roles": ["USER"]})
    assert said(await fetch(stage.withholding, "/headers/admin", bearer=alice)) == {
        "name": "alice",
        "authorities": ["ROLE_ADMIN", "ROLE_USER"],
    }
    assert (await fetch(stage.withholding, "/headers/admin", bearer=bob)).status == 403
    assert said(await fetch(stage.withholding, "/headers/me", bearer=bob))["name"] == "bob"
    odd = mint.token("Zoë", realm_access={"roles": ["A,B", " ADMIN"]})
    assert said(await fetch(stage.withholding, "/headers/me", bearer=odd)) == {
        "name": "Zoë",
        "authorities": ["ROLE_ ADMIN", "ROLE_A,B"],
    }


SPOOFED = [
    (spelling, value)
    for name, value in (
        ("x-auth-subject", "alice"),
        ("x-user-authorities", "ROLE_ADMIN"),
        ("x-auth-assertion", "a.b.c"),
    )
    for spelling in (name, name.upper(), name.replace("-", "_"), name.replace("-", "."))
]


async def test_a_callers_own_headers_have_no_effect(stage: Stage) -> None:
    """Neither beside a token nor, where anyone may call, instead of one."""
    bob = stage.provider.mint.token("bob", realm_access={"roles": ["USER"]})
    answer = await fetch(stage.withholding, "/headers/admin", bearer=bob, fields=SPOOFED)
    assert answer.status == 403
    answer = await fetch(stage.withholding, "/headers/me", bearer=bob, fields=SPOOFED)
    assert said(answer) == {"name": "bob", "authorities": ["ROLE_USER"]}
    assert (await fetch(stage.withholding, "/headers/admin", fields=SPOOFED)).status == 401
    # The service wants somebody there, and the sidecar tells it of nobody.
    assert (await fetch(stage.withholding, "/headers/received", fields=SPOOFED)).status == 403
    # Without a sidecar they have an effect, so the above can fail.
    direct = await fetch(stage.service, "/headers/admin", fields=SPOOFED[:1] + SPOOFED[4:5])
    assert said(direct)["name"] == "alice"


async def test_a_resource_server_works_unchanged_on_the_forwarded_token(stage: Stage) -> None:
    """It checks the caller's token by itself; without ``forward`` there is none to check."""
    mint = stage.provider.mint
    writer = mint.token("alice", scope="profile.read profile.write")
    reader = mint.token("bob", scope="profile.read")
    assert said(await fetch(stage.forwarding, "/tokens/write", bearer=writer)) == {
        "name": "alice",
        "authorities": ["FACTOR_BEARER", "SCOPE_profile.read", "SCOPE_profile.write"],
    }
    assert (await fetch(stage.forwarding, "/tokens/write", bearer=reader)).status == 403
    assert (await fetch(stage.withholding, "/tokens/write", bearer=writer)).status == 401


async def test_a_service_may_believe_nobody_but_its_sidecar(stage: Stage) -> None:
    """What is signed is checked with the key of the admin listener; nothing else will do."""
    mint = stage.provider.mint
    alice = mint.token("alice", realm_access=ROLES)
    answer = await fetch(stage.withholding, "/signed/admin", bearer=alice)
    assert said(answer)["name"] == "alice"
    bob = mint.token("bob", realm_access={"roles": ["USER"]})
    assert (await fetch(stage.withholding, "/signed/admin", bearer=bob)).status == 403
    # Past the sidecar: the four headers do not help, nor does a token of the issuer.
    for assertion in ("a.b.c", alice):
        fields = [("x-auth-subject", "alice"), ("x-auth-assertion", assertion)]
        assert (await fetch(stage.service, "/signed/admin", fields=fields)).status == 401
    # Another sidecar's signature is not this one's.
    assert (await fetch(stage.forwarding, "/signed/admin", bearer=alice)).status == 401
