"""How often something may be done: a bucket that fills at a steady rate (token bucket).

Pure: the clock is an argument.
"""

from collections.abc import Callable


class Rate:
    """*per_second* times a second on average, and at most as many at once."""

    def __init__(self, per_second: float, *, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._left = self._most = max(per_second, 1.0)
        self._filled_at = clock()

    def take(self) -> bool:
        """Whether it may be done once more now; if so, that is counted."""
        now = self._clock()
        grown = max(now - self._filled_at, 0.0) * self._per_second
        self._left = min(self._left + grown, self._most)
        self._filled_at = now
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
