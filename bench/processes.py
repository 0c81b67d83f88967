"""Start programs pinned to a core, ask how large they are, and end them whatever happens."""

import http.client
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.programs import BenchError, find_program

READY_TIMEOUT_SECONDS = 20.0
STOP_TIMEOUT_SECONDS = 5.0
POLL_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class Memory:
    """What one process holds; *anonymous* is what no other pod could share."""

    resident_kib: int
    anonymous_kib: int


def parse_smaps_rollup(text: str) -> Memory:
    """Read ``/proc/PID/smaps_rollup`` (proc_pid_smaps(5))."""
    fields = {}
    for line in text.splitlines()[1:]:
        name, _, value = line.partition(":")
        fields[name] = int(value.split()[0])
    return Memory(resident_kib=fields["Rss"], anonymous_kib=fields["Anonymous"])


def free_port() -> int:
    """Return a port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Process:
    """A running program on one core. Leaving the block ends it: asked first, then killed.

    Standard output is discarded (the sidecar's access log goes there), standard error kept
    in *log* for the one line that says why a program did not come up.
    """

    def __init__(self, argv: Sequence[str], *, core: int, log: Path) -> None:
        self._log = log
        self.started_at = time.perf_counter()
        with log.open("wb") as errors:
            self._popen = subprocess.Popen(
                [find_program("taskset"), "-c", str(core), *argv],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ask it to end, then kill it. Returns when it is gone; harmless if it already was."""
        self._popen.send_signal(signal.SIGTERM)
        try:
            self._popen.wait(STOP_TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()

    @property
    def pid(self) -> int:
        # taskset replaces itself with the program, so this is the program's own.
        return self._popen.pid

    def memory(self) -> Memory:
        return parse_smaps_rollup(Path(f"/proc/{self.pid}/smaps_rollup").read_text())

    def wait_until_ready(self, port: int, path: str) -> float:
        """Return seconds from exec to the first 200 on *path*.

        Raises ``BenchError`` if the program ends before that, or takes too long.
        """
        deadline = self.started_at + READY_TIMEOUT_SECONDS
        while time.perf_counter() < deadline:
            if _answers(port, path):
                return time.perf_counter() - self.started_at
            if self._popen.poll() is not None:
                raise BenchError(f"{self._name} ended: {self._last_words()}")
            time.sleep(POLL_SECONDS)
        raise BenchError(
            f"{self._name} not ready after {READY_TIMEOUT_SECONDS:.0f} s: {self._last_words()}"
        )

    @property
    def _name(self) -> str:
        arguments = self._popen.args
        assert isinstance(arguments, list)
        return Path(arguments[3]).name

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
