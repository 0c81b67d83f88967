"""What bounds the calls to destinations, as Prometheus sees it: asked for at each scrape."""

from collections.abc import Callable, Iterable, Mapping

from sidecar.telemetry.introspection import CIRCUIT_STATES

Samples = Iterable[tuple[tuple[str, ...], float]]


class DestinationsView:
    """Where the numbers of the configuration in force are."""

    def __init__(
        self,
        *,
        in_flight: Callable[[], Mapping[str, int]],
        circuits: Callable[[], Mapping[str, str]],
    ) -> None:
        """*circuits* has the state of each destination that has one, by name."""
        self.in_flight = in_flight
        self.circuits = circuits

    def in_flight_samples(self) -> Samples:
        for name, count in self.in_flight().items():
            yield (name,), count

    def circuit_samples(self) -> Samples:
        for name, now in self.circuits().items():
            for state in CIRCUIT_STATES:
                yield (name, state), int(state == now)
