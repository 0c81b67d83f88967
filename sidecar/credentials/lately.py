"""What happened a moment ago, by key, so that it is not brought about again at once."""

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Lately(Generic[T]):
    """Bounded; what was remembered first goes first. Clock readings are monotonic."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[bytes, tuple[float, T]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, key: bytes, what: T, *, until: float) -> None:
        self._entries.pop(key, None)
        self._entries[key] = (until, what)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def discard(self, key: bytes) -> None:
        self._entries.pop(key, None)

    def get(self, key: bytes, *, now: float) -> T | None:
        """Return what was remembered of *key*, if that stands at *now*."""
        if not self._entries:
            return None
        found = self._entries.get(key)
        if found is None:
            return None
        until, what = found
        if now < until:
            return what
        del self._entries[key]
        return None
