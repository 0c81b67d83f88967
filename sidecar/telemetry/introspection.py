"""What is counted of asking an issuer about tokens, and of the circuit in front of it."""

from collections.abc import Iterable
from typing import Final, Literal

from sidecar.telemetry.histogram import Histogram

Result = Literal[
    "active",
    "inactive",
    "refused",
    "unauthorized",
    "network_error",
    "http_error",
    "invalid_answer",
    "refused_address",
    "circuit_open",
    "limited",
    "known_inactive",
]
"""``refused``: active, and not good here. ``known_inactive``: refused lately, so not asked again.
``limited``: too many questions at once. Nothing was asked for the last three."""

CIRCUIT_STATES: Final = ("closed", "open", "half_open")

BOUNDS: Final[tuple[float, ...]] = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip


class IntrospectionMetrics:
    """What one issuer's introspection reports of itself."""

    __slots__ = ("circuit", "duration", "name", "results")

    def __init__(self, name: str) -> None:
        self.name = name
        self.circuit = CIRCUIT_STATES[0]
        self.duration = Histogram(BOUNDS)
        self.results: dict[str, int] = {}

    def came_to(self, result: Result) -> None:
        """Count one need of the issuer's word."""
        self.results[result] = self.results.get(result, 0) + 1

    def took(self, seconds: float) -> None:
        """Count the time of one question, answered or not."""
        self.duration.observe(seconds)

    def circuit_changed(self, state: str) -> None:
        """Take one of ``CIRCUIT_STATES``."""
        self.circuit = state


Samples = Iterable[tuple[tuple[str, ...], float]]


def result_samples(issuers: Iterable[IntrospectionMetrics]) -> Samples:
    for each in issuers:
        for result, count in each.results.items():
            yield (each.name, result), count


def circuit_samples(issuers: Iterable[IntrospectionMetrics]) -> Samples:
    """Yield the states under names that no destination can have."""
    for each in issuers:
        for state in CIRCUIT_STATES:
            yield (f"introspection:{each.name}", state), int(state == each.circuit)
