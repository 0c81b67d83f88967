"""The last ten minutes of the counters, so that a page opened after an incident shows it.

Owns the steps and their bound. Everything lies in arrays that are made once and never grow; taking
a step costs some sums over the routes.
"""

from array import array
from collections.abc import Callable, Iterable
from operator import add
from typing import Final

from msgspec import Struct

from sidecar.telemetry.metrics import (
    DURATION_BOUNDS,
    OTHER,
    OVERHEAD_BOUNDS,
    Direction,
    Metrics,
)

STEP_SECONDS: Final = 2.0
STEPS: Final = 300
MAX_SERIES_PER_STEP: Final = 32
"""Refusals, or attributions, of one step by their labels; what is beyond them counts as other."""

DIRECTIONS: Final = ("inbound", "outbound")

_DURATIONS: Final = len(DURATION_BOUNDS) + 1
_OVERHEADS: Final = len(OVERHEAD_BOUNDS) + 1
_COUNTS: Final = 2 + _DURATIONS + _OVERHEADS
"""Of one direction: requests, those with a 5xx, and both histograms."""
_GAUGES: Final = len(DIRECTIONS) + 1
_COLUMNS: Final = len(DIRECTIONS) * _COUNTS + _GAUGES
_LARGEST: Final = 2**32 - 1

Labels = tuple[str, ...]
Counts = tuple[tuple[Labels, int], ...]


class DirectionStep(Struct, frozen=True, kw_only=True):
    """What one direction did in one step."""

    requests: int
    errors: int
    """Those that ended with a 5xx, of ours or of the other side."""
    duration: tuple[int, ...]
    overhead: tuple[int, ...]
    in_flight: int


class Step(Struct, frozen=True, kw_only=True):
    """What happened between two looks at the counters."""

    seq: int
    time: float
    """When it ended, in seconds since the epoch."""
    seconds: float
    """How long it really was: a loop that was held up makes a longer one."""
    inbound: DirectionStep
    outbound: DirectionStep
    ledger: int
    refusals: Counts
    """By direction, reason, route and whether it was enforced."""
    attributions: Counts
    """By method, grade and outcome."""


class History:
    """Steps of two seconds, the newest three hundred. The oldest makes room for the next."""

    def __init__(
        self,
        metrics: Metrics,
        ledger: Callable[[], int],
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        """The first step begins now."""
        self._metrics = metrics
        self._ledger = ledger
        self._wall_clock = wall_clock
        self._directions = tuple(metrics.direction(name, ()) for name in DIRECTIONS)
        self._counts = array("I", bytes(4 * _COLUMNS * STEPS))
        self._times = array("d", bytes(8 * STEPS))
        self._seconds = array("d", bytes(8 * STEPS))
        self._refusals: list[Counts] = [()] * STEPS
        self._attributions: list[Counts] = [()] * STEPS
        self._taken = 0
        self._began_at = clock()
        self._last = self._totals()
        self._last_refusals = dict(self._refused())
        self._last_attributions = dict(metrics.attributions())

    def sweep(self, now: float) -> None:
        """Take a step when one is over; *now* is of the monotonic clock."""
        seconds = now - self._began_at
        if seconds < STEP_SECONDS:
            return
        self._began_at = now
        totals = self._totals()
        slot = self._taken % STEPS
        moved = [min(new - old, _LARGEST) for new, old in zip(totals, self._last, strict=True)]
        gauges = (*(max(0, each.in_flight) for each in self._directions), self._ledger())
        self._counts[slot * _COLUMNS : (slot + 1) * _COLUMNS] = array("I", (*moved, *gauges))
        self._times[slot] = self._wall_clock()
        self._seconds[slot] = seconds
        self._refusals[slot] = _moved(self._refused(), self._last_refusals)
        self._attributions[slot] = _moved(self._metrics.attributions(), self._last_attributions)
        self._last = totals
        self._taken += 1

    def since(self, seq: int) -> list[Step]:
        """Return the steps that are kept, in order, from number *seq* on."""
        first = max(0, self._taken - STEPS, seq)
        return [self._step(number) for number in range(first, self._taken)]

    def _step(self, number: int) -> Step:
        slot = number % STEPS
        row = self._counts[slot * _COLUMNS : (slot + 1) * _COLUMNS]
        inbound, outbound, ledger = row[-_GAUGES:]
        return Step(
            seq=number,
            time=round(self._times[slot], 3),
            seconds=round(self._seconds[slot], 3),
            inbound=_direction(row[:_COUNTS], inbound),
            outbound=_direction(row[_COUNTS : 2 * _COUNTS], outbound),
            ledger=ledger,
            refusals=self._refusals[slot],
            attributions=self._attributions[slot],
        )

    def _totals(self) -> list[int]:
        return [count for each in self._directions for count in _totals(each)]

    def _refused(self) -> Iterable[tuple[Labels, int]]:
        for each in self._directions:
            for (reason, route, enforced), count in each.refusals():
                yield (each.name, reason, route, "true" if enforced else "false"), count


def _totals(direction: Direction) -> list[int]:
    requests = errors = 0
    durations = [0] * _DURATIONS
    for route in direction.routes():
        counted, failed = route.totals()
        if counted:
            requests += counted
            errors += failed
            durations = list(map(add, durations, route.duration.counts()))
    return [requests, errors, *durations, *direction.overhead.counts()]


def _direction(row: "array[int]", in_flight: int) -> DirectionStep:
    return DirectionStep(
        requests=row[0],
        errors=row[1],
        duration=tuple(row[2 : 2 + _DURATIONS]),
        overhead=tuple(row[2 + _DURATIONS :]),
        in_flight=in_flight,
    )


def _moved(totals: Iterable[tuple[Labels, int]], last: dict[Labels, int]) -> Counts:
    """Return what was added to *last*, which becomes *totals*, most first and bounded."""
    moved = []
    for labels, count in totals:
        before = last.get(labels, 0)
        if count != before:
            moved.append((labels, count - before))
            last[labels] = count
    if len(moved) <= MAX_SERIES_PER_STEP:
        return tuple(moved)
    moved.sort(key=_count, reverse=True)
    kept = moved[: MAX_SERIES_PER_STEP - 1]
    rest = moved[MAX_SERIES_PER_STEP - 1 :]
    other = (OTHER,) * len(rest[0][0])
    return (*kept, (other, sum(map(_count, rest))))


def _count(series: tuple[Labels, int]) -> int:
    return series[1]
