"""Put the issuers of ``programs`` into ``.interop``: ``python -m tests.interop.setup [NAME...]``.

Owns the downloads, which are the package managers' own, and what is built once to start fast. A
program is made in a directory of its own and renamed when it is complete, so what has a name is
whole; a lock keeps two runs apart.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.interop.programs import (
    HERE,
    KEYCLOAK,
    OIDC_PROVIDER,
    PROGRAMS,
    SPRING,
    SPRING_SERVICE,
    Program,
)

LIMIT_SECONDS: Final = 240.0
"""For one program; the slowest takes a quarter of it on two busy cores."""
LEAN_JAVA: Final = {
    "JAVA_OPTS_GC": "-XX:+UseSerialGC",
    "JAVA_OPTS_APPEND": "-XX:TieredStopAtLevel=1",
}
"""For Java programs that run for seconds: compiling less takes half the time."""
MAVEN: Final = ("mvn", "--quiet", "--batch-mode", "--no-transfer-progress")
_SHOWN_LINES: Final = 30


class SetupError(Exception):
    """A program could not be made; the message says why in one line."""


class Workshop:
    """Where one program is made: a directory, a log, and the time that is left."""

    def __init__(self, directory: Path, log: Path, limit_seconds: float) -> None:
        self.directory = directory
        self.log = log
        self._until = time.monotonic() + limit_seconds

    def run(
        self,
        *command: str,
        where: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Run *command* to its end, with all that it starts. Raises ``SetupError``."""
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=where or self.directory,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                code = process.wait(timeout=max(self._until - time.monotonic(), 1.0))
            except subprocess.TimeoutExpired:
                raise SetupError(f"{command[0]} took too long") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        if code != 0:
            raise SetupError(f"{command[0]} ended with {code}")


def make_keycloak(shop: Workshop) -> None:
    """Get the distribution and build what its start would build otherwise."""
    shop.run(
        *MAVEN,
        "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy",
        f"-Dartifact=org.keycloak:keycloak-quarkus-dist:{KEYCLOAK.version}:zip",
        f"-DoutputDirectory={shop.directory}",
    )
    (archive,) = shop.directory.glob("*.zip")
    with zipfile.ZipFile(archive) as distribution:
        distribution.extractall(shop.directory)
    archive.unlink()
    (unpacked,) = shop.directory.glob("keycloak-*")
    unpacked.rename(shop.directory / "keycloak")
    shop.run("bash", "keycloak/bin/kc.sh", "build", "--db=dev-file", environment=LEAN_JAVA)


def make_spring(shop: Workshop) -> None:
    """Build the issuer of ``spring/`` with the libraries of one Spring Boot release."""
    _package(shop, HERE / "spring", SPRING.version)


def make_spring_service(shop: Workshop) -> None:
    """Build the service of ``spring_service/`` with those of the same."""
    _package(shop, HERE / "spring_service", SPRING_SERVICE.version)


def _package(shop: Workshop, module: Path, version: str) -> None:
    source = shop.directory / "source"
    shutil.copytree(module, source)
    shop.run(*MAVEN, f"-Dspring-boot.version={version}", "package", where=source)
    (made,) = (source / "target").glob("*.jar")
    made.rename(shop.directory / "server.jar")
    shutil.rmtree(source)


def make_oidc_provider(shop: Workshop) -> None:
    """Get the package and what it needs; nothing of it may run while it is installed."""
    (shop.directory / "package.json").write_text('{"private": true}\n')
    shop.run(
        *("npm", "install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund"),
        f"{OIDC_PROVIDER.name}@{OIDC_PROVIDER.version}",
    )


MAKERS: Final = {
    KEYCLOAK.name: make_keycloak,
    SPRING.name: make_spring,
    SPRING_SERVICE.name: make_spring_service,
    OIDC_PROVIDER.name: make_oidc_provider,
}


def prepare(program: Program, make: Callable[[Workshop], None]) -> None:
    """Have *make* make *program*, unless that is done already. Raises ``SetupError``."""
    if absent := program.missing():
        raise SetupError(f"it needs {', '.join(absent)} on PATH")
    program.home.mkdir(exist_ok=True)
    with _alone(program):
        if program.directory.is_dir():
            return
        program.log.unlink(missing_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".making-{program.name}-", dir=program.home))
        try:
            make(Workshop(making, program.log, LIMIT_SECONDS))
            making.rename(program.directory)
        finally:
            shutil.rmtree(making, ignore_errors=True)


@contextmanager
def _alone(program: Program) -> Iterator[None]:
    """Wait for another process that makes the same; its end, whatever it is, frees the lock."""
    with (program.home / f".lock-{program.name}").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main(names: Sequence[str]) -> int:
    """Prepare the programs *names*, or all; return the exit code."""
    known = {program.name: program for program in PROGRAMS}
    if unknown := [name for name in names if name not in known]:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}", file=sys.stderr)
        return 2
    failed = 0
    for name in names or known:
        program, began = known[name], time.monotonic()
        try:
            prepare(program, MAKERS[name])
        except (SetupError, OSError, ValueError) as error:
            failed += 1
            print(f"{name} {program.version}: not set up: {error}", file=sys.stderr)
            _show(program.log)
        else:
            print(f"{name} {program.version}: ready, {time.monotonic() - began:.0f} s", flush=True)
    return 1 if failed else 0


def _show(log: Path) -> None:
    if log.is_file():
        for line in log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]:
            print(f"    {line[:300]}", file=sys.stderr)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started ends with us
    sys.exit(main(sys.argv[1:]))
