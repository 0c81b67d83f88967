"""Real interpreters, with the carrier's directory on their path, between the tests' two sockets."""

import functools
import http.client
import os
import secrets
import shutil
import string
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest

from sidecar.core.names import CARRIER_HEADER, CONTEXT_HEADER, HANDLE_PREFIX, HANDLE_RANDOM_LENGTH

from .upstream import Head, Upstream

SERVICE = Path(__file__).with_name("service.py")
ROOT = Path(__file__).parents[2]
CARRIER = ROOT / "sidecar" / "carriers" / "python"
VERSIONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14"]


@functools.cache
def find_interpreter(version: str) -> str | None:
    """The program behind ``python<version>`` on PATH; ``None`` if there is none that runs."""
    program = shutil.which(f"python{version}")
    if program is None:
        return None
    command = [program, "-c", "import sys; print(sys.executable)"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    return answer.stdout.strip() or None


@dataclass(frozen=True, slots=True)
class Interpreter:
    """One Python on this machine."""

    version: tuple[int, int]
    program: str


# Decided here and not by skipping, or each absent Python would be a hundred skips; one test
# in test_start skips once for each instead.
@pytest.fixture(scope="session", params=[v for v in VERSIONS if find_interpreter(v)])
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    """Each Python the carrier supports, as far as it is here."""
    major, minor = request.param.split(".")
    return Interpreter((int(major), int(minor)), str(find_interpreter(request.param)))


@dataclass(frozen=True, slots=True)
class Service:
    """A running service process."""

    port: int

    def get(self, path: str, *handles: str, out: str = "") -> int:
        """Make one request with these handles, on a connection of its own; return the status."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            return self.get_on(connection, path, *handles, out=out)
        finally:
            connection.close()

    def get_on(
        self, connection: http.client.HTTPConnection, path: str, *handles: str, out: str = ""
    ) -> int:
        connection.putrequest("GET", f"/{path}?out={quote(out)}")
        for handle in handles:
            connection.putheader(CONTEXT_HEADER, handle)
        connection.endheaders()
        response = connection.getresponse()
        response.read()
        return response.status


@contextmanager
def serving(
    interpreter: Interpreter,
    *arguments: str,
    environment: dict[str, str] | None = None,
    options: tuple[str, ...] = (),
    path: tuple[Path, ...] = (CARRIER,),
    stderr: str | None = "",
    program: tuple[str, ...] = (str(SERVICE),),
) -> Iterator[Service]:
    """Run the service; afterwards it must have said *stderr*, where that is not ``None``."""
    command = [interpreter.program, *options, *program, *arguments]
    variables = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(str(entry) for entry in path),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "ignore::DeprecationWarning",  # one pattern forks beside threads
        **(environment or {}),
    }
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=errors, env=variables, text=True
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            errors.seek(0)
            assert line, errors.read()
            yield Service(int(line))
        finally:
            process.kill()
            process.stdout.close()
            process.wait()
        errors.seek(0)
        said = errors.read()
        assert stderr is None or said == stderr


OURS = Interpreter(sys.version_info[:2], sys.executable)
"""The one that runs the tests, with the libraries installed beside them."""


@contextmanager
def serving_with_libraries(
    module: str,
    *,
    environment: dict[str, str] | None = None,
    path: tuple[Path, ...] = (CARRIER,),
    stderr: str | None = "",
) -> Iterator[Service]:
    """Run the module ``tests.carriers.<module>`` as a service."""
    with serving(
        OURS,
        environment=environment,
        path=(*path, ROOT),
        stderr=stderr,
        program=("-m", f"tests.carriers.{module}"),
    ) as service:
        yield service


@pytest.fixture(scope="session")
def upstream() -> Iterator[Upstream]:
    with Upstream().running() as running:
        yield running


@pytest.fixture(scope="session")
def unix_upstream() -> Iterator[tuple[Upstream, str]]:
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/upstream.sock"
        with Upstream(path).running() as running:
            yield running, path


@pytest.fixture(scope="session")
def service(interpreter: Interpreter, unix_upstream: tuple[Upstream, str]) -> Iterator[Service]:
    """The service with the carrier as it comes, shared by the tests: each uses its own URLs."""
    with serving(interpreter, environment={"UNIX_UPSTREAM": unix_upstream[1]}) as running:
        yield running


@pytest.fixture
def path() -> str:
    """A path that no other test calls."""
    return f"/{secrets.token_hex(8)}"


def new_handle() -> str:
    alphabet = string.digits + string.ascii_lowercase
    return HANDLE_PREFIX + "".join(secrets.choice(alphabet) for _ in range(HANDLE_RANDOM_LENGTH))


def handles(heads: list[Head]) -> list[list[str]]:
    """The values of the dedicated header, per call."""
    return [head.values(CONTEXT_HEADER) for head in heads]


def reports(heads: list[Head]) -> list[list[str]]:
    """The carrier's self-reports, per call."""
    return [head.values(CARRIER_HEADER) for head in heads]
