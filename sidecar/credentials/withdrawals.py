"""Which callers' tokens were withdrawn, so that nothing that came of them is read back."""

from collections import OrderedDict
from typing import Final

MAX_WITHDRAWN: Final = 10_000
MAX_SKEW_SECONDS: Final = 30.0
"""How far ahead of ours the clock of another pod may be."""


class Withdrawals:
    """When tokens of subjects were withdrawn, by their digests.

    Bounded: when the oldest is forgotten, nothing of its time is read back, whoever's it is.
    """

    def __init__(self, max_entries: int = MAX_WITHDRAWN) -> None:
        self._max_entries = max_entries
        self._at: OrderedDict[bytes, float] = OrderedDict()
        self._floor = float("-inf")

    def __len__(self) -> int:
        return len(self._at)

    def add(self, digest: bytes, at: float) -> None:
        self._at.pop(digest, None)
        self._at[digest] = at
        while len(self._at) > self._max_entries:
            self._floor = max(self._floor, self._at.popitem(last=False)[1])

    def covers(self, digest: bytes, asked_at: float) -> bool:
        """Whether what was asked for at that time, by any pod's clock, may be of before."""
        at = max(self._at.get(digest, self._floor), self._floor)
        return asked_at <= at + MAX_SKEW_SECONDS
