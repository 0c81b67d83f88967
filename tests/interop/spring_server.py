"""Spring Authorization Server as the service in ``spring/`` runs it."""

import re
from pathlib import Path

from sidecar.testbed.ports import free_ports
from tests.interop.issuer import IssuerProcess, ask, post_form


class SpringServer:
    """One issuer with one client, ``reporter``."""

    def __init__(self, program: Path) -> None:
        """Run the service that was built into *program*."""
        (port,) = free_ports(1)
        self.issuer = f"http://127.0.0.1:{port}"
        self.process = IssuerProcess(
            "spring",
            [
                "java",
                *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx192m"),
                *("-jar", str(program / "server.jar")),
                *("--server.address=127.0.0.1", f"--server.port={port}"),
            ],
            ready=re.compile(r"Started AuthorizationServer in"),
            environment={},
        )

    async def token(self, scope: str = "profile.read profile.write") -> str:
        """Return an access token of the client."""
        answer = await post_form(
            f"{self.issuer}/oauth2/token",
            {"grant_type": "client_credentials", "scope": scope},
            client=("reporter", "reporter-secret"),
        )
        return str(answer["access_token"])

    async def add_key(self) -> None:
        """Sign with a new key from now on."""
        await ask("POST", f"{self.issuer}/test/keys")

    async def drop_old_keys(self) -> None:
        """Publish no key but the one that signs."""
        await ask("DELETE", f"{self.issuer}/test/keys")
