"""How many attempts may be repeated: a share of those that are made, so that an outage is not
answered with a multiple of the load.

Pure, and without a clock: who asks less may repeat less.
"""

from typing import Final

SHARE: Final = 0.2
RESERVE: Final = 10


class RetryBudget:
    """*share* of all calls may be repeated in the long run, and *reserve* besides, at once.

    The reserve is there from the start: with few calls, a share would allow none.
    """

    def __init__(self, *, share: float = SHARE, reserve: int = RESERVE) -> None:
        self._share = share
        self._left = self._most = float(reserve)

    def called(self) -> None:
        """Count a first attempt."""
        self._left = min(self._left + self._share, self._most)

    def take(self) -> bool:
        """Whether one attempt may be repeated; if so, that is counted."""
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True
