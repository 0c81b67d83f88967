"""Ways to a control socket for the live page: the socket itself, or `kubectl exec` into a pod.

Owns the connection and the words for what goes wrong with it. Blocking, with a time limit for each
question; one question at a time. What is asked, and by whom, belongs to ``sidecar.cli.bridge``.
"""

import shutil
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import IO, Final, Protocol

from sidecar.cli.control_client import (
    MAX_ANSWER_BYTES,
    PATIENCE_SECONDS,
    SERVER,
    ControlError,
    ImpatientSocket,
    UnixConnection,
    broken,
    cause,
)

POD_PATIENCE_SECONDS: Final = 20.0
"""A first answer from a pod waits for the API server, and for an interpreter to start there."""

_GRACE_SECONDS: Final = 2.0
_KEPT_LINES: Final = 20
_KEPT_LINE_BYTES: Final = 500


@dataclass(frozen=True, slots=True)
class Answer:
    """What the sidecar said."""

    status: int
    content_type: str
    content: bytes


class Channel(Protocol):
    """A way to one sidecar."""

    def ask(self, target: str) -> Answer:
        """Return the answer to ``GET`` *target*. Raises ``ControlError``."""
        ...

    def interrupt(self) -> None:
        """Make a question that waits fail soon, where it can. From any thread."""
        ...

    def close(self) -> None:
        """End whatever is open. Harmless when nothing is."""
        ...


class SocketChannel:
    """The control socket of a sidecar that runs on this machine, connected to for each question."""

    def __init__(self, path: str, *, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._path = path
        self._patience_seconds = patience_seconds

    def ask(self, target: str) -> Answer:
        connection = UnixConnection(self._path, self._patience_seconds)
        try:
            return _answer(connection, target, self._path)
        except TimeoutError:
            raise _silent(self._path, self._patience_seconds) from None
        except (HTTPException, ConnectionError) as error:
            raise broken(self._path, error) from None
        except OSError as error:
            raise ControlError(cause(self._path, error)) from None
        finally:
            connection.close()

    def interrupt(self) -> None:
        pass

    def close(self) -> None:
        pass


class PodChannel:
    """A command whose standard input and output are a control socket, kept for many questions.

    The sidecar closes a connection that falls silent, which ends the command in the pod: nothing
    is left there by a page that nobody looks at. The next question starts it again.
    """

    def __init__(
        self, command: Sequence[str], *, patience_seconds: float = POD_PATIENCE_SECONDS
    ) -> None:
        """*command* is ``kubectl exec …`` to the end."""
        self._command = tuple(command)
        self._patience_seconds = patience_seconds
        self._open: _Exec | None = None

    def ask(self, target: str) -> Answer:
        kept = self._open
        if kept is not None and kept.is_alive():
            # The sidecar may have closed it just as we asked.
            with suppress(_EndedError):
                return self._ask(kept, target)
        self.close()
        self._open = _Exec(self._command)
        return self._ask(self._open, target)

    def interrupt(self) -> None:
        if (running := self._open) is not None:
            running.interrupt()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _ask(self, running: "_Exec", target: str) -> Answer:
        try:
            return _answer(running.connection(self._patience_seconds), target, "the pod")
        except TimeoutError:
            self.close()
            raise _silent("the pod", self._patience_seconds) from None
        except (HTTPException, OSError):
            said = running.last_words()
            self.close()
            raise _EndedError(said or "kubectl exec ended without an answer") from None
        except ControlError:
            self.close()
            raise


def kubectl_exec(
    pod: str,
    *,
    container: str,
    namespace: str | None,
    context: str | None,
    remote: Sequence[str],
) -> list[str]:
    """Return the command that runs *remote* in the pod with our input and output.

    Raises:
        ControlError: there is no kubectl.
    """
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        raise ControlError(
            "kubectl is not on PATH: install it, or run `sidecar ui` where the sidecar's control "
            "socket is"
        )
    where = [] if context is None else ["--context", context]
    where += [] if namespace is None else ["--namespace", namespace]
    return [kubectl, *where, "exec", "--stdin", pod, "--container", container, "--", *remote]


class _EndedError(ControlError):
    """The command ended in place of an answer."""


class _Exec:
    """One running command, its two streams one socket of ours."""

    def __init__(self, command: Sequence[str]) -> None:
        ours, theirs = socket.socketpair()
        self._socket = ImpatientSocket.of(ours)
        try:
            # Not in our process group: Ctrl-C is for us, who then end it in order.
            self._process = subprocess.Popen(  # noqa: S603 - what the user asked for, no shell
                command,
                stdin=theirs.fileno(),
                stdout=theirs.fileno(),
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            self._socket.close()
            raise ControlError(f"{command[0]} cannot be run: {error.strerror}") from None
        finally:
            theirs.close()
        assert self._process.stderr is not None
        self._words = _LastWords(self._process.stderr)
        self._connection = _Kept(self._socket)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def connection(self, patience_seconds: float) -> HTTPConnection:
        """Return the connection, with so much time for the next answer."""
        self._socket.within(patience_seconds)
        return self._connection

    def last_words(self) -> str:
        """Return why it ended, as it said itself; empty where it runs or said nothing."""
        self._socket.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE_SECONDS)
        return self._words.last(_GRACE_SECONDS) if self._process.poll() else ""

    def interrupt(self) -> None:
        self._process.terminate()

    def close(self) -> None:
        """End its input, which ends it; insist where that is not enough."""
        self._socket.close()
        for insist in (self._process.terminate, self._process.kill):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_SECONDS)
                break
            insist()
        self._process.wait()
        self._words.close()


class _LastWords:
    """Reads what a process complains about, of which the end is kept."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._lines: deque[bytes] = deque(maxlen=_KEPT_LINES)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def last(self, patience_seconds: float) -> str:
        self._thread.join(patience_seconds)
        lines = [line.decode("utf-8", "replace").strip() for line in tuple(self._lines)]
        # kubectl adds its own line on how the command ended, which says less than the command.
        telling = [line for line in lines if line and not line.startswith("command terminated")]
        return telling[-1] if telling else (lines[-1] if lines else "")

    def close(self) -> None:
        self._thread.join(_GRACE_SECONDS)
        if not self._thread.is_alive():
            self._stream.close()

    def _read(self) -> None:
        while line := self._stream.readline(_KEPT_LINE_BYTES):
            self._lines.append(line)


class _Kept(HTTPConnection):
    """HTTP over a socket that is there already and cannot be had again."""

    auto_open = 0

    def __init__(self, connected: socket.socket) -> None:
        super().__init__("localhost")
        self.sock = connected


def _answer(connection: HTTPConnection, target: str, who: str) -> Answer:
    connection.request("GET", target)
    answer = connection.getresponse()
    content = answer.read(MAX_ANSWER_BYTES + 1)
    if len(content) > MAX_ANSWER_BYTES:
        raise ControlError(f"{who} answers more than {MAX_ANSWER_BYTES >> 20} MiB")
    if answer.length:
        raise ControlError(f"the answer from {who} is cut short")
    if answer.headers.get("Server") != SERVER:
        raise ControlError(f"what answers at {who} is no sidecar")
    return Answer(answer.status, answer.headers.get("Content-Type", ""), content)


def _silent(who: str, patience_seconds: float) -> ControlError:
    return ControlError(f"no answer from {who} within {patience_seconds:g} s")
