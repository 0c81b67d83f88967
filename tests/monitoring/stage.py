"""Two services with a sidecar each, as processes, and callers who make them count everything."""

import asyncio
import contextlib
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from sidecar.demo.configurations import AUDIENCES
from sidecar.demo.stage import CARRIER
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.ports import free_ports
from sidecar.testbed.processes import (
    RunningSidecar,
    child_environment,
    service,
    sidecar,
)
from sidecar.testbed.users import SERVICES
from tests.support.certificates import Authority, client_context
from tests.support.readiness import until_ready

DEMO = Path(__file__).parents[2] / "sidecar" / "demo"
_PAUSE_SECONDS = 0.02

_USER = """\
version: 1
issuers:
  shop:
    issuer: {jwt.issuer}
    audiences: [user-service]
    profile: keycloak
    hygiene: {{max_lifetime: 1m}}
  opaque:
    issuer: {opaque.issuer}
    audiences: [user-service]
    introspection:
      client_id: {client.client_id}
      client_secret: file:secret
clients:
  shop:
    issuer: shop
    client_id: {client.client_id}
    client_secret: file:secret
inbound:
  listen: 127.0.0.1:0
  app: http://127.0.0.1:{app}
  rules:
    - {{name: users, paths: [/users/*], require: authenticated}}
    - {{name: background, paths: [/reports/**], require: authenticated}}
    - {{name: watched, paths: [/healthz], mode: observe, require: {{roles: [NOBODY]}}}}
outbound:
  proxy: 127.0.0.1:{proxy}
  destinations:
    profile-service:
      listen: 127.0.0.1:{out}
      upstream: https://localhost:{profile}
      hosts: [profile-service]
      tls: {{ca: ca.pem}}
    nightly:
      listen: 127.0.0.1:0
      upstream: https://127.0.0.1:{profile}
      token: client_credentials
      without_context: client_credentials
      token_request: {{client: shop}}
      tls: {{ca: ca.pem}}
admin:
  listen: 127.0.0.1:0
log:
  decisions: {{file: decisions.jsonl}}
"""
_PROFILE = """\
version: 1
issuers:
  shop:
    issuer: {jwt.issuer}
    audiences: [profile-service]
    profile: keycloak
inbound:
  listen: 127.0.0.1:{profile}
  app: http://127.0.0.1:{app}
  tls: {{certificate: tls.crt, key: tls.key}}
  rules:
    - {{name: admin, paths: [/admin/**], require: {{roles: [ADMIN]}}}}
    - {{name: profiles, paths: [/profiles/*], require: {{scopes: [profile.read]}}}}
attribution:
  exclusive: credential
admin:
  listen: 127.0.0.1:0
"""


@dataclass
class Stage:
    """What runs, and how to make it count."""

    jwt: IdentityProvider
    opaque: IdentityProvider
    user: RunningSidecar
    profile: RunningSidecar
    proxy: int
    client: aiohttp.ClientSession
    trust: ssl.SSLContext
    statuses: dict[str, set[int]] = field(default_factory=dict)
    """What every kind of call was answered with."""

    async def calls(self) -> None:
        """Make one call of every kind, permitted and refused, in and out."""
        users = f"http://{self.user.listener('inbound')}"
        profiles = f"https://localhost:{self.profile.listener('inbound').rpartition(':')[2]}"
        mint = self.jwt.mint
        alice, bob = mint.token("alice"), mint.token("bob")
        await self._call("user", f"{users}/users/alice", alice)
        await self._call("known user", f"{users}/users/alice", alice)
        await self._call("nobody", f"{users}/users/alice")
        await self._call("wrong audience", f"{users}/users/a", mint.token("bob", aud="else"))
        await self._call("forged", f"{users}/users/a", mint.forged("bob"))
        await self._call("observed", f"{users}/healthz", bob)
        await self._call("opaque", f"{users}/users/alice", self.opaque.opaque.issue("alice"))
        await self._call("unknown opaque", f"{users}/users/alice", "not-a-token-of-anybody")
        await self._call("no admin", f"{profiles}/admin/profiles", bob)
        await self._call("nightly", f"http://{self.user.listener('outbound', 'nightly')}/admin/x")
        await self._call("background", f"{users}/reports", bob, method="POST")
        await self._tunnel()
        await self._plain_to_tls()

    async def _call(
        self, kind: str, url: str, token: str | None = None, *, method: str = "GET"
    ) -> None:
        fields = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with self.client.request(method, url, headers=fields, ssl=self.trust) as answer:
            await answer.read()
            self.statuses.setdefault(kind, set()).add(answer.status)

    async def _tunnel(self) -> None:
        """Ask the proxy for a tunnel to a destination, past what could attach a token."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.proxy)
        writer.write(b"CONNECT profile-service:443 HTTP/1.1\r\nHost: profile-service:443\r\n\r\n")
        await reader.readline()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def _plain_to_tls(self) -> None:
        host, _, port = self.profile.listener("inbound").rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Keep calling for the length of the block."""

        async def call() -> None:
            while True:
                await self.calls()
                await asyncio.sleep(_PAUSE_SECONDS)

        calling = asyncio.create_task(call())
        try:
            yield
        finally:
            calling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await calling


@asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[Stage]:
    """Start everything, and end it with the block."""
    ports = dict(zip(("app", "proxy", "out", "profile"), free_ports(4), strict=True))
    authority = Authority()
    user_directory, profile_directory = directory / "user", directory / "profile"
    for each in (user_directory, profile_directory):
        each.mkdir()
    authority.issue("localhost", "127.0.0.1").write(profile_directory)
    authority.write(user_directory, "ca.pem")
    (user_directory / "secret").write_text(SERVICES[0].client_secret)
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        jwt = await enter(IdentityProvider(audience=AUDIENCES))
        opaque = await enter(IdentityProvider(audience=AUDIENCES, issues_opaque=True))
        client = await enter(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)))
        known = {**ports, "jwt": jwt, "opaque": opaque, "client": SERVICES[0]}
        environment = child_environment(
            PYTHONPATH=os.pathsep.join(filter(None, (str(CARRIER), os.environ.get("PYTHONPATH")))),
            SIDECAR_CARRIER="grade=strict",
            PROFILES_URL=f"http://localhost:{ports['out']}",
        )
        _, address = await enter(
            service(
                "profile-service",
                DEMO / "profile_service.py",
                "--port=0",
                environment=child_environment(),
            )
        )
        path = profile_directory / "sidecar.yaml"
        path.write_text(_PROFILE.format(**{**known, "app": address.rpartition(":")[2]}))
        profile = await enter(sidecar("profile-service's sidecar", path))
        path = user_directory / "sidecar.yaml"
        path.write_text(_USER.format(**known))
        user = await enter(sidecar("user-service's sidecar", path))
        for running in (profile, user):
            await until_ready(client, running)
        await enter(
            service(
                "user-service",
                DEMO / "user_service.py",
                f"--port={ports['app']}",
                environment=environment,
            )
        )
        yield Stage(jwt, opaque, user, profile, ports["proxy"], client, client_context(authority))
