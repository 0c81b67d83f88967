import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Run, command, environment

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


def test_from_flags_to_the_end(tmp_path: Path) -> None:
    """Flags alone start a sidecar, which says when it is ready and ends on SIGTERM."""
    arguments = ["run", *OPEN, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]
    with subprocess.Popen(
        command(arguments),
        cwd=tmp_path,
        env=environment(),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            said = []
            for line in process.stderr:
                said.append(line)
                if line == "sidecar: ready\n":
                    process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
        finally:
            process.kill()
    assert "sidecar: ready\n" in said
