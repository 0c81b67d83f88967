"""What is counted of asking an authorization server for tokens, and of the circuit before it."""

from collections.abc import Iterable
from typing import Final, Literal

from sidecar.telemetry.histogram import Histogram
from sidecar.telemetry.introspection import BOUNDS, CIRCUIT_STATES, Samples

Result = Literal[
    "success",
    "refused",
    "misconfigured",
    "invalid_answer",
    "network_error",
    "http_error",
    "refused_address",
    "rate_limited",
    "left_alone",
    "circuit_open",
    "limited",
    "not_asked",
]
"""``rate_limited``: 429, or 503 with ``Retry-After``; ``left_alone``: not asked because of one.
``limited``: too many wait already. ``not_asked``: no time left, or nothing to ask with."""

MAX_CLIENTS: Final = 100


class TokenEndpointMetrics:
    """What one client reports of itself; each attempt counts."""

    __slots__ = ("circuit", "duration", "in_flight", "name", "results")

    def __init__(self, name: str) -> None:
        self.name = name
        self.circuit = CIRCUIT_STATES[0]
        self.duration = Histogram(BOUNDS)
        self.in_flight = 0
        self.results: dict[str, int] = {}

    def began(self) -> None:
        """Count one request on its way."""
        self.in_flight += 1

    def ended(self, seconds: float) -> None:
        """Count its time, answered or not."""
        self.in_flight -= 1
        self.duration.observe(seconds)

    def came_to(self, result: Result) -> None:
        """Count one attempt to get a token, or that none was made."""
        self.results[result] = self.results.get(result, 0) + 1

    def circuit_changed(self, state: str) -> None:
        """Take one of ``CIRCUIT_STATES``."""
        self.circuit = state


def result_samples(clients: Iterable[TokenEndpointMetrics]) -> Samples:
    for each in clients:
        for result, count in each.results.items():
            yield (each.name, result), count


def circuit_samples(clients: Iterable[TokenEndpointMetrics]) -> Samples:
    """Yield the states under names that no destination can have."""
    for each in clients:
        for state in CIRCUIT_STATES:
            yield (f"client:{each.name}", state), int(state == each.circuit)
