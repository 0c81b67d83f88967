"""One JSON line per exchange: what was asked, decided and answered, and what it cost.

Owns the bounds of a record and the batching of lines. What goes into a record is the exchange's
business; writing batches without stalling the loop is ``sidecar.telemetry.writer``'s.
"""

import time
from collections.abc import Callable
from typing import Final, Literal

from msgspec.json import Encoder

from sidecar.telemetry.records import AccessRecord
from sidecar.telemetry.writer import BatchWriter

Mode = Literal["all", "refusals", "off"]

MAX_TEXT_LENGTH: Final = 512
"""Characters of any one value that a caller chooses; longer ones are cut and end in an ellipsis."""

MAX_BATCH_LINES: Final = 512
MAX_BATCH_BYTES: Final = 128 * 1024
MAX_WAITING_BATCHES: Final = 32
"""With ``MAX_BATCH_BYTES``: about 4 MiB wait for a reader who stalls; then lines are dropped."""


class AccessLog:
    """Turns records into lines and hands them on in batches. Never raises, never waits.

    When nobody reads the lines, new ones are dropped and counted: a log must not hold up the
    requests it is about.
    """

    def __init__(
        self,
        write: Callable[[bytes], object],
        mode: Mode = "all",
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Call *write*, in a thread of our own, with batches of whole lines."""
        self.logs_refusals = mode != "off"
        """Whether a record with a reason is wanted: asking costs less than building one."""
        self.logs_all = mode == "all"
        """Whether a record without a reason is wanted too."""
        self._clock = clock
        self._writer = BatchWriter(write, max_batches=MAX_WAITING_BATCHES)
        self._encode = Encoder().encode
        self._lines: list[bytes] = []
        self._bytes = 0
        self._dropped = 0
        self._millisecond = -1.0
        self._time = ""
        self._second = -1
        self._until_second = ""

    @property
    def dropped(self) -> int:
        """Lines lost so far, for want of a reader or because writing failed."""
        return self._dropped + self._writer.lost_lines

    def add(self, record: AccessRecord) -> None:
        """Append *record*, completed and bounded in place, if the mode wants it."""
        if not (self.logs_refusals if record.reason else self.logs_all):
            return
        millisecond = self._clock() * 1000 // 1
        if millisecond != self._millisecond:
            self._tell_time(millisecond)
        record.time = self._time
        # Half the cost of int() or round(), and no value makes it raise.
        record.duration_ms = record.duration_ms * 1000 // 1 / 1000
        record.overhead_ms = record.overhead_ms * 1000 // 1 / 1000
        texts = len(record.path) + len(record.subject) + len(record.detail) + len(record.method)
        if texts > MAX_TEXT_LENGTH or "?" in record.path:
            _bound(record)
        try:
            line = self._encode(record)
        except UnicodeEncodeError:
            # A claim or a path may hold half a surrogate pair, which no UTF-8 can say.
            _make_encodable(record)
            line = self._encode(record)
        lines = self._lines
        lines.append(line)
        self._bytes += len(line)
        if len(lines) >= MAX_BATCH_LINES or self._bytes >= MAX_BATCH_BYTES:
            self._hand_over_or_drop()

    def flush(self) -> None:
        """Hand over what there is. While the writer is behind, lines wait here up to a batch."""
        if self._lines and self._offer():
            self._begin_batch()

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Write what was added and end; wait at most *timeout_seconds*. Later records are ignored.

        Blocks its caller, so it belongs after the last exchange. May be called again.
        """
        deadline = time.monotonic() + timeout_seconds
        self.logs_all = self.logs_refusals = False
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

    def _tell_time(self, millisecond: float) -> None:
        # At the rates where a line's cost matters, many lines share a millisecond.
        self._millisecond = millisecond
        second, rest = divmod(int(millisecond), 1000)
        if second != self._second:
            self._second = second
            self._until_second = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        self._time = f"{self._until_second}{rest:03d}Z"


def _bound(record: AccessRecord) -> None:
    record.path = _shortened(record.path.partition("?")[0])
    record.method = _shortened(record.method)
    record.subject = _shortened(record.subject)
    record.detail = _shortened(record.detail)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_TEXT_LENGTH else text[: MAX_TEXT_LENGTH - 1] + "…"


def _make_encodable(record: AccessRecord) -> None:
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, str):
            setattr(record, name, value.encode("utf-8", "replace").decode())
