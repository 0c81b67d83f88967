"""A log in a file that never grows over its bound: rotated by size, a few older ones kept.

Owns opening, rotation and noticing that somebody else moved the file. Runs in the writer's thread.
"""

import logging
import os
import stat
from collections.abc import Callable
from typing import Final

_MODE: Final = 0o600
"""Who called what is nobody else's business."""


class RotatingFile:
    """Writes batches of lines to *path*; older ones are ``path.1`` to ``path.N``, the newest first.

    What is no regular file (a pipe, ``/dev/stderr``) is never rotated. A batch is written whole or
    reported as lost, and begins on a line of its own after one that was not.
    """

    def __init__(
        self,
        path: str,
        *,
        max_bytes: int,
        keep: int,
        warn: Callable[..., object] | None = None,
    ) -> None:
        """Open *path*, appending to what is there. Raises OSError."""
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep
        self._warn = logging.getLogger("sidecar.log").warning if warn is None else warn
        self._failing = False
        self._is_closed = False
        self._descriptor = -1
        self._size = 0
        self._torn = False
        self._regular = False
        self._open()

    def __call__(self, batch: bytes) -> None:
        """Append *batch*. Raises OSError when it could not be written whole."""
        if self._is_closed:
            raise ValueError("the log is closed")
        try:
            self._make_room(len(batch))
            self._write(batch)
        except OSError as error:
            if not self._failing:
                self._failing = True
                # Once until it works again: a full disk must not fill the other log.
                self._warn("%s cannot be written: %s; lines are lost", self._path, error.strerror)
            raise
        self._failing = False

    def close(self) -> None:
        """Close the file; later batches are lost. May be called again."""
        self._is_closed = True
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        # A pipe without a reader would hold up the start for ever.
        descriptor = os.open(self._path, flags | os.O_NONBLOCK, _MODE)
        os.set_blocking(descriptor, True)
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._descriptor = descriptor
        found = os.fstat(descriptor)
        self._regular = stat.S_ISREG(found.st_mode)
        self._size = found.st_size
        self._torn = self._regular and self._size > 0 and not _ends_a_line(self._path)

    def _make_room(self, length: int) -> None:
        if self._descriptor < 0:
            self._open()
        if not self._regular:
            return
        if self._was_moved():
            self._open()
        if self._size and self._size + length + 1 > self._max_bytes:
            self._rotate()

    def _was_moved(self) -> bool:
        try:
            there = os.stat(self._path)
        except FileNotFoundError:
            return True
        return not os.path.samestat(there, os.fstat(self._descriptor))

    def _rotate(self) -> None:
        if not self._keep:
            os.ftruncate(self._descriptor, 0)
            self._size, self._torn = 0, False
            return
        for number in range(self._keep, 1, -1):
            older = f"{self._path}.{number - 1}"
            if os.path.lexists(older):
                os.replace(older, f"{self._path}.{number}")
        os.replace(self._path, f"{self._path}.1")
        self._open()

    def _write(self, batch: bytes) -> None:
        rest = memoryview(b"\n" + batch if self._torn else batch)
        while rest:
            written = os.write(self._descriptor, rest)
            self._size += written
            self._torn = written < len(rest)
            rest = rest[written:]


def _ends_a_line(path: str) -> bool:
    with open(path, "rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"
