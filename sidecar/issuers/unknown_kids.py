"""Key ids that an issuer was asked for and does not have.

Owns the bound and the time after which one may be asked for again.
"""

from collections.abc import Container
from typing import Final

MAX_KIDS: Final = 1024
"""Callers choose them: at the bound the oldest goes, which costs at most its one fetch per
cool-down again."""


class UnknownKids:
    """Each is asked for once, then known to be unknown for a while or until the keys change.

    Only a fetch that ended after a kid was first seen says anything about it: the set before may
    have been published before the key was.
    """

    def __init__(self, keep_seconds: float) -> None:
        self._keep_seconds = keep_seconds
        self._sought: dict[str | None, None] = {}
        self._unknown: dict[str | None, float] = {}
        """Until when, oldest first."""

    def __len__(self) -> int:
        return len(self._sought) + len(self._unknown)

    def seek(self, kid: str | None) -> None:
        """Take note that the next fetch is to find *kid*, among others."""
        if len(self._sought) < MAX_KIDS:
            self._sought[kid] = None

    def holds(self, kid: str | None, now: float) -> bool:
        """Tell whether *kid* is known to be unknown at *now*."""
        until = self._unknown.get(kid)
        if until is None:
            return False
        # A clock that was set back must not prolong it.
        if until - self._keep_seconds <= now < until:
            return True
        del self._unknown[kid]
        return False

    def fetched(self, kids: Container[str | None], now: float, *, is_new: bool) -> None:
        """Take note of what a successful fetch ended with, *is_new* if it changed the keys."""
        if is_new:
            self._unknown.clear()
        for kid in self._sought:
            if kid not in kids:
                self._unknown.pop(kid, None)
                self._unknown[kid] = now + self._keep_seconds
        self._sought.clear()
        while len(self._unknown) > MAX_KIDS:
            del self._unknown[next(iter(self._unknown))]
