"""One JSON line per exchange: what was asked, decided and answered, and what it cost.

Owns the bounds of a record. What goes into a record is the exchange's business; batching lines and
writing them without stalling the loop is that of ``sidecar.telemetry.lines`` and ``.writer``.
"""

import time
from collections.abc import Callable
from typing import Final, Literal

from msgspec.json import Encoder

from sidecar.telemetry.lines import Lines, Moments
from sidecar.telemetry.records import AccessRecord, AttachedRecord

Mode = Literal["all", "refusals", "off"]

MAX_TEXT_LENGTH: Final = 512
"""Characters of any one value that a caller chooses; longer ones are cut and end in an ellipsis."""


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
        self._lines = Lines(write, "access-log")
        self._moments = Moments()
        self._encode = Encoder().encode

    @property
    def dropped(self) -> int:
        """Lines lost so far, for want of a reader or because writing failed."""
        return self._lines.dropped

    def add(self, record: AccessRecord) -> None:
        """Append *record*, completed and bounded in place, if the mode wants it."""
        if not (self.logs_refusals if record.reason else self.logs_all):
            return
        record.time = self._moments.told(self._clock())
        # Half the cost of int() or round(), and no value makes it raise.
        record.duration_ms = record.duration_ms * 1000 // 1 / 1000
        record.overhead_ms = record.overhead_ms * 1000 // 1 / 1000
        texts = len(record.path) + len(record.subject) + len(record.detail) + len(record.method)
        if texts > MAX_TEXT_LENGTH or "?" in record.path:
            _bound(record)
        if record.attached is not None:
            record.attached = _bounded(record.attached)
        try:
            line = self._encode(record)
        except UnicodeEncodeError:
            # A claim or a path may hold half a surrogate pair, which no UTF-8 can say.
            _make_encodable(record)
            line = self._encode(record)
        self._lines.add(line)

    def flush(self) -> None:
        """Hand over what there is. While the writer is behind, lines wait here up to a batch."""
        self._lines.flush()

    def close(self, timeout_seconds: float = 2.0) -> None:
        """Write what was added and end; wait at most *timeout_seconds*. Later records are ignored.

        Blocks its caller, so it belongs after the last exchange. May be called again.
        """
        self.logs_all = self.logs_refusals = False
        self._lines.close(timeout_seconds)


def _bound(record: AccessRecord) -> None:
    record.path = _shortened(record.path.partition("?")[0])
    record.method = _shortened(record.method)
    record.subject = _shortened(record.subject)
    record.detail = _shortened(record.detail)


def _bounded(attached: AttachedRecord) -> AttachedRecord:
    """Return it with its texts bounded, and such that they can be encoded."""
    return AttachedRecord(
        attached.kind,
        attached.token,
        _encodable(_shortened(attached.subject)),
        _encodable(_shortened(attached.actor)),
        _encodable(_shortened(attached.audience)),
    )


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_TEXT_LENGTH else text[: MAX_TEXT_LENGTH - 1] + "…"


def _make_encodable(record: AccessRecord) -> None:
    for name in record.__struct_fields__:
        value = getattr(record, name)
        if isinstance(value, str):
            setattr(record, name, _encodable(value))
    record.actors = tuple(_encodable(each) for each in record.actors)


def _encodable(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
