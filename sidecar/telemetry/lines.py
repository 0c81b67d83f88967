"""Lines on their way to a writer: batched, bounded, and dropped rather than waited for.

Owns when a batch is full and what becomes of one that nobody takes, and the written form of a
moment. Writing batches is ``sidecar.telemetry.writer``'s; what a line says, a log's.
"""

import time
from collections.abc import Callable
from typing import Final

from sidecar.telemetry.writer import BatchWriter

MAX_BATCH_LINES: Final = 512
MAX_BATCH_BYTES: Final = 128 * 1024
MAX_WAITING_BATCHES: Final = 32
"""With ``MAX_BATCH_BYTES``: about 4 MiB wait for a reader who stalls; then lines are dropped."""


class Lines:
    """Collects lines and hands them on in batches. Never raises, never waits.

    When nobody takes the batches, new lines are dropped and counted: a log must not hold up the
    requests it is about.
    """

    def __init__(self, write: Callable[[bytes], object], name: str) -> None:
        """Call *write*, in a thread of our own called *name*, with batches of whole lines."""
        self._writer = BatchWriter(write, max_batches=MAX_WAITING_BATCHES, name=name)
        self._lines: list[bytes] = []
        self._bytes = 0
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Lines lost so far, for want of a reader or because writing failed."""
        return self._dropped + self._writer.lost_lines

    def add(self, line: bytes) -> None:
        """Append *line*, which has no newline yet."""
        lines = self._lines
        lines.append(line)
        self._bytes += len(line)
        if len(lines) >= MAX_BATCH_LINES or self._bytes >= MAX_BATCH_BYTES:
            self._hand_over_or_drop()

    def flush(self) -> None:
        """Hand over what there is. While the writer is behind, lines wait here up to a batch."""
        if self._lines and self._offer():
            self._begin_batch()

    def close(self, timeout_seconds: float) -> None:
        """Write what was added and end; wait at most *timeout_seconds*. May be called again."""
        deadline = time.monotonic() + timeout_seconds
        if self._lines:
            self._hand_over_or_drop(timeout_seconds)
        self._writer.close(max(0.0, deadline - time.monotonic()))

    def _hand_over_or_drop(self, timeout_seconds: float = 0.0) -> None:
        if not self._offer(timeout_seconds):
            self._dropped += len(self._lines)
        self._begin_batch()

    def _offer(self, timeout_seconds: float = 0.0) -> bool:
        batch = b"\n".join(self._lines) + b"\n"
        return self._writer.offer(batch, len(self._lines), timeout_seconds=timeout_seconds)

    def _begin_batch(self) -> None:
        self._lines.clear()
        self._bytes = 0


class Moments:
    """Instants as RFC 3339 has them, in UTC with milliseconds; each is formatted once."""

    def __init__(self) -> None:
        self._millisecond = -1.0
        self._time = ""
        self._second = -1
        self._until_second = ""

    def told(self, now: float) -> str:
        """Return *now*, in seconds since the epoch, as text."""
        # At the rates where a line's cost matters, many lines share a millisecond.
        millisecond = now * 1000 // 1
        if millisecond != self._millisecond:
            self._millisecond = millisecond
            second, rest = divmod(int(millisecond), 1000)
            if second != self._second:
                self._second = second
                self._until_second = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
            self._time = f"{self._until_second}{rest:03d}Z"
        return self._time
