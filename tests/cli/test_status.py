"""``sidecar status``: a real sidecar asked by the real command, and others who answer."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar import __version__
from sidecar.cli.control_client import ControlError, ask
from tests.cli.conftest import Run, command, environment

CONFIG = """\
version: 1
inbound:
  listen: 127.0.0.1:0
  app: http://127.0.0.1:{app}
  rules: [{{paths: [/**], allow: anyone}}]
outbound:
  destinations:
    profiles: {{listen: 127.0.0.1:0, upstream: "http://127.0.0.1:9"}}
admin:
  listen: 127.0.0.1:0
  control: unix:c.sock
drain_timeout: 20s
"""
NOT_READY = """\
issuers: {shop: {issuer: "https://idp.example", audiences: [x], jwks_uri: "http://127.0.0.1:9/k"}}
"""


def configured(directory: Path, more: str = "", app: int = 9) -> Path:
    path = directory / "sidecar.yaml"
    path.write_text(CONFIG.format(app=app) + more)
    return path


def started(config: Path, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        command(["run", "--config", str(config), *more]),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


@contextmanager
def running(config: Path) -> Iterator[tuple["subprocess.Popen[str]", dict[str, int]]]:
    """Run a sidecar until it says that it has started; its listeners' ports by name."""
    with started(config) as process:
        try:
            assert process.stderr is not None
            ports = {}
            for line in process.stderr:
                match = re.match(r"sidecar: listening (?:outbound )?(\S+) \S+:(\d+)( ->|$)", line)
                if match is not None:
                    ports[match[1]] = int(match[2])
                if line in ("sidecar: ready\n", "sidecar: started\n"):
                    break
            yield process, ports
        finally:
            process.kill()
            process.communicate()


# --- a sidecar that runs ---


def test_ready(sidecar: Run, tmp_path: Path) -> None:
    """The person learns the state, the ledger, the carrier and the destinations; exit code 0."""
    config = configured(tmp_path)
    with running(config):
        assert stat.S_IMODE((tmp_path / "c.sock").lstat().st_mode) == 0o600
        done = sidecar("status", "--config", str(config))
        assert (done.returncode, done.stderr) == (0, "")
        first, *rest = done.stdout.splitlines()
        assert first.startswith(f"sidecar {__version__}, up ")
        assert first.endswith(" s, ready")
        assert rest[:2] == ["ledger: 0 of 12,500 entries in use", "token cache: not asked yet"]
        assert rest[2:4] == [
            "attribution: carrier auto; a carrier is expected: profiles demands min_assurance "
            "strict",
            "  no calls yet",
        ]
        assert rest[4].startswith("destination profiles: 127.0.0.1:")
        assert rest[4].endswith(
            " -> http://127.0.0.1:9, token relay, min_assurance strict; no calls yet"
        )


def test_three_ways_to_the_socket(sidecar: Run, tmp_path: Path) -> None:
    """An option, the file or the environment; the option wins over the environment."""
    config = configured(tmp_path)
    path = str(tmp_path / "c.sock")
    with running(config):
        for arguments, variable in (
            (["--control", path], "/absent"),
            (["--control", f"unix:{path}"], ""),
            (["--config", str(config)], "/absent"),
            ([], path),
            ([], f"unix:{path}"),
        ):
            done = sidecar("status", *arguments, env=environment(SIDECAR_CONTROL=variable))
            assert (done.returncode, done.stderr) == (0, ""), arguments


def test_not_ready(sidecar: Run, tmp_path: Path) -> None:
    """What is missing is in the text and in the JSON, and the exit code is that of a finding."""
    config = configured(tmp_path, NOT_READY)
    with running(config):
        done = sidecar("status", "--config", str(config))
        assert done.returncode == 1
        assert ", not ready\n  missing: issuer shop: keys not loaded (127.0.0.1:9: " in done.stdout
        (line,) = [line for line in done.stdout.splitlines() if line.startswith("issuer shop: ")]
        assert line.startswith("issuer shop: blind, no keys")
        assert "; last error: 127.0.0.1:9: " in line
        done = sidecar("status", "--config", str(config), "--output", "json")
        assert (done.returncode, done.stderr) == (1, "")
        told = json.loads(done.stdout)
        assert (told["ready"], told["issuers"][0]["state"]) == (False, "blind")


def test_a_broken_file_hides_nothing(sidecar: Run, tmp_path: Path) -> None:
    """Somebody who broke the file while the sidecar ran can still ask it."""
    config = configured(tmp_path)
    with running(config):
        config.write_text(config.read_text() + "lgo: {}\n")
        assert sidecar("status", "--config", str(config)).returncode == 0


def test_calls_without_a_carrier(sidecar: Run, tmp_path: Path) -> None:
    """They are warned about once, on standard error, and shown with what to do."""
    config = configured(tmp_path)
    with running(config) as (process, ports):
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", ports["profiles"])) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                assert client.makefile("rb").readline() == b"HTTP/1.1 403 Forbidden\r\n"
        done = sidecar("status", "--config", str(config))
        assert (
            "  without a carrier: 3 calls; start the app with what `sidecar carrier env python` "
            "prints (docs/attribution.md)\n"
        ) in done.stdout
        assert "; refused or failed: 3 attribution_missing\n" in done.stdout
        assert (
            "decisions: 3 made, the latest 3 can be explained (`sidecar explain`)\n" in done.stdout
        )
        assert "\nconfiguration: " in done.stdout
        assert re.search(rf"{re.escape(str(config))}, read [0-9]+ s ago at 20", done.stdout)
        assert done.stdout.endswith(
            "\nwarning: calls without a carrier: 3, though profiles demands min_assurance strict\n"
        )
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        said = [line for line in process.stderr if "sidecar.carriers" in line]
        assert process.wait(30) == 0
    (line,) = said
    assert "warning sidecar.carriers: calls come without a carrier" in line
    assert "(profiles demands min_assurance strict)" in line


def test_draining(sidecar: Run, tmp_path: Path) -> None:
    """A sidecar that finishes its last request still answers, and then takes its socket along."""
    with socket.create_server(("127.0.0.1", 0)) as app:
        config = configured(tmp_path, app=app.getsockname()[1])
        with running(config) as (process, ports):
            with socket.create_connection(("127.0.0.1", ports["inbound"])) as client:
                client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                while not (served := app.accept()[0]).recv(65536):
                    served.close()  # it was asked only whether it is there
                process.send_signal(signal.SIGTERM)
                assert process.stderr is not None
                assert process.stderr.readline() == "sidecar: draining\n"
                done = sidecar("status", "--config", str(config))
                assert done.returncode == 1
                first, second, *_ = done.stdout.splitlines()
                assert first.endswith(", draining: finishing what it has, taking no more")
                assert second == "ledger: 1 of 12,500 entries in use"
                served.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
                served.close()
            assert process.wait(30) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sidecar.yaml"]


def test_two_sidecars_on_one_path(sidecar: Run, tmp_path: Path) -> None:
    """The second one says so in one line and ends with 3; the first one goes on."""
    config = configured(tmp_path)
    with running(config):
        done = sidecar("run", "--config", str(config))
        assert (done.returncode, done.stdout) == (3, "")
        assert done.stderr == (
            f"sidecar: cannot start: another process listens on the control socket "
            f"{tmp_path}/c.sock: stop it, or give this sidecar an admin.control of its own\n"
        )
        assert sidecar("status", "--config", str(config)).returncode == 0


def test_after_a_kill(sidecar: Run, tmp_path: Path) -> None:
    """What a killed sidecar leaves is named by `status` and replaced by the next sidecar."""
    config = configured(tmp_path)
    with running(config):
        pass
    assert (tmp_path / "c.sock").is_socket()
    done = sidecar("status", "--config", str(config))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == (
        f"sidecar: cannot ask the sidecar: nobody listens at {tmp_path}/c.sock: the sidecar that "
        "made it has ended\n"
    )
    with running(config):
        assert sidecar("status", "--config", str(config)).returncode == 0


def test_no_directory(sidecar: Run, tmp_path: Path) -> None:
    """The start ends with what to create; the flag means what the key means."""
    arguments = ["--app", "1", "--allow-anyone", "/**", "--admin", "127.0.0.1:0"]
    done = sidecar("run", *arguments, "--listen", "127.0.0.1:0", "--control", "run/c.sock")
    assert (done.returncode, done.stderr) == (
        3,
        "sidecar: cannot start: the control socket's directory run does not exist: create it (in "
        "Kubernetes, mount an emptyDir there) or change admin.control\n",
    )


def test_a_start_that_fails_later_leaves_no_socket(sidecar: Run, tmp_path: Path) -> None:
    """A port in use takes the control socket away again."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        arguments = ["--app", "1", "--allow-anyone", "/**", "--admin", address]
        done = sidecar("run", *arguments, "--listen", "127.0.0.1:0", "--control", "c.sock")
    assert done.returncode == 3
    assert list(tmp_path.iterdir()) == []


# --- wrong usage ---


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "which sidecar? Give --control PATH, --config FILE or SIDECAR_CONTROL"),
        (["--control", ""], "which sidecar?"),
        (["--control", "x", "--config", "y"], "give --control or --config"),
        (["--config", "absent.yaml"], "absent.yaml: cannot be read"),
        (["--config", "off.yaml"], "off.yaml: `admin.control` is off"),
        (["--config", "bad.yaml"], "bad.yaml:1:18: admin.control: `127.0.0.1:1` asks for TCP"),
        (["--output", "xml"], "'xml' is not one of"),
    ],
)
def test_wrong_usage(arguments: list[str], expected: str, sidecar: Run, tmp_path: Path) -> None:
    """Not knowing whom to ask is exit code 2 with what to write."""
    (tmp_path / "off.yaml").write_text("version: 1\n")
    (tmp_path / "bad.yaml").write_text("admin: {control: 127.0.0.1:1}\n")
    done = sidecar("status", *arguments, env=environment(SIDECAR_CONTROL=""))
    assert (done.returncode, done.stdout) == (2, "")
    assert expected in done.stderr
    assert "Traceback" not in done.stderr


# --- others who answer, or do not ---


@contextmanager
def answering(path: Path, parts: Iterable[bytes], *, hang: bool = False) -> Iterator[None]:
    """Send *parts* to whoever connects, and then hang up unless told to *hang*."""
    released = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            for part in parts:
                try:
                    connection.sendall(part)
                except OSError:
                    return
            if hang:
                released.wait(60)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            released.set()
            thread.join()


OURS = b"HTTP/1.1 200 OK\r\nServer: jwt-sidecar\r\nContent-Length: %d\r\n\r\n"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((b"SSH-2.0-OpenSSH_9.2\r\n",), "what answers at PATH is no sidecar"),
        ((b"\x00" * 100_000,), "what answers at PATH is no sidecar"),
        ((b"HTTP/1.1 200 OK\r\nServer: nginx\r\n\r\n{}",), "what answers at PATH is no sidecar"),
        ((b"HTTP/1.1 200 OK\r\n" + b"X: 1\r\n" * 500,), "what answers at PATH is no sidecar"),
        ((), "what listens at PATH hung up without an answer"),
        ((OURS % 100, b'{"version": "0.1'), "the answer from PATH is cut short"),
        (
            (OURS % 5, b'{"ver'),
            "the answer from PATH is not a status that this version understands",
        ),
        ((OURS % 2, b"{}"), "the answer from PATH is not a status that this version understands"),
        ((OURS % 2, b"\xff\xfe"), "the answer from PATH is not a status that this version under"),
        (
            (b"HTTP/1.1 403 No\r\nServer: jwt-sidecar\r\n\r\nonly \x1b[2J root\nmore",),
            "PATH says 403: only \\x1b[2J root",
        ),
    ],
)
def test_something_else_answers(
    parts: tuple[bytes, ...], expected: str, sidecar: Run, tmp_path: Path
) -> None:
    """Whatever comes back, it is one line and exit code 3."""
    path = tmp_path / "c.sock"
    with answering(path, parts):
        done = sidecar("status", "--control", str(path))
    assert (done.returncode, done.stdout) == (3, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("sidecar: cannot ask the sidecar: ")
    assert expected.replace("PATH", str(path)) in line


def test_a_hung_sidecar(sidecar: Run, tmp_path: Path) -> None:
    """One that accepts and says nothing is given up after five seconds."""
    path = tmp_path / "c.sock"
    with answering(path, (), hang=True):
        done = sidecar("status", "--control", str(path))
    assert (done.returncode, done.stderr) == (
        3,
        f"sidecar: cannot ask the sidecar: no answer from {path} within 5 s\n",
    )


def test_a_dripping_answer_gains_no_time(tmp_path: Path) -> None:
    """The limit is on the whole exchange: a byte now and then does not extend it."""
    path = tmp_path / "c.sock"

    def drip() -> Iterator[bytes]:
        yield OURS % 10_000
        while True:
            time.sleep(0.02)
            yield b"x"

    with (
        answering(path, drip()),
        pytest.raises(ControlError, match=r"no answer from .* within 0\.3 s"),
    ):
        ask(str(path), "/status", patience_seconds=0.3)


def test_an_endless_answer_is_cut_off(tmp_path: Path) -> None:
    """Memory is bounded whatever the other side sends."""
    path = tmp_path / "c.sock"
    head = b"HTTP/1.1 200 OK\r\nServer: jwt-sidecar\r\n\r\n"
    with (
        answering(path, [head, *[b"x" * (1 << 20)] * 17]),
        pytest.raises(ControlError, match="answers more than 16 MiB"),
    ):
        ask(str(path), "/status", patience_seconds=30)


@pytest.mark.parametrize("kind", ["absent", "file", "directory", "datagram", "long"])
def test_nobody_can_answer(kind: str, sidecar: Run, tmp_path: Path) -> None:
    """A path at which no sidecar listens is named with the reason."""
    path = tmp_path / "c.sock"
    expected = f"{path} is no socket"
    other = None
    match kind:
        case "absent":
            expected = f"no socket at {path}: is the sidecar running, with this as admin.control?"
        case "file":
            path.write_text("")
        case "directory":
            path.mkdir()
        case "datagram":
            other = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            other.bind(str(path))
            expected = f"{path}: Protocol wrong type for socket"
        case _:
            path = tmp_path / ("x" * 200)
            expected = f"{path}: AF_UNIX path too long"
    done = sidecar("status", "--control", str(path))
    if other is not None:
        other.close()
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"sidecar: cannot ask the sidecar: {expected}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_permission_denied(tmp_path: Path) -> None:
    """Another user is told whom to ask as."""
    directory = Path(tempfile.mkdtemp())  # pytest's own are closed to other users
    directory.chmod(0o755)
    path = directory / "c.sock"
    script = (
        "import os, sys\nfrom sidecar.cli.control_client import ask\n"
        "from sidecar.cli.status import command\nimport sidecar.cli.status_text\n"
        "import msgspec.json\nos.setgid(65534); os.setuid(65534)\n"
        "command(['--control', sys.argv[1]])\n"
    )
    # Coverage would be written at the end, to where this user may not write.
    unmeasured = {k: v for k, v in environment().items() if not k.startswith("COVERAGE")}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen()
        done = subprocess.run(
            [command([])[0], "-c", script, str(path)],
            env=unmeasured, cwd="/", capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    path.unlink()
    directory.rmdir()
    assert done.returncode == 3
    assert done.stderr == (
        f"sidecar: cannot ask the sidecar: {path} is closed to this user: ask as the user that "
        "runs the sidecar, or root\n"
    )
