"""A circuit as its holder sees it: when calls may be made, and what changes that."""

from dataclasses import dataclass, field

import pytest

from sidecar.resilience.circuit import Circuit, State, Ticket


@dataclass
class Bench:
    """A circuit whose time is the test's."""

    now: float = 100.0
    states: list[State] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.circuit = Circuit(
            clock=lambda: self.now,
            changed=self.states.append,
            failures_to_open=3,
            first_pause_seconds=1.0,
            longest_pause_seconds=5.0,
        )

    def admitted(self) -> Ticket:
        ticket = self.circuit.admit()
        assert ticket is not None
        return ticket

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.circuit.failed(self.admitted())


@pytest.fixture
def bench() -> Bench:
    """A closed circuit."""
    return Bench()


def test_failures_in_a_row_open_it(bench: Bench) -> None:
    """Two are not enough and a success starts anew; the third in a row ends the calls."""
    bench.fail(2)
    bench.circuit.succeeded(bench.admitted())
    bench.fail(2)
    assert bench.circuit.admit() is not None
    bench.fail()
    assert bench.circuit.admit() is None
    assert bench.states == ["closed", "open"]


def test_one_probe_is_made_when_the_pause_is_over(bench: Bench) -> None:
    """Just before it there is none, then there is one, and no second beside it."""
    bench.fail(3)
    bench.now += 0.999
    assert bench.circuit.admit() is None
    bench.now += 0.002
    probe = bench.admitted()
    assert bench.circuit.admit() is None
    bench.circuit.succeeded(probe)
    assert bench.circuit.admit() is not None
    assert bench.states == ["closed", "open", "half_open", "closed"]


def test_each_failed_probe_doubles_the_pause_up_to_a_bound(bench: Bench) -> None:
    """1, 2, 4, 5, 5 seconds; after a success the first pause is short again."""
    bench.fail(3)
    for pause in (1.0, 2.0, 4.0, 5.0, 5.0):
        bench.now += pause - 0.01
        assert bench.circuit.admit() is None
        bench.now += 0.02
        bench.fail()
    bench.now += 6.0
    bench.circuit.succeeded(bench.admitted())
    bench.fail(3)
    bench.now += 1.01
    assert bench.circuit.admit() is not None


def test_late_results_do_not_count(bench: Bench) -> None:
    """Calls made before it opened neither lengthen the pause nor close it."""
    early = [bench.admitted() for _ in range(5)]
    bench.fail(3)
    assert not bench.circuit.holds(early[0])
    for ticket in early[:3]:
        bench.circuit.failed(ticket)
    bench.circuit.succeeded(early[3])
    assert bench.circuit.admit() is None
    bench.now += 1.01
    probe = bench.admitted()
    bench.circuit.failed(early[4])
    assert bench.circuit.holds(probe)
    assert bench.circuit.state == "half_open"


def test_an_abandoned_probe_lets_another_be_made_at_once(bench: Bench) -> None:
    """A probe of which nothing is known must not hold the circuit open for ever."""
    bench.fail(3)
    bench.now += 1.01
    bench.circuit.abandoned(bench.admitted())
    assert bench.circuit.admit() is not None


def test_an_abandoned_call_of_a_closed_circuit_says_nothing(bench: Bench) -> None:
    """It is neither a failure nor a success."""
    bench.fail(2)
    bench.circuit.abandoned(bench.admitted())
    assert bench.circuit.state == "closed"
    bench.fail()
    assert bench.circuit.admit() is None
