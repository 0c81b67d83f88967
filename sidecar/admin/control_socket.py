"""A listening Unix socket at a path: made so that nobody else can use it, and taken away again.

Owns the file. Who may ask what over it belongs to ``sidecar.admin.control``.
"""

import fcntl
import os
import socket
import stat
import sys
import time
from asyncio import BaseTransport
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from struct import Struct
from typing import Final

LOCK_PATIENCE_SECONDS: Final = 2.0
PROBE_PATIENCE_SECONDS: Final = 1.0
BACKLOG: Final = 16

_ONLY_OWNER: Final = 0o177
_CREDENTIALS: Final = Struct("iII")
"""``struct ucred``: process, user and group (unix(7))."""


class ControlSocketError(Exception):
    """The socket cannot be had; the message is one line that says what to change."""


class ControlSocket:
    """A socket that listens, with mode 0600 since it exists, at a path that was free or stale."""

    def __init__(self, path: str) -> None:
        """Take *path*. Blocks for an instant, so it belongs to the start.

        Raises:
            ControlSocketError: somebody else has it, or nobody can.
        """
        self.path = path
        try:
            # Two sidecars that start at once would both find the same socket stale, and the
            # slower one would take away what the faster one had just made.
            with _locked(os.path.dirname(path) or "."):
                _remove_stale(path)
                self.socket = _listening(path)
                found = os.lstat(path)
        except OSError as error:
            cause = os.strerror(error.errno) if error.errno else str(error)
            raise ControlSocketError(f"cannot make the control socket {path}: {cause}") from error
        self._identity = found.st_dev, found.st_ino

    def release(self) -> None:
        """Remove the file, if it is still ours. Goes before closing: a live socket is never stale.

        Failing is no fault: what is left is replaced by the next sidecar.
        """
        with suppress(OSError):
            found = os.lstat(self.path)
            if (found.st_dev, found.st_ino) == self._identity:
                os.unlink(self.path)


def peer_uid(transport: BaseTransport) -> int | None:
    """Return the user on the other end, as it was when it connected; ``None`` where that is not
    told, and the mode of the file is all there is.
    """
    if sys.platform != "linux":
        return None
    connection = transport.get_extra_info("socket")
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid: int = _CREDENTIALS.unpack(packed)[1]
    return uid


@contextmanager
def _locked(directory: str) -> Iterator[None]:
    """Keep other sidecars out of *directory* meanwhile. Leaves nothing behind."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise ControlSocketError(
            f"the control socket's directory {directory} does not exist: create it (in Kubernetes, "
            "mount an emptyDir there) or change admin.control"
        ) from None
    try:
        ends_at = time.monotonic() + LOCK_PATIENCE_SECONDS
        while not _try_lock(descriptor):
            if time.monotonic() >= ends_at:
                raise ControlSocketError(
                    f"another process keeps the control socket's directory {directory} locked"
                )
            time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _remove_stale(path: str) -> None:
    """Remove a socket that nobody listens on; anything else at *path* stays and is an error."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise ControlSocketError(
            f"{path} exists and is no socket: remove it or change admin.control"
        )
    if _is_live(path):
        raise ControlSocketError(
            f"another process listens on the control socket {path}: stop it, or give this "
            "sidecar an admin.control of its own"
        )
    os.unlink(path)


def _is_live(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_PATIENCE_SECONDS)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return False
        except (BlockingIOError, TimeoutError):
            return True  # its backlog is full, so it has one
    return True


def _listening(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # The mode is decided while the file is made: afterwards would be too late for a moment.
    before = os.umask(_ONLY_OWNER)
    try:
        listener.bind(path)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(before)
    return listener
