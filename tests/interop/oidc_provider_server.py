"""npm ``oidc-provider`` as ``oidc_provider/server.mjs`` sets it up, with keys by name."""

import re
from pathlib import Path
from typing import Final

from sidecar.testbed.ports import free_ports
from tests.interop.issuer import IssuerProcess, post_form
from tests.interop.programs import HERE

SERVER: Final = HERE / "oidc_provider" / "server.mjs"
RESOURCE: Final = "https://user-service.example"


class OidcProvider:
    """One issuer, which signs with another key after a restart that says so."""

    def __init__(self, program: Path, directory: Path) -> None:
        """Run it with the package in *program*; its keys are kept in *directory*."""
        (self._port,) = free_ports(1)
        self._program = program
        self._directory = directory
        self.issuer = f"http://127.0.0.1:{self._port}"
        self.process: IssuerProcess | None = None

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
            environment={},
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
            f"{self.issuer}/token",
            {"grant_type": "client_credentials", "scope": scope, "resource": resource},
            client=("reporter", "reporter-secret"),
        )
        return str(answer["access_token"])
