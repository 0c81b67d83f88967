"""A bounded table of what is known about tokens, by the token itself.

The bytes are kept with what is known anyway, and finding them compares all of them: a token would
cost more than the look-up, and save nothing.

Owns bounds and order of eviction. What is kept, and whether it still holds, belong to
``sidecar.core.verification``.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar


class Costed(Protocol):
    """Something that knows how much memory keeping it takes."""

    @property
    def cost_bytes(self) -> int: ...


T = TypeVar("T", bound=Costed)


class TokenCache(Generic[T]):
    """Bounded by entries and by bytes; the least recently used entry goes first.

    A look-up costs the same however many entries there are. An entry that alone exceeds the
    bound is not kept, which costs a verification per use and nothing else.
    """

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        self._entries: OrderedDict[bytes, T] = OrderedDict()
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, token: bytes) -> T | None:
        """Return the entry and mark it as used."""
        entry = self._entries.get(token)
        if entry is not None:
            self._entries.move_to_end(token)
        return entry

    def put(self, token: bytes, entry: T) -> None:
        """Keep *entry*, evicting the least recently used ones until both bounds hold."""
        self.discard(token)
        self._entries[token] = entry
        self.size_bytes += entry.cost_bytes
        while len(self._entries) > self._max_entries or self.size_bytes > self._max_bytes:
            _, evicted = self._entries.popitem(last=False)
            self.size_bytes -= evicted.cost_bytes

    def discard(self, token: bytes) -> None:
        """Forget the entry, if there is one."""
        entry = self._entries.pop(token, None)
        if entry is not None:
            self.size_bytes -= entry.cost_bytes

    def retain(self, holds: Callable[[T], bool]) -> None:
        """Forget every entry of which *holds* says no."""
        for token in [token for token, entry in self._entries.items() if not holds(entry)]:
            self.discard(token)
