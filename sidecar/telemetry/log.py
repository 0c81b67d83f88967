"""The operator's log on standard error: one line of plain text per event.

Owns the form of a line and who may write one. What is worth an event is decided where it happens,
through ``logging.getLogger("sidecar....")``.
"""

import logging
import re
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, Literal, TextIO

Level = Literal["debug", "info", "warning", "error"]

MAX_LINE_LENGTH: Final = 4096
"""Characters; longer lines are cut and end in an ellipsis."""

MAX_FRAMES: Final = 8
"""Innermost frames named for an exception."""

_ROOT: Final = "sidecar"
# What could end a line or steer a terminal: C0, DEL, C1 and Unicode's own line separators.
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class LineFormatter(logging.Formatter):
    """``<RFC 3339 UTC> <level> <logger>: <message>``, exceptions included, on one line.

    Messages quote what peers sent, so control characters are escaped: nobody outside may begin a
    line of ours.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return the line for *record*, without its newline."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message = f"{message}: {_described(record.exc_info[1])}"
        line = (
            f"{moment}.{int(record.msecs):03d}Z {record.levelname.lower()} {record.name}: {message}"
        )
        line = _CONTROL.sub(lambda match: ascii(match[0])[1:-1], line)
        return line if len(line) <= MAX_LINE_LENGTH else line[: MAX_LINE_LENGTH - 1] + "…"


@contextmanager
def operator_log(level: Level, stream: TextIO | None = None) -> Iterator[None]:
    """Write our events from *level* up, and other libraries' from warning up, to *stream*.

    *stream* is standard error unless given. On exit logging is as it was before.
    """
    root, ours = logging.getLogger(), logging.getLogger(_ROOT)
    before = root.handlers[:], root.level, ours.level
    handler = logging.StreamHandler(sys.stderr if stream is None else stream)
    handler.setFormatter(LineFormatter())
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    ours.setLevel(level.upper())
    try:
        yield
    finally:
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        ours.setLevel(before[2])


def _described(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)[-MAX_FRAMES:]
    places = " < ".join(f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames[::-1])
    text = f"{type(error).__name__}: {error}"
    return f"{text} [{places}]" if places else text
