"""A histogram that costs one bisection and two additions per observation.

Owns the counts. Turning them into a metric family belongs to ``sidecar.telemetry.metrics``; one
thread observes and reads, so there is no lock.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise


class Histogram:
    """Counts of observed seconds by upper bound, plus their sum. Never grows."""

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        """Take finite upper *bounds* in seconds, strictly increasing; ``+Inf`` is implied."""
        if not bounds or any(low >= high for low, high in pairwise(bounds)):
            raise ValueError("histogram bounds must increase strictly")
        self._bounds = tuple(float(bound) for bound in bounds)
        self._counts = [0] * (len(self._bounds) + 1)
        self._sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count one value. Negative and NaN count as zero: a sum that falls is no counter."""
        if not seconds >= 0.0:
            seconds = 0.0
        self._counts[bisect_left(self._bounds, seconds)] += 1
        self._sum += seconds

    @property
    def count(self) -> int:
        return sum(self._counts)

    @property
    def sum(self) -> float:
        return self._sum

    def counts(self) -> list[int]:
        """Return the number of values by bucket: of each bound, then above the last."""
        return list(self._counts)

    def cumulative(self) -> list[tuple[str, float]]:
        """Return pairs of ``le`` and the number of values at or below it, ``+Inf`` last."""
        pairs: list[tuple[str, float]] = []
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            pairs.append(("+Inf" if bound == float("inf") else repr(bound), total))
        return pairs
