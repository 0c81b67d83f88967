"""Tokens that are good and yet unwise, counted and warned of.

What is unwise is judged by ``sidecar.core.hygiene``, once per token that is new. Nothing of a token
is kept or shown here.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sidecar.core.hygiene import HygieneKind

QUIET_SECONDS: Final = 3600.0
"""Between two warnings of one kind about one issuer."""

_WORDS: Final[Mapping[HygieneKind, str]] = {
    "lifetime": "live longer than hygiene.max_lifetime, or for ever",
    "size": "are larger than hygiene.max_size",
    "claim": "hold a claim of hygiene.unwanted_claims",
}


class TokenHygiene:
    """Counts by issuer and kind: as many as are configured, whoever sends what."""

    def __init__(
        self, clock: Callable[[], float], warn: Callable[[str, str, str, int], object]
    ) -> None:
        """*warn* takes a format, the issuer, what its tokens do, and how many did so far."""
        self._clock = clock
        self._warn = warn
        self._counts: dict[tuple[str, HygieneKind], int] = {}
        self._warned_at: dict[tuple[str, HygieneKind], float] = {}

    def saw(self, issuer: str, kind: HygieneKind) -> None:
        """Count one token of *issuer*; warn of the first, and then once per hour."""
        key = issuer, kind
        count = self._counts.get(key, 0) + 1
        self._counts[key] = count
        now = self._clock()
        warned_at = self._warned_at.get(key)
        if warned_at is None or now - warned_at >= QUIET_SECONDS:
            self._warned_at[key] = now
            self._warn("issuer %s: its tokens %s: %d so far", issuer, _WORDS[kind], count)

    def counts(self) -> Iterable[tuple[tuple[str, str], int]]:
        """Return the counts by issuer and kind."""
        return self._counts.items()
