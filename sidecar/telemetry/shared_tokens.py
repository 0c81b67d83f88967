"""What is counted of the tokens that pods share, and of the circuit in front of where they are."""

from collections.abc import Iterable
from typing import Final, Literal

from sidecar.telemetry.introspection import CIRCUIT_STATES

Result = Literal[
    "found",
    "absent",
    "stored",
    "deleted",
    "unavailable",
    "circuit_open",
    "limited",
    "unreadable",
    "mismatch",
    "expired",
    "too_new",
    "withdrawn",
]
"""What came of one look, one write or one deletion. From ``unreadable`` on something was there
that is not used: not encrypted with a key of ours for this place; for another request or subject;
ended; from a clock that is ahead; obtained before the subject's token was withdrawn."""

CIRCUIT: Final = "redis:shared_tokens"
"""A name that no destination can have."""

Samples = Iterable[tuple[tuple[str, ...], float]]


class SharedTokenMetrics:
    """What one process counts, whatever Redis it is configured with."""

    __slots__ = ("circuit", "results")

    def __init__(self) -> None:
        self.circuit = CIRCUIT_STATES[0]
        self.results: dict[str, int] = {}

    def came_to(self, result: Result) -> None:
        """Count one attempt."""
        self.results[result] = self.results.get(result, 0) + 1

    def circuit_changed(self, state: str) -> None:
        """Take one of ``CIRCUIT_STATES``."""
        self.circuit = state

    def result_samples(self) -> Samples:
        for result, count in self.results.items():
            yield (result,), count

    def circuit_samples(self) -> Samples:
        for state in CIRCUIT_STATES:
            yield (CIRCUIT, state), int(state == self.circuit)
