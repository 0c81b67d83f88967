"""npm ``oidc-provider`` as ``oidc_provider/server.mjs`` sets it up, with keys by name."""

import json
import re
from pathlib import Path
from typing import Final

from sidecar.testbed.ports import free_ports
from sidecar.testbed.signing_key import SigningKey
from tests.interop.issuer import IssuerProcess, post_form
from tests.interop.programs import HERE
from tests.support.certificates import Authority

SERVER: Final = HERE / "oidc_provider" / "server.mjs"
RESOURCE: Final = "https://user-service.example"


class OidcProvider:
    """One issuer, which signs with another key after a restart that says so."""

    def __init__(self, program: Path, directory: Path) -> None:
        """Run it with the package in *program*; its keys are kept in *directory*."""
        self._port, self._tls_port = free_ports(2)
        self._clients: dict[str, str] = {}
        self._program = program
        self._directory = directory
        self.issuer = f"http://127.0.0.1:{self._port}"
        self.token_url = f"{self.issuer}/token"
        self.tls_token_url = f"https://127.0.0.1:{self._tls_port}/token"
        """Where a client shows a certificate."""
        self.process: IssuerProcess | None = None

    def add_clients(self, key: SigningKey, authority: Authority) -> None:
        """Have from the next start on a client that signs with *key*, and one of *authority*.

        They are called ``signing-service`` and ``certified-service``.
        """
        client_keys = {"keys": [key.public_jwk()]}
        (self._directory / "client-keys.json").write_text(json.dumps(client_keys))
        authority.issue("127.0.0.1").write(self._directory, "server")
        authority.write(self._directory)
        self._clients = {"TLS_PORT": str(self._tls_port)}

    async def start(self, *keys: str) -> None:
        """Serve with *keys*, each ``kid:alg``, of which the first signs; stop what ran before."""
        await self.stop()
        self.process = IssuerProcess(
            "oidc-provider",
            [
                "node",
                str(SERVER),
                str(self._program / "node_modules"),
                str(self._directory),
                str(self._port),
                *keys,
            ],
            ready=re.compile(r"^serving on"),
            environment=self._clients,
        )
        await self.process.start()

    async def stop(self) -> None:
        """Stop it, if it runs."""
        if self.process is not None:
            await self.process.stop()
            self.process = None

    async def token(self, scope: str = "profile.read", resource: str = RESOURCE) -> str:
        """Return an access token of the one client, for *resource* (RFC 8707)."""
        answer = await post_form(
            self.token_url,
            {"grant_type": "client_credentials", "scope": scope, "resource": resource},
            client=("reporter", "reporter-secret"),
        )
        return str(answer["access_token"])
