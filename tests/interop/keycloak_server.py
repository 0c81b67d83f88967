"""Keycloak with the realm ``shop``: its grants, and the keys that it signs with.

The realm of deploy/k8s is imported beside it.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any, Final

from sidecar.testbed.ports import free_ports
from sidecar.testbed.signing_key import SigningKey
from tests.interop.issuer import IssuerProcess, ask, post_form
from tests.interop.programs import HERE
from tests.interop.setup import LEAN_JAVA

REALM_FILE: Final = HERE / "keycloak" / "shop-realm.json"
DEMO: Final = HERE.parents[1] / "deploy" / "k8s" / "overlays" / "keycloak"
_ADMIN: Final = ("admin", "admin-password")
_KEY_PROVIDER: Final = "org.keycloak.keys.KeyProvider"


class Keycloak:
    """One server. ``public`` is its ``hostname``, ``internal`` another address of the same.

    ``client_key`` signs for the client ``signing-service``.
    """

    def __init__(self, program: Path, directory: Path) -> None:
        """Run *program* with a database in *directory*, into which the realm is imported."""
        (port,) = free_ports(1)
        self.public = f"http://localhost:{port}"
        self.internal = f"http://127.0.0.1:{port}"
        user, password = _ADMIN
        # Realm and scratch files are looked for in `bin/..`, and the program is not ours alone.
        home = directory / "keycloak"
        shutil.copytree(program / "keycloak" / "bin", home / "bin")
        for part in ("conf", "lib", "providers", "themes"):
            (home / part).symlink_to(program / "keycloak" / part)
        (home / "data" / "import").mkdir(parents=True)
        self.client_key = SigningKey.generate("ES256", kid="signing-service")
        realm = json.loads(REALM_FILE.read_text())
        (signing,) = [c for c in realm["clients"] if c["clientId"] == self.client_key.kid]
        signing["attributes"]["jwks.string"] = json.dumps({"keys": [self.client_key.public_jwk()]})
        (home / "data" / "import" / REALM_FILE.name).write_text(json.dumps(realm))
        shutil.copy(DEMO / "realm.json", home / "data" / "import" / "demo-realm.json")
        self.process = IssuerProcess(
            "keycloak",
            [
                "bash",
                str(home / "bin" / "kc.sh"),
                "start",
                "--optimized",
                "--import-realm",
                "--cache=local",
                f"--db-url=jdbc:h2:file:{home}/data/h2;NON_KEYWORDS=VALUE;DB_CLOSE_ON_EXIT=FALSE",
                "--http-enabled=true",
                "--http-host=127.0.0.1",
                f"--http-port={port}",
                f"--hostname={self.public}",
                "--hostname-backchannel-dynamic=true",
            ],
            ready=re.compile(r"Keycloak \S+ on JVM .* started in"),
            environment={
                **LEAN_JAVA,
                "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx384m",
                "KC_BOOTSTRAP_ADMIN_USERNAME": user,
                "KC_BOOTSTRAP_ADMIN_PASSWORD": password,
            },
        )

    @property
    def token_url(self) -> str:
        """Where the realm's tokens are asked for."""
        return f"{self.public}/realms/shop/protocol/openid-connect/token"

    async def grant(self, client: str = "shop-web", **form: str) -> dict[str, Any]:
        """Return the token endpoint's answer to *client*."""
        return await post_form(
            self.token_url,
            {"client_id": client, "client_secret": f"{client}-secret", **form},
        )

    async def demo_token(self, user: str) -> str:
        """Return what docs/kubernetes.md gets for *user* of the demo's realm."""
        form = {"client_id": "demo", "grant_type": "password", "username": user}
        url = f"{self.public}/realms/demo/protocol/openid-connect/token"
        return str((await post_form(url, {**form, "password": f"{user}-password"}))["access_token"])

    async def service_token(self, client: str = "shop-web") -> str:
        """Return an access token of *client* itself."""
        return str((await self.grant(client, grant_type="client_credentials"))["access_token"])

    async def user_tokens(self, user: str) -> dict[str, Any]:
        """Return what *user* gets for a password: access, refresh and ID token."""
        return await self.grant(
            grant_type="password", username=user, password=f"{user}-password", scope="openid"
        )

    async def end_session(self, sid: str) -> None:
        """Sign a user out whose tokens name the session *sid*."""
        await self._admin("DELETE", f"/sessions/{sid}")

    async def add_key(self, priority: int) -> None:
        """Sign with a new RSA key, provided that *priority* is the highest."""
        await self._admin(
            "POST",
            "/components",
            json={
                "name": f"rsa-{priority}",
                "providerId": "rsa-generated",
                "providerType": _KEY_PROVIDER,
                "config": {
                    "priority": [str(priority)],
                    "enabled": ["true"],
                    "active": ["true"],
                    "algorithm": ["RS256"],
                    "keySize": ["2048"],
                },
            },
        )

    async def drop_key(self, kid: str) -> None:
        """Remove the provider of the key *kid*, whose tokens are worth nothing from then on."""
        keys = (await self._admin("GET", "/keys"))["keys"]
        (provider,) = {key["providerId"] for key in keys if key["kid"] == kid}
        await self._admin("DELETE", f"/components/{provider}")

    async def _admin(self, method: str, path: str, **options: Any) -> Any:
        user, password = _ADMIN
        session = await post_form(
            f"{self.public}/realms/master/protocol/openid-connect/token",
            {
                "client_id": "admin-cli",
                "grant_type": "password",
                "username": user,
                "password": password,
            },
        )
        return await ask(
            method,
            f"{self.public}/admin/realms/shop{path}",
            headers={"authorization": f"Bearer {session['access_token']}"},
            **options,
        )
