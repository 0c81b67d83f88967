"""``sidecar drain``: a real sidecar told by the real command."""

import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path

from tests.cli.conftest import Run, command, environment
from tests.cli.test_status import configured, running


def get(port: int, path: str = "/") -> tuple[int, str | None]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.getheader("Connection")
    finally:
        connection.close()


def test_draining(sidecar: Run, tmp_path: Path) -> None:
    """It returns at once; the sidecar is not ready, serves on, and still ends on SIGTERM."""
    config = configured(tmp_path)
    path = str(tmp_path / "c.sock")
    with running(config) as (process, ports):
        assert get(ports["admin"], "/readyz")[0] == 200
        done = sidecar("drain", "--control", path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "draining\n", "")
        assert get(ports["admin"], "/readyz")[0] == 503
        assert get(ports["inbound"]) == (502, "close")  # nobody is there, but it asked
        done = sidecar("status", "--control", path)
        assert done.returncode == 1
        first, *_ = done.stdout.splitlines()
        assert first.endswith(" s: serving whoever comes, telling them to go elsewhere")
        done = sidecar("drain", "--control", path, "--wait")
        assert (done.returncode, done.stdout) == (0, "draining; the app has ended\n")
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    done = sidecar("drain", "--control", path)
    assert done.returncode == 3
    assert "is the sidecar running" in done.stderr


@contextmanager
def waiting(config: Path, ports: dict[str, int]) -> Iterator["subprocess.Popen[str]"]:
    """Run ``sidecar drain --wait`` until the sidecar has heard of it."""
    arguments = command(["drain", "--config", str(config), "--wait"])
    with subprocess.Popen(
        arguments, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            while get(ports["admin"], "/readyz")[0] == 200:
                assert process.poll() is None
            yield process
        finally:
            process.kill()


def test_waiting_for_the_app(tmp_path: Path) -> None:
    """With --wait it returns when the app has ended, and not before."""
    with socket.create_server(("127.0.0.1", 0)) as app:
        config = configured(tmp_path, app=app.getsockname()[1])
        with running(config) as (_, ports), waiting(config, ports) as process:
            assert process.poll() is None
            app.close()
            said, _ = process.communicate(timeout=30)
            assert (process.returncode, said) == (0, "draining; the app has ended\n")


def test_an_app_that_stays(sidecar: Run, tmp_path: Path) -> None:
    """It is not waited for longer than the end may take."""
    with socket.create_server(("127.0.0.1", 0)) as app:
        config = configured(tmp_path, app=app.getsockname()[1])
        config.write_text(config.read_text().replace("drain_timeout: 20s", "drain_timeout: 500ms"))
        with running(config):
            done = sidecar("drain", "--config", str(config), "--wait")
    said = "draining; the app is still there after 0.5 s\n"
    assert (done.returncode, done.stdout) == (1, said)


def test_the_sidecar_ends_meanwhile(tmp_path: Path) -> None:
    """Whoever waits for a sidecar that is gone has nothing left to wait for."""
    with socket.create_server(("127.0.0.1", 0)) as app:
        config = configured(tmp_path, app=app.getsockname()[1])
        with running(config) as (process, ports), waiting(config, ports) as asking:
            process.terminate()
            said, _ = asking.communicate(timeout=30)
            assert (asking.returncode, said) == (0, "the sidecar has ended\n")
