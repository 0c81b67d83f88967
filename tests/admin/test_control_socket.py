"""``sidecar.admin.control_socket``: a path is taken, never shared, and given back."""

import fcntl
import os
import socket
import stat
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from sidecar.admin import control_socket
from sidecar.admin.control_socket import ControlSocket, ControlSocketError


@contextmanager
def taken(path: Path) -> Iterator[ControlSocket]:
    """Hold the path for a while."""
    held = ControlSocket(str(path))
    try:
        yield held
    finally:
        held.release()
        held.socket.close()


def leave_stale(path: Path) -> None:
    """Leave what a process that was killed leaves."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))
        dead.listen()


def refusal(path: Path | str) -> str:
    with pytest.raises(ControlSocketError) as caught:
        ControlSocket(str(path))
    (line,) = str(caught.value).splitlines()
    return line


def test_it_listens_and_only_the_owner_may_use_it(tmp_path: Path) -> None:
    """Whatever the umask, the mode is 0600; the umask is restored, the path free at the end."""
    path = tmp_path / "c.sock"
    for mask in (0o000, 0o022, 0o777):
        before = os.umask(mask)
        try:
            with taken(path):
                assert stat.S_IMODE(path.lstat().st_mode) == 0o600
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(path))
        finally:
            assert os.umask(before) == mask
        assert not path.exists()


def test_the_mode_is_never_wider(tmp_path: Path) -> None:
    """Somebody who looks all the time sees no other mode, not even while the file is made."""
    path, seen, done = tmp_path / "c.sock", set(), threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                seen.add(stat.S_IMODE(os.lstat(path).st_mode))
            except FileNotFoundError:
                continue

    watcher = threading.Thread(target=look)
    watcher.start()
    before = os.umask(0)
    try:
        for attempt in range(20_000):
            with taken(path):
                pass
            if seen and attempt > 300:  # on a busy machine the watcher may not have run yet
                break
    finally:
        os.umask(before)
        done.set()
        watcher.join()
    assert seen == {0o600}


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    """What a killed sidecar left does not keep the next one from starting."""
    path = tmp_path / "c.sock"
    leave_stale(path)
    path.chmod(0o666)
    with taken(path):
        assert stat.S_IMODE(path.lstat().st_mode) == 0o600


def test_a_live_socket_is_left_alone(tmp_path: Path) -> None:
    """A second sidecar on the path is told so, and the first one goes on."""
    path = tmp_path / "c.sock"
    with taken(path):
        assert refusal(path) == (
            f"another process listens on the control socket {path}: stop it, or give this "
            "sidecar an admin.control of its own"
        )
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_live_socket_that_takes_no_more_connections_is_live(tmp_path: Path) -> None:
    """A full backlog is no sign of death."""
    path = tmp_path / "c.sock"
    clients = []
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        for _ in range(4):
            client = socket.socket(socket.AF_UNIX)
            client.setblocking(False)
            clients.append(client)
            try:
                client.connect(str(path))
            except BlockingIOError:
                break
        assert "another process listens" in refusal(path)
    for client in clients:
        client.close()


@pytest.mark.parametrize("kind", ["file", "directory", "link", "dangling link", "pipe"])
def test_what_is_no_socket_stays(kind: str, tmp_path: Path) -> None:
    """Nothing is removed but a socket, not even where a link leads to a stale one."""
    path, other = tmp_path / "c.sock", tmp_path / "other"
    match kind:
        case "file":
            path.write_text("precious")
        case "directory":
            path.mkdir()
        case "link":
            leave_stale(other)
            path.symlink_to(other)
        case "dangling link":
            path.symlink_to(other)
        case _:
            os.mkfifo(path)
    before = path.lstat().st_ino
    assert refusal(path) == f"{path} exists and is no socket: remove it or change admin.control"
    assert path.lstat().st_ino == before
    assert other.exists() == (kind == "link")


def test_a_socket_of_another_kind_stays(tmp_path: Path) -> None:
    """A datagram socket is somebody else's, and is named with the cause."""
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log:
        log.bind(str(path))
        assert refusal(path) == (
            f"cannot make the control socket {path}: Protocol wrong type for socket"
        )
        assert path.exists()


def test_a_missing_directory_is_named_with_the_remedy(tmp_path: Path) -> None:
    """The line says what to create."""
    assert refusal(tmp_path / "run/c.sock") == (
        f"the control socket's directory {tmp_path}/run does not exist: create it (in Kubernetes, "
        "mount an emptyDir there) or change admin.control"
    )


def test_a_directory_that_is_a_file(tmp_path: Path) -> None:
    """The system's own words are passed on."""
    (tmp_path / "run").write_text("")
    path = tmp_path / "run/c.sock"
    assert refusal(path) == f"cannot make the control socket {path}: Not a directory"


def test_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    """A path too long for the system is an error too where the configuration let it pass."""
    path = tmp_path / ("x" * 120)
    assert refusal(path) == f"cannot make the control socket {path}: AF_UNIX path too long"


def test_release_removes_nothing_of_somebody_else(tmp_path: Path) -> None:
    """Whoever removed our socket and put another there keeps it."""
    path = tmp_path / "c.sock"
    with taken(path) as first:
        path.rename(tmp_path / "moved")
        with taken(path):
            first.release()
            assert path.exists()
        assert not path.exists()
        first.release()


def test_of_many_that_find_a_stale_socket_one_gets_it(tmp_path: Path) -> None:
    """Sidecars that start at once do not take the path away from each other."""
    path = tmp_path / "c.sock"
    barrier = threading.Barrier(8)

    def start() -> ControlSocket | None:
        barrier.wait()
        try:
            return ControlSocket(str(path))
        except ControlSocketError:
            return None

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as threads:
            for _ in range(25):
                leave_stale(path)
                results = [future.result() for future in [threads.submit(start) for _ in range(8)]]
                (winner,) = filter(None, results)
                with socket.socket(socket.AF_UNIX) as client:
                    client.connect(str(path))
                    winner.socket.accept()[0].close()
                winner.release()
                winner.socket.close()
    finally:
        sys.setswitchinterval(before)


def test_a_directory_locked_by_somebody_is_no_endless_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The start ends with a line rather than hanging."""
    monkeypatch.setattr(control_socket, "LOCK_PATIENCE_SECONDS", 0.05)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        line = refusal(tmp_path / "c.sock")
    finally:
        os.close(descriptor)
    assert line == f"another process keeps the control socket's directory {tmp_path} locked"


def test_in_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without a directory is one in the working directory."""
    monkeypatch.chdir(tmp_path)
    with taken(Path("c.sock")):
        assert (tmp_path / "c.sock").is_socket()
