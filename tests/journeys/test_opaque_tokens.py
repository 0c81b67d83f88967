"""From a written configuration to an answer: discovery, token endpoint, introspection, app."""

from pathlib import Path

import aiohttp

from sidecar.assembly import Sidecar
from sidecar.config.load import load
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.wiring import Wiring
from tests.support.http import App, fetch

CONFIGURATION = """\
version: 1
issuers:
  shop:
    issuer: {issuer}
    audiences: [user-service]
    profile: keycloak
    introspection:
      client_id: user-service
      client_secret: ${{CLIENT_SECRET}}
      cache: {{positive: 0s, negative: 0s}}
inbound:
  listen: 127.0.0.1:0
  app: {app}
  rules:
    - {{name: users, paths: [/users/**], require: {{scopes: [profile.read]}}}}
admin: {{listen: 127.0.0.1:0}}
log: {{level: error}}
drain_timeout: 2s
"""


async def test_a_token_of_the_token_endpoint_is_good_until_it_is_revoked(tmp_path: Path) -> None:
    """Nothing but the issuer's URL and the client's credentials is configured."""
    app = App(automatic=True)
    async with (
        IdentityProvider(audience=["user-service"], issues_opaque=True) as provider,
        app.running(),
    ):
        written = tmp_path / "sidecar.yaml"
        written.write_text(CONFIGURATION.format(issuer=provider.issuer, app=app.origin))
        config = load([str(written)], environ={"CLIENT_SECRET": "user-service-secret"})
        async with Sidecar(Wiring(config)).running(lambda _line: None) as bound:
            password = {"grant_type": "password", "username": "alice", "password": "alice-password"}
            async with (
                aiohttp.ClientSession() as session,
                session.post(provider.token_url, data=password) as answer,
            ):
                token = (await answer.json())["access_token"]
            for _ in range(2):
                assert (await fetch(bound.inbound, "/users/alice", bearer=token)).status == 200
            assert app.received[0].values("x-auth-subject") == ["alice"]
            assert app.received[0].values("x-auth-roles") == ["ADMIN,USER"]
            jwt = provider.mint.token("bob")
            assert (await fetch(bound.inbound, "/users/bob", bearer=jwt)).status == 200
            provider.opaque.revoke(token)
            refused = await fetch(bound.inbound, "/users/alice", bearer=token)
            assert (refused.status, refused.reason) == (401, "token_inactive")
            assert provider.introspections == 3
