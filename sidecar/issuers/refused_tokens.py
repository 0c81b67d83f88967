"""Tokens that their issuer refused a moment ago, so that it is not asked again at once."""

from collections import OrderedDict

from sidecar.core.digests import sha256
from sidecar.core.outcome import Denial


class RefusedTokens:
    """Bounded; what was refused first goes first, and costs one more question.

    Kept by SHA-256: callers choose these tokens, and a table of them must neither grow with
    their length nor hold a secret that somebody mistyped into the wrong field.
    """

    def __init__(self, *, max_entries: int, seconds: float) -> None:
        self._max_entries = max_entries
        self._seconds = seconds
        self._entries: OrderedDict[bytes, tuple[float, Denial]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, token: bytes, denial: Denial, *, now: float) -> None:
        """Remember that *token* was refused at *now*, by a monotonic clock."""
        if self._seconds <= 0:
            return
        key = sha256(token)
        self._entries.pop(key, None)
        self._entries[key] = (now + self._seconds, denial)
        while len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)

    def get(self, token: bytes, *, now: float) -> Denial | None:
        """Return why *token* was refused lately, if it was."""
        if not self._entries:
            return None
        key = sha256(token)
        found = self._entries.get(key)
        if found is None:
            return None
        until, denial = found
        if now < until:
            return denial
        del self._entries[key]
        return None
