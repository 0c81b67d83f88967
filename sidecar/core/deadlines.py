"""How long somebody will wait, as header fields say it.

There is no standard for that. gRPC has ``grpc-timeout`` with units of its own, Envoy has fields in
milliseconds whose names end in ``-ms``; whatever else an organisation uses is taken for seconds,
or for a number and a unit.
"""

import re
from collections.abc import Iterable
from math import inf
from typing import Final

GRPC_TIMEOUT: Final = b"grpc-timeout"
LEAST_SECONDS: Final = 0.005
"""With less time left than this nothing is begun: no answer would come in time."""

_GRPC_UNITS: Final = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_UNITS: Final = {b"": 1.0, b"ms": 1e-3, b"s": 1.0, b"m": 60.0, b"h": 3600.0}
_GRPC = re.compile(rb"([0-9]{1,8})([HMSmun])")
_MILLISECONDS = re.compile(rb"[0-9]{1,12}")
_SECONDS = re.compile(rb"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h|)")
_MOST_GRPC: Final = 99_999_999


def read_seconds(name: bytes, value: bytes) -> float | None:
    """Return what the field *name* says, or ``None`` where it says nothing.

    *name* is in lower case. Nobody waits for no time at all: where 0 stands, something else is
    meant, such as no limit.
    """
    if name == GRPC_TIMEOUT:
        match = _GRPC.fullmatch(value)
        seconds = 0.0 if match is None else int(match[1]) * _GRPC_UNITS[match[2]]
    elif name.endswith(b"-ms"):
        seconds = int(value) / 1000 if _MILLISECONDS.fullmatch(value) else 0.0
    else:
        match = _SECONDS.fullmatch(value)
        seconds = 0.0 if match is None else float(match[1]) * _UNITS[match[2]]
    return seconds if seconds > 0.0 else None


def write_seconds(name: bytes, seconds: float) -> bytes:
    """Return *seconds*, rounded down to milliseconds, as the field *name* says it."""
    milliseconds = max(int(seconds * 1000), 1)
    if name == GRPC_TIMEOUT:
        return b"%dm" % min(milliseconds, _MOST_GRPC)
    if name.endswith(b"-ms"):
        return b"%d" % milliseconds
    return b"%d.%03d" % divmod(milliseconds, 1000)


class DeadlineFields:
    """Finds the fields of some names among field lines, each with its CRLF."""

    def __init__(self, names: Iterable[str]) -> None:
        """*names* are in lower case."""
        self._names = frozenset(name.encode() for name in names)

    def read(self, lines: list[bytes]) -> tuple[float, int]:
        """Return the least seconds that are said, ``inf`` where none are, and how many fields
        could not be read.
        """
        least, malformed = inf, 0
        for index in self.find(lines):
            name, _, value = lines[index].partition(b":")
            seconds = read_seconds(name.lower(), value.strip())
            if seconds is None:
                malformed += 1
            elif seconds < least:
                least = seconds
        return least, malformed

    def find(self, lines: list[bytes]) -> list[int]:
        """Return where the fields stand."""
        names = self._names
        return [
            index
            for index, line in enumerate(lines)
            if line and line[: line.find(b":")].lower() in names
        ]
