"""Which issuers there are, in which versions, and where ``make interop`` puts them.

All versions are pinned here. Imports nothing that is not Python's own, so that the set-up can run
before anything is installed.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
PREPARED: Final = HERE.parents[1] / ".interop"


@dataclass(frozen=True)
class Program:
    """One issuer. What is made of it is named after all that goes in: a change is made anew."""

    name: str
    version: str
    needs: tuple[str, ...]
    """Commands that must be on ``PATH`` to make it and to run it."""
    sources: tuple[Path, ...] = ()
    """Files of ours that are built with it."""
    home: Path = PREPARED
    """Where all that is made is put."""

    @property
    def directory(self) -> Path:
        """Where it stands once it is made."""
        digest = hashlib.sha256()
        for source in self.sources:
            digest.update(source.read_bytes())
        mark = f"-{digest.hexdigest()[:8]}" if self.sources else ""
        return self.home / f"{self.name}-{self.version}{mark}"

    @property
    def log(self) -> Path:
        """What was said when it was made."""
        return self.home / f"{self.name}.log"

    def missing(self) -> list[str]:
        """Return the commands it needs that are not there."""
        return [command for command in self.needs if shutil.which(command) is None]


KEYCLOAK: Final = Program("keycloak", "26.5.6", ("java", "mvn"))
OIDC_PROVIDER: Final = Program("oidc-provider", "8.8.1", ("node", "npm"))
"""The last series that runs on Node 18, which Debian 12 has."""
SPRING: Final = Program(
    "spring-boot",
    "4.0.7",
    ("java", "mvn"),
    (
        HERE / "spring" / "pom.xml",
        HERE / "spring" / "src" / "main" / "java" / "shop" / "AuthorizationServer.java",
    ),
)

SPRING_SERVICE: Final = Program(
    "spring-service",
    SPRING.version,
    ("java", "mvn"),
    (
        HERE / "spring_service" / "pom.xml",
        *sorted((HERE / "spring_service" / "src" / "main" / "java" / "shop").glob("*.java")),
    ),
)
"""No issuer: a service of the same release behind a sidecar."""

PROGRAMS: Final = (KEYCLOAK, SPRING, SPRING_SERVICE, OIDC_PROVIDER)
"""In the order in which they are set up."""
