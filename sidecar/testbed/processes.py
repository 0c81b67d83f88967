"""Start programs as child processes, read what they announce, and never leave one behind.

Owns the life of one child: a bounded wait for its first words, a bounded memory of its last ones,
SIGTERM and then SIGKILL. Which programs belong together is the business of whoever starts them.
Children stay in our process group on purpose: what ends the group from outside (Ctrl-C, a closed
terminal, a CI time limit) reaches them too. Those that have children themselves get a group of
their own instead, and whoever starts one ends it when a signal says so.
"""

import asyncio
import os
import re
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

READY_SECONDS: Final = 20.0
SIDECAR: Final = (sys.executable, "-m", "sidecar")
"""The sidecar's command, by the interpreter that runs us."""
_GRACE_SECONDS: Final = 5.0
_KEPT_LINES: Final = 100
_KEPT_LINE_BYTES: Final = 4096
_STDERR: Final = 2

_LISTENING: Final = re.compile(
    r"listening (?:on )?(?:(?P<what>\S.*?) )?(?P<address>\S+:\d+)(?: -> \S+)?$"
)
_STARTED: Final = re.compile(r"^sidecar: (ready|started)$")


ReadLine = Callable[[str], None]
"""Is given each complete line, cut to its last 4 KiB, as it arrives."""


class ProcessError(Exception):
    """A child ended on its own, or did not say in time that it is ready.

    The message is one line; *last_lines* is the end of what the child wrote, standard error
    before standard output.
    """

    def __init__(self, message: str, last_lines: Sequence[str]) -> None:
        super().__init__(message)
        self.last_lines = tuple(last_lines)
        for line in last_lines:
            self.add_note(line)


class _Output:
    """The last lines of one stream; a line or a history over the bound loses its beginning."""

    def __init__(self, on_line: ReadLine | None = None) -> None:
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._on_line = on_line
        self._rest = b""

    def feed(self, data: bytes) -> None:
        *complete, rest = (self._rest + data).split(b"\n")
        for line in map(_text, complete):
            self.lines.append(line)
            if self._on_line is not None:
                self._on_line(line)
        self._rest = rest[-_KEPT_LINE_BYTES:]

    def all(self) -> list[str]:
        return [*self.lines, _text(self._rest)] if self._rest else list(self.lines)


def _text(line: bytes) -> str:
    return line[-_KEPT_LINE_BYTES:].decode("utf-8", "replace").rstrip("\r")


class _Watch(asyncio.SubprocessProtocol):
    """Keeps what the child says and notices its end; wakes whoever waits for either."""

    def __init__(self, on_stdout: ReadLine | None = None) -> None:
        self.stdout = _Output(on_stdout)
        self.stderr = _Output()
        self.ended = asyncio.Event()
        self.news = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        (self.stderr if fd == _STDERR else self.stdout).feed(data)
        self.news.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        # Called when the process is gone and both pipes are read to their end.
        self.ended.set()
        self.news.set()


