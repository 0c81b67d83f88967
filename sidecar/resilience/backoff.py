"""How long to wait before another attempt: exponentially longer, with full jitter.

Pure: chance is an argument. With full jitter, those who failed together do not come back together.
"""

from collections.abc import Callable
from typing import Final

FIRST_SECONDS: Final = 0.1
LONGEST_SECONDS: Final = 2.0


def pause_seconds(
    attempt: int,
    random: Callable[[], float],
    *,
    first_seconds: float = FIRST_SECONDS,
    longest_seconds: float = LONGEST_SECONDS,
) -> float:
    """Return the pause after the *attempt*-th failure in a row, counted from 1.

    *random* gives numbers from 0 to 1.
    """
    # Bounded before it is a float: nobody waits for the thousandth attempt, and it must not raise.
    most = min(longest_seconds, first_seconds * (1 << min(attempt - 1, 32)))
    return random() * most
