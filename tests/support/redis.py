"""A real Redis of its own, at a socket in a directory of the test's."""

import base64
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sidecar.config.model import RedisServer, SharedTokens, SharingKey
from tests.support.programs import needs_program

PACKAGE = "Debian's package redis-server"
KEY = SharingKey("1", bytes(range(32)))
KEY_TEXT = base64.b64encode(KEY.secret).decode()


class Redis:
    """One server. It can be stopped, started again with nothing in it, and made to say nothing."""

    def __init__(self, socket: Path, arguments: Sequence[str] = ()) -> None:
        self.socket = socket
        self._arguments = arguments
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Return when it accepts connections."""
        program = needs_program("redis-server", PACKAGE)
        command = [
            program,
            *("--port", "0", "--unixsocket", str(self.socket)),
            *("--save", "", "--appendonly", "no", "--dir", str(self.socket.parent)),
            *self._arguments,
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        said = []
        for line in self._process.stdout:  # it ends if the server does
            said.append(line)
            if "eady to accept connections" in line:
                return
        self.stop()
        raise AssertionError("redis-server did not start:\n" + "".join(said[-5:]))

    def stop(self) -> None:
        """Kill it: whoever is connected is cut off."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def pause(self) -> None:
        """Let it accept connections, as the kernel does for it, and answer nothing."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def configured(
        self,
        *keys: SharingKey,
        timeout_seconds: float = 5.0,
        username: str = "",
        password: str = "",
    ) -> SharedTokens:
        """Return how a sidecar shares here."""
        return SharedTokens(
            RedisServer(path=str(self.socket)),
            keys or (KEY,),
            username=username,
            password=password,
            timeout_seconds=timeout_seconds,
        )


@contextmanager
def redis_server(directory: Path, *arguments: str) -> Iterator[Redis]:
    """Run one with further *arguments* of its command line."""
    server = Redis(directory / "redis.sock", arguments)
    server.start()
    try:
        yield server
    finally:
        server.stop()
