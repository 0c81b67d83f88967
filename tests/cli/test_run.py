import json
import resource
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cli.conftest import Run, command, environment
from tests.core.signing import jwk, private_key
from tests.support.certificates import Authority, server_context

OPEN = ("--app", "1", "--allow-anyone", "/**")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--config", "absent.yaml"],
            "absent.yaml: cannot be read: No such file or directory\n"
            "sidecar: cannot start: 1 problem in the configuration\n",
        ),
        (
            ["--app", "x", "--issuer", "https://idp.example", "--carrier", "python"],
            "--issuer: issuers.default.audiences: is required\n"
            "--app: inbound.app: `x` must be an absolute URL that starts with http:// or "
            "https://\n"
            "sidecar: cannot start: 2 problems in the configuration\n",
        ),
    ],
)
def test_bad_configuration(arguments: list[str], expected: str, sidecar: Run) -> None:
    """What cannot be used is exit code 3 with every problem on standard error."""
    done = sidecar("run", *arguments)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", expected)


def test_port_in_use(sidecar: Run) -> None:
    """A listener that cannot be bound is exit code 3 and one line."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = sidecar("run", *OPEN, "--listen", address, "--admin", "127.0.0.1:0")
    assert done.returncode == 3
    last = done.stderr.splitlines()[-1]
    assert last.startswith("sidecar: cannot start: ")
    assert address in last
    assert "Traceback" not in done.stderr


def test_from_flags_to_the_end() -> None:
    """Flags alone start a sidecar, which says when it is ready and ends on SIGTERM."""
    said = _said_until_ready(["run", *OPEN, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
    assert "sidecar: ready\n" in said


@pytest.mark.skipif(sys.platform != "linux", reason="other processes' limits are seen on Linux")
def test_as_many_open_files_as_there_may_be() -> None:
    """A shell's soft limit is for programs that are older than ours."""
    limits = []

    def look(process: subprocess.Popen[str]) -> None:
        limits.append(resource.prlimit(process.pid, resource.RLIMIT_NOFILE))

    few = ("sh", "-c", 'ulimit -Sn 100 && exec "$@"', "sh")
    listen = ("--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    _said_until_ready(["run", *OPEN, *listen], before=few, when_ready=look)
    ((soft, hard),) = limits
    assert soft == hard > 100


def _said_until_ready(
    arguments: list[str],
    *,
    before: Sequence[str] = (),
    when_ready: Callable[[subprocess.Popen[str]], None] = lambda _process: None,
    **extra: str,
) -> list[str]:
    """Run a sidecar until it is ready, then end it, and return what it said."""
    with subprocess.Popen(
        [*before, *command(arguments)],
        env=environment(**extra),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        deadline = threading.Timer(30, process.kill)
        deadline.start()
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if line == "sidecar: ready\n":
                    when_ready(process)
                    process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0, said
        finally:
            deadline.cancel()
            process.kill()
    return said


def test_certificates_that_the_environment_names(tmp_path: Path) -> None:
    """An issuer whose certificate SSL_CERT_FILE vouches for gives its keys to a real sidecar."""
    authority = Authority()
    context = server_context(authority.issue("127.0.0.1"), tmp_path)
    with _answering(json.dumps({"keys": [jwk(private_key("ES256"))]}).encode(), context) as port:
        url = f"https://127.0.0.1:{port}"
        arguments = ["run", "--app", "1", "--issuer", url, "--audience", "a"]
        arguments += ["--jwks-uri", f"{url}/keys", "--listen", "127.0.0.1:0"]
        arguments += ["--admin", "127.0.0.1:0"]
        said = _said_until_ready(arguments, SSL_CERT_FILE=authority.write(tmp_path))
    assert "sidecar: ready\n" in said


@contextmanager
def _answering(content: bytes, context: ssl.SSLContext) -> Iterator[int]:
    """Serve *content* over TLS, and give the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
