"""Counting what a log can have any number of, in memory that does not grow with it."""

from collections.abc import Iterator
from typing import Final, Generic, TypeVar

K = TypeVar("K")

MAX_KEYS: Final = 10_000


class TopTally(Generic[K]):
    """Counts by key. Past the bound the rare half is forgotten, so the frequent ones stay.

    Counts are exact while nothing was forgotten, and afterwards at most ``missed`` too low.
    """

    def __init__(self, max_keys: int = MAX_KEYS) -> None:
        self._max_keys = max_keys
        self._counts: dict[K, int] = {}
        self.total = 0
        self.missed = 0

    def add(self, key: K) -> None:
        self.total += 1
        counts = self._counts
        counts[key] = counts.get(key, 0) + 1
        if len(counts) > self._max_keys:
            self._forget()

    def top(self, most: int) -> Iterator[tuple[K, int]]:
        """Yield the most frequent keys with their counts, the first seen first among equals."""
        yield from sorted(self._counts.items(), key=lambda item: -item[1])[:most]

    def _forget(self) -> None:
        ranked = sorted(self._counts.items(), key=lambda item: -item[1])
        kept = self._max_keys // 2
        self.missed += ranked[kept][1]
        self._counts = dict(ranked[:kept])
