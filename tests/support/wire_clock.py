"""Time that passes when a test says so."""

from sidecar.wire.deadlines import Deadlines


class ManualClock:
    """Seconds that only ``advance`` moves."""

    def __init__(self, now: float = 1_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


class ManualTime:
    """A clock and the deadlines that hang on it, swept when time is made to pass."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.deadlines = Deadlines(self.clock)

    def passes(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.deadlines.sweep()
