"""What is counted of the tokens that destinations have of their own."""

from collections.abc import Iterable
from typing import Final, Literal

from sidecar.telemetry.histogram import Histogram

Result = Literal[
    "cached",
    "joined",
    "obtained",
    "shared",
    "refreshed",
    "refresh_failed",
    "known_failure",
    "unavailable",
    "limited",
    "circuit_open",
    "misconfigured",
    "refused",
    "invalid_answer",
    "subject_expired",
    "withdrawn",
]
"""``joined``: somebody else's question was under way. ``shared``: another pod had obtained it.
``refreshed``, ``refresh_failed``: in the background, while the one before is in use.
``known_failure``: it failed just now, so nobody was asked. ``withdrawn``: the subject's token went
while the question was under way. The others are what came of asking (``FailureKind``)."""

BOUNDS: Final[tuple[float, ...]] = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


class TokenExchangeMetrics:
    """What one destination's tokens report."""

    __slots__ = ("cached", "duration", "name", "results")

    def __init__(self, name: str) -> None:
        self.name = name
        self.cached = 0
        """Added to by whoever has the token at hand: that is, for most calls."""
        self.duration = Histogram(BOUNDS)
        self.results: dict[str, int] = {}

    def came_to(self, result: Result) -> None:
        """Count one need of a token that was not at hand, or a refresh of one that was."""
        self.results[result] = self.results.get(result, 0) + 1

    def took(self, seconds: float) -> None:
        """Count the time of one question, answered or not."""
        self.duration.observe(seconds)


Samples = Iterable[tuple[tuple[str, ...], float]]


def result_samples(destinations: Iterable[TokenExchangeMetrics]) -> Samples:
    for each in destinations:
        if each.cached:
            yield (each.name, "cached"), each.cached
        for result, count in each.results.items():
            yield (each.name, result), count
