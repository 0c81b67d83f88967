"""Which issuers there are, in which versions, and where ``make interop`` has put them."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

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

    @property
    def directory(self) -> Path:
        """Where it stands once it is made."""
        digest = hashlib.sha256()
        for source in self.sources:
            digest.update(source.read_bytes())
        mark = f"-{digest.hexdigest()[:8]}" if self.sources else ""
        return PREPARED / f"{self.name}-{self.version}{mark}"

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

PROGRAMS: Final = (KEYCLOAK, SPRING, OIDC_PROVIDER)
"""In the order in which they are set up."""


def needs_program(program: Program) -> Path:
    """Return where *program* stands; skip the test without it, fail where all must be there."""
    absent = program.missing()
    if program.directory.is_dir() and not absent:
        return program.directory
    reason = f"{program.name} {program.version} is not set up (make interop)"
    if absent:
        reason = f"{program.name} needs {', '.join(absent)} on PATH"
    if os.environ.get("SIDECAR_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
