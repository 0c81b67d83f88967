"""Ask a running sidecar over its control socket, within a time limit for all of it.

Owns the words for everything that can go wrong on the way. What the answer means is the command's.
"""

import errno
import os
import socket
import stat
import time
from contextlib import suppress
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any, Final

from msgspec import DecodeError, Struct
from msgspec.json import decode

PATIENCE_SECONDS: Final = 5.0
MAX_ANSWER_BYTES: Final = 16 << 20
SERVER: Final = "jwt-sidecar"
_OK: Final = 200


class ControlError(Exception):
    """There is no answer; the message is one line that says why and what to try."""

    def __init__(self, message: str, status: int = 0, told: str = "") -> None:
        super().__init__(message)
        self.status: Final = status
        """Of an answer that says no; 0 where there is none."""
        self.told: Final = told
        """What such an answer says."""


def ask(
    path: str,
    target: str,
    *,
    method: str = "GET",
    patience_seconds: float = PATIENCE_SECONDS,
) -> bytes:
    """Return the content of the sidecar's answer to *method* and *target* at the socket *path*.

    Raises:
        ControlError: nobody answers, or somebody else, or the sidecar says no.
    """
    connection = UnixConnection(path, patience_seconds)
    try:
        connection.request(method, target, headers={"Connection": "close"})
        answer = connection.getresponse()
        content = _content(path, answer)
    except TimeoutError:
        raise ControlError(f"no answer from {path} within {patience_seconds:g} s") from None
    except (HTTPException, ConnectionError) as error:
        raise broken(path, error) from None
    except OSError as error:
        raise ControlError(cause(path, error)) from None
    finally:
        connection.close()
    if answer.headers.get("Server") != SERVER:
        raise ControlError(f"what answers at {path} is no sidecar")
    if answer.status != _OK:
        told = _first_line(content)
        raise ControlError(f"{path} says {answer.status}: {told}", answer.status, told)
    return content


def _content(path: str, answer: HTTPResponse) -> bytes:
    content = answer.read(MAX_ANSWER_BYTES + 1)
    if len(content) > MAX_ANSWER_BYTES:
        raise ControlError(f"{path} answers more than {MAX_ANSWER_BYTES >> 20} MiB")
    if answer.length:
        raise ControlError(f"the answer from {path} is cut short")
    return content


class _Refusal(Struct):
    error: str


def _first_line(content: bytes) -> str:
    with suppress(DecodeError):
        return decode(content, type=_Refusal).error[:200]
    lines = content.decode("utf-8", "replace").splitlines()
    return lines[0][:200] if lines else "nothing"


def broken(path: str, error: Exception) -> ControlError:
    """Say what it means that a connection to *path* broke."""
    if isinstance(error, ConnectionRefusedError):
        return ControlError(cause(path, error))
    if isinstance(error, ConnectionError):
        return ControlError(f"what listens at {path} hung up without an answer")
    return ControlError(f"what answers at {path} is no sidecar")


def cause(path: str, error: OSError) -> str:
    """Say why *path* cannot be connected to, and what to try."""
    match error.errno:
        case errno.ENOENT:
            return f"no socket at {path}: is the sidecar running, with this as admin.control?"
        case errno.EACCES:
            return f"{path} is closed to this user: ask as the user that runs the sidecar, or root"
        case errno.EAGAIN:
            return f"what listens at {path} takes no more connections"
        case errno.ECONNREFUSED | errno.ENOTSOCK | errno.EPROTOTYPE if not _is_socket(path):
            return f"{path} is no socket"
        case errno.ECONNREFUSED:
            return f"nobody listens at {path}: the sidecar that made it has ended"
        case _:
            return f"{path}: {error.strerror or error}"


def _is_socket(path: str) -> bool:
    try:
        return stat.S_ISSOCK(os.stat(path).st_mode)
    except OSError:
        return False


class UnixConnection(HTTPConnection):
    """HTTP over a Unix socket, for *patience_seconds* from now and not a moment longer."""

    def __init__(self, path: str, patience_seconds: float) -> None:
        super().__init__("localhost")
        self._path = path
        self._deadline = time.monotonic() + patience_seconds

    def connect(self) -> None:
        self.sock = ImpatientSocket(self._deadline)
        self.sock.settimeout(self.sock.left())
        self.sock.connect(self._path)


class ImpatientSocket(socket.socket):
    """Gives each read only the time that is left, so that a peer who drips gains nothing."""

    def __init__(self, deadline: float, fileno: int | None = None) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_STREAM, fileno=fileno)
        self._deadline = deadline

    @classmethod
    def of(cls, connected: socket.socket) -> "ImpatientSocket":
        """Return *connected*, which is ours from now on; without time until it is given some."""
        return cls(time.monotonic(), connected.detach())

    def within(self, seconds: float) -> None:
        """Allow so much time from now."""
        self._deadline = time.monotonic() + seconds
        self.settimeout(seconds)

    def left(self) -> float:
        """Return the time that is left. Raises ``TimeoutError`` when there is none."""
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def recv_into(self, *args: Any, **kwargs: Any) -> int:
        self.settimeout(self.left())
        return super().recv_into(*args, **kwargs)