class ChildProcess:
    """One running program. Only :func:`child_process` makes one, and always ends it."""

    def __init__(self, name: str, transport: asyncio.SubprocessTransport, watch: _Watch) -> None:
        self.name = name
        self._transport = transport
        self._watch = watch

    @property
    def pid(self) -> int:
        """The process id."""
        return self._transport.get_pid()

    @property
    def exit_code(self) -> int | None:
        """``None`` while it runs; minus the signal's number when a signal ended it."""
        return self._transport.get_returncode()

    def last_lines(self, count: int = 10) -> list[str]:
        """The end of standard error, or of standard output where standard error is silent."""
        lines = self._watch.stderr.all() or self._watch.stdout.all()
        return lines[-count:]

    def announced(self) -> dict[str, str]:
        """Every listening address it has announced so far, by what listens there."""
        found = filter(None, map(_LISTENING.search, self._lines()))
        return {match["what"] or "": match["address"] for match in found}

    def check(self) -> None:
        """Raise ``ProcessError`` if it has ended."""
        if self.exit_code is not None:
            raise ProcessError(
                f"{self.name} ended with {_spoken(self.exit_code)}", self.last_lines()
            )

    async def line(self, pattern: re.Pattern[str], *, timeout_seconds: float) -> re.Match[str]:
        """Return the first line, past or future, in which *pattern* is found.

        Raises ``ProcessError`` when the child ends first or the time is over.
        """
        try:
            async with asyncio.timeout(timeout_seconds):
                while True:
                    self._watch.news.clear()
                    for match in filter(None, map(pattern.search, self._lines())):
                        return match
                    if self._watch.ended.is_set():
                        break
                    await self._watch.news.wait()
        except TimeoutError:
            message = f"{self.name} was not ready within {timeout_seconds:g} s"
            raise ProcessError(message, self.last_lines()) from None
        message = f"{self.name} ended with {_spoken(self.exit_code)} before it was ready"
        raise ProcessError(message, self.last_lines())

    async def end(self, *, timeout_seconds: float) -> int | None:
        """Wait for it to end on its own and return its exit code, ``None`` if it has not."""
        await self._end(timeout_seconds)
        return self.exit_code

    async def stop(self, *, grace_seconds: float = _GRACE_SECONDS) -> int | None:
        """Ask with SIGTERM, insist with SIGKILL, and return the exit code. Repeatable."""
        try:
            if self.exit_code is None:
                with suppress(ProcessLookupError):
                    self._transport.terminate()
            await self._end(grace_seconds)
        finally:
            # Reached on cancellation as well: a second Ctrl-C shortens the grace to nothing.
            if self.exit_code is None:
                with suppress(ProcessLookupError):
                    self._transport.kill()
                await self._end(_GRACE_SECONDS)
        return self.exit_code

    async def _end(self, timeout_seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await self._watch.ended.wait()

    def _lines(self) -> list[str]:
        return [*self._watch.stderr.lines, *self._watch.stdout.lines]


def _spoken(exit_code: int | None) -> str:
    match exit_code:
        case int() if exit_code < 0:
            return f"signal {-exit_code}"
        case _:
            return f"exit code {exit_code}"


@asynccontextmanager
async def child_process(
    name: str,
    arguments: Sequence[str],
    *,
    environment: Mapping[str, str],
    on_stdout: ReadLine | None = None,
    with_children: bool = False,
) -> AsyncIterator[ChildProcess]:
    """Run a program for the length of the block and end it with the block, whatever ends that.

    *on_stdout* reads all of standard output, of which only the end is kept. *with_children* gives
    it a session of its own, of which nothing is left: a server's workers may outlive their
    master. Raises ``OSError`` when the program cannot be started at all.
    """
    loop = asyncio.get_running_loop()
    transport, watch = await loop.subprocess_exec(
        lambda: _Watch(on_stdout),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        env=dict(environment),
        start_new_session=with_children,
    )
    child = ChildProcess(name, transport, watch)
    try:
        yield child
    finally:
        try:
            await child.stop()
        finally:
            if with_children:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL)
            transport.close()


@asynccontextmanager
async def service(
    name: str,
    script: Path,
    *arguments: str,
    environment: Mapping[str, str],
    timeout_seconds: float = READY_SECONDS,
) -> AsyncIterator[tuple[ChildProcess, str]]:
    """Run a Python *script* and yield it with the ``host:port`` it announced."""
    command = (sys.executable, str(script), *arguments)
    async with child_process(name, command, environment=environment) as child:
        announcement = await child.line(_LISTENING, timeout_seconds=timeout_seconds)
        yield child, announcement["address"]


@dataclass(frozen=True, slots=True)
class RunningSidecar:
    """A sidecar that listens, and where each of its listeners really is."""

    process: ChildProcess
    listeners: Mapping[str, str]
    """``host:port`` by what listens there, in the sidecar's words: ``inbound``, ``admin`` …"""

    def listener(self, *words: str) -> str:
        """Return the one address announced with all of *words*; ``KeyError`` if there is none."""
        for what, address in self.listeners.items():
            if set(words) <= set(what.split()):
                return address
        raise KeyError(f"{self.process.name} announced no listener for {' '.join(words)}")


@asynccontextmanager
async def sidecar(
    name: str,
    configuration: Path,
    *,
    command: Sequence[str] = SIDECAR,
    timeout_seconds: float = READY_SECONDS,
    on_access_log: ReadLine | None = None,
) -> AsyncIterator[RunningSidecar]:
    """Run a sidecar with *configuration* and yield it once all its listeners are bound.

    *command* is what ``run --config`` is appended to: another program may stand in. Whether the
    issuers' keys are loaded is for ``/readyz`` to say. *on_access_log* is given every line of
    the access log; the last ones when the sidecar has ended.
    """
    arguments = (*command, "run", "--config", str(configuration))
    async with child_process(
        name, arguments, environment=child_environment(), on_stdout=on_access_log
    ) as child:
        await child.line(_STARTED, timeout_seconds=timeout_seconds)
        yield RunningSidecar(child, child.announced())


def child_environment(**changes: str) -> dict[str, str]:
    """Our environment for a child: *changes* applied, and no proxy between it and loopback."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }
    return {**inherited, "PYTHONUNBUFFERED": "1", **changes}
