"""The service in ``spring_service/``, three times protected, as a child process."""

import re
from pathlib import Path

from sidecar.config.model import Address, Origin
from sidecar.testbed.ports import free_ports
from tests.interop.issuer import IssuerProcess


class SpringService:
    """Trusts the sidecar's headers, the caller's token, or what a sidecar has signed, by path."""

    def __init__(self, program: Path, *, jwks_url: str, issuer: str, admin_port: int) -> None:
        """Run what was built into *program*, with the keys of *issuer* and of a sidecar."""
        (port,) = free_ports(1)
        self.address = Address("127.0.0.1", port)
        self.origin = Origin("http", "127.0.0.1", port)
        resource = "spring.security.oauth2.resourceserver.jwt"
        self.process = IssuerProcess(
            "spring-service",
            [
                "java",
                *("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx192m"),
                *("-jar", str(program / "server.jar")),
                *("--server.address=127.0.0.1", f"--server.port={port}"),
                f"--{resource}.jwk-set-uri={jwks_url}",
                f"--{resource}.issuer-uri={issuer}",
                f"--{resource}.audiences=user-service",
                f"--sidecar.keys=http://127.0.0.1:{admin_port}/.well-known/jwks.json",
            ],
            ready=re.compile(r"Started UserService in"),
            environment={},
        )
