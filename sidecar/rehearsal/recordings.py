"""Recorded decisions from files of any size: plain, rotated or compressed, or from standard input.

Owns reading them line by line within bounds. What a line cannot be is counted and passed over.
"""

import gzip
import sys
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Final

from msgspec import DecodeError
from msgspec.json import Decoder

from sidecar.telemetry.decision_records import FORMAT, DecisionRecord

MAX_LINE_BYTES: Final = 256 * 1024
_MARK: Final = b'"record":"decision/'
_GZIP: Final = b"\x1f\x8b"


class RecordingError(Exception):
    """A file cannot be read; the message is one line."""


@dataclass(slots=True)
class Counts:
    """What was in the files besides recorded decisions of this format."""

    records: int = 0
    malformed: int = 0
    """Lines that are no JSON, too long, or a record without what every record has."""
    others: int = 0
    """Lines of the access log, or of anything else that is JSON."""
    versions: int = 0
    """Records of a format that this version does not know."""
    first: str = ""
    last: str = ""

    @property
    def seconds(self) -> float:
        """From the first to the last moment recorded."""
        if not self.first:
            return 0.0
        return moment(self.last) - moment(self.first)


def moment(text: str) -> float:
    """Return a recorded time in seconds since the epoch."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        return 0.0


def read(paths: Iterable[str], counts: Counts) -> Iterator[DecisionRecord]:
    """Yield each record in the files at *paths*; ``-`` is standard input.

    Raises:
        RecordingError: a file cannot be opened, or breaks off in compressed data.
    """
    decode = Decoder(DecisionRecord).decode
    for path in paths:
        for line in _lines(path, counts):
            try:
                record = decode(line)
            except (DecodeError, UnicodeDecodeError):
                _count_other(line, counts)
                continue
            if record.record != FORMAT:
                counts.versions += 1
                continue
            counts.records += 1
            if record.time:
                counts.first = min(counts.first or record.time, record.time)
                counts.last = max(counts.last, record.time)
            yield record


def _count_other(line: bytes, counts: Counts) -> None:
    if _MARK not in line:
        is_object = line.startswith(b"{") and line.endswith(b"}")
        if is_object:
            counts.others += 1
        else:
            counts.malformed += 1
    elif _MARK + FORMAT.rpartition("/")[2].encode() + b'"' in line:
        counts.malformed += 1
    else:
        counts.versions += 1


def _lines(path: str, counts: Counts) -> Iterator[bytes]:
    try:
        with _opened(path) as file:
            while line := file.readline(MAX_LINE_BYTES):
                if not line.endswith(b"\n") and len(line) == MAX_LINE_BYTES:
                    counts.malformed += 1
                    while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                        pass
                elif stripped := line.strip():
                    yield stripped
    except (OSError, EOFError, ValueError, zlib.error) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise RecordingError(f"{path} cannot be read: {cause}") from error


@contextmanager
def _opened(path: str) -> Iterator[IO[bytes]]:
    if path == "-":
        yield sys.stdin.buffer
        return
    with open(path, "rb") as file:
        if file.peek(2)[:2] != _GZIP:
            yield file
            return
        with gzip.open(file) as inflated:
            yield inflated  # type: ignore[misc] # which reads bytes
