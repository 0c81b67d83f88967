"""A file that somebody replaces while we run: what is in it now, or was last when it was good.

Owns looking again. What the content must be belongs to whoever names the file.
"""

import logging
import os
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from sidecar.config.references import ReferenceProblem, read_regular_file

T = TypeVar("T")

_log: Final = logging.getLogger("sidecar.credentials")


class FileProblem(Exception):  # noqa: N818 - words about a file of the operator's
    """There is nothing good in the file, and never was. The words follow what the file is."""


class ChangingFile(Generic[T]):
    """One file of at most *max_bytes*, read whenever it changed.

    What cannot be used does not replace what could: nobody writes a file in one step. The path
    and the cause are then said once.
    """

    def __init__(self, path: str, max_bytes: int, parse: Callable[[bytes], T]) -> None:
        """*parse* raises ``ValueError`` with words that follow a path, and quotes nothing."""
        self._path = path
        self._max_bytes = max_bytes
        self._parse = parse
        self._seen: tuple[int, int, int, int] | None = None
        self._held: tuple[T] | None = None

    def value(self) -> T:
        """Return what the file holds. Raises ``FileProblem``."""
        # Looked at before it is read: a change in between is then seen as one later.
        seen = self._look()
        if self._held is None or seen != self._seen:
            self._read()
            self._seen = seen
        assert self._held is not None  # or an error was raised
        return self._held[0]

    def _read(self) -> None:
        try:
            self._held = (self._parse(read_regular_file(self._path, self._max_bytes)),)
        except (ReferenceProblem, ValueError) as problem:
            if self._held is None:
                raise FileProblem(str(problem)) from None
            _log.warning("%s %s; what it held before stays in use", self._path, problem)

    def _look(self) -> tuple[int, int, int, int] | None:
        try:
            status = os.stat(self._path)
        except (OSError, ValueError):
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino, status.st_dev
