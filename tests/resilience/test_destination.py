"""Whether a destination may be called: what is let in, and what is made of what came of it."""

from dataclasses import dataclass

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.core.outcome import Denial, Reason
from sidecar.resilience.circuit import Circuit
from sidecar.resilience.destination import FAILURES, DestinationGuard, UnderWay, Visit


@dataclass
class Bench:
    """A guard whose time is the test's."""

    max_concurrent: int | None = None
    now: float = 100.0

    def __post_init__(self) -> None:
        self.circuit = Circuit(
            clock=lambda: self.now,
            failures_to_open=3,
            first_pause_seconds=2.0,
            longest_pause_seconds=8.0,
        )
        self.under_way = UnderWay()
        self.guard = DestinationGuard(
            "profiles",
            clock=lambda: self.now,
            under_way=self.under_way,
            max_concurrent=self.max_concurrent,
            circuit=self.circuit,
            statuses=frozenset((502, 503)),
            fair_seconds=1.0,
        )

    def visit(self) -> Visit:
        visit = self.guard.enter()
        assert isinstance(visit, Visit)
        return visit

    def refused(self) -> Denial:
        denial = self.guard.enter()
        assert isinstance(denial, Denial)
        return denial

    def fail(self, times: int = 3) -> None:
        for _ in range(times):
            visit = self.visit()
            visit.failed(Reason.UPSTREAM_UNREACHABLE)
            visit.over(None)


FAULTS = [reason for reason in Reason if reason in FAILURES]


@pytest.mark.parametrize("reason", FAULTS)
def test_what_lies_with_the_destination_opens_the_circuit(reason: Reason) -> None:
    """No connection, a lost one, no answer, and what is no HTTP."""
    bench = Bench()
    for _ in range(3):
        visit = bench.visit()
        visit.failed(reason)
        visit.over(None)
    assert bench.refused().reason is Reason.DESTINATION_UNAVAILABLE


@pytest.mark.parametrize(
    "reason",
    [reason for reason in Reason if reason not in {*FAILURES, Reason.DEADLINE_EXCEEDED}],
)
def test_what_does_not_lie_with_it_says_nothing(reason: Reason) -> None:
    """A request that did not arrive, a full pool, whatever we refuse."""
    bench = Bench()
    for _ in range(5):
        visit = bench.visit()
        visit.failed(reason)
        visit.over(None)
    assert bench.circuit.state == "closed"


@pytest.mark.parametrize(("seconds", "state"), [(0.999, "closed"), (1.0, "open"), (5.0, "open")])
def test_a_call_that_was_cut_counts_if_there_was_a_fair_time(seconds: float, state: str) -> None:
    """Callers with no patience do not have a destination left alone for everybody."""
    bench = Bench()
    visits = [bench.visit() for _ in range(3)]
    bench.now += seconds
    for visit in visits:
        visit.failed(Reason.DEADLINE_EXCEEDED)
        visit.over(None)
    assert bench.circuit.state == state


@pytest.mark.parametrize(
    ("status", "state"), [(200, "closed"), (404, "closed"), (500, "closed"), (503, "open")]
)
def test_answers_that_are_failures(status: int, state: str) -> None:
    """Those that the operator lists; any other answer is one."""
    bench = Bench()
    for _ in range(3):
        visit = bench.visit()
        visit.answered(status)
        visit.over(None)
    assert bench.circuit.state == state


def test_an_answer_that_breaks_is_a_failure() -> None:
    """It was begun, and is of no use."""
    bench = Bench()
    for _ in range(3):
        visit = bench.visit()
        visit.answered(200)
        visit.over(Reason.UPSTREAM_RESET)
    assert bench.circuit.state == "open"


def test_one_good_answer_starts_the_count_anew() -> None:
    """They must fail in a row."""
    bench = Bench()
    bench.fail(2)
    visit = bench.visit()
    visit.answered(200)
    visit.over(None)
    bench.fail(2)
    assert bench.circuit.state == "closed"


def test_a_caller_that_leaves_says_nothing() -> None:
    """Neither good nor bad is known of its call."""
    bench = Bench()
    bench.fail(2)
    for _ in range(3):
        bench.visit().over(None)
    assert bench.circuit.state == "closed"
    bench.fail(1)
    assert bench.refused().reason is Reason.DESTINATION_UNAVAILABLE


def test_the_refusal_says_when() -> None:
    """The rest of the pause, rounded up to whole seconds; no call is made before."""
    bench = Bench()
    bench.fail()
    bench.now += 0.5
    denial = bench.refused()
    assert denial.retry_after_seconds == 2
    assert "in 1.5 s" in denial.detail
    assert bench.guard.refusal() == denial
    assert bench.under_way.count == 0


def test_one_call_is_let_through_to_see() -> None:
    """Others are refused meanwhile; its answer's head is enough to let all in."""
    bench = Bench()
    bench.fail()
    bench.now += 2.0
    assert bench.guard.refusal() is None
    probe = bench.visit()
    assert bench.refused().retry_after_seconds == 1
    probe.answered(200)
    assert bench.circuit.state == "closed"
    bench.visit().over(None)
    probe.over(None)


def test_a_probe_that_fails_doubles_the_pause() -> None:
    """And so on."""
    bench = Bench()
    bench.fail()
    bench.now += 2.0
    bench.fail(1)
    assert bench.refused().retry_after_seconds == 4


def test_a_probe_of_which_nothing_is_known_is_made_again() -> None:
    """Its caller left, or we refused it after all."""
    bench = Bench()
    bench.fail()
    bench.now += 2.0
    bench.visit().over(None)
    assert bench.guard.refusal() is None
    bench.visit()


def test_the_bound_holds_and_a_place_becomes_free() -> None:
    """No queue: the one over the bound is refused, and counts for nothing."""
    bench = Bench(max_concurrent=2)
    first, _ = bench.visit(), bench.visit()
    assert bench.refused().reason is Reason.DESTINATION_BUSY
    assert bench.circuit.state == "closed"
    first.over(None)
    bench.visit()
    assert bench.refused().reason is Reason.DESTINATION_BUSY


def test_without_a_circuit_only_the_bound_counts() -> None:
    """Whatever comes of the calls."""
    guard = DestinationGuard("profiles", clock=lambda: 0.0, under_way=UnderWay(), max_concurrent=1)
    for _ in range(10):
        visit = guard.enter()
        assert isinstance(visit, Visit)
        visit.answered(503)
        visit.failed(Reason.UPSTREAM_RESET)
        visit.over(Reason.UPSTREAM_RESET)
    assert guard.refusal() is None


class Calls(RuleBasedStateMachine):
    """Any order of calls that begin, answer, fail and end."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(max_concurrent=3)
        self.visits: list[Visit] = []

    @rule(seconds=st.sampled_from([0.5, 2.0, 8.0]))
    def time_passes(self, seconds: float) -> None:
        self.bench.now += seconds

    @rule()
    def one_comes(self) -> None:
        could = self.bench.guard.refusal() is None
        found = self.bench.guard.enter()
        if isinstance(found, Visit):
            assert could
            self.visits.append(found)

    @precondition(lambda self: self.visits)
    @rule(data=st.data(), status=st.sampled_from([200, 404, 503]))
    def one_is_answered(self, data: st.DataObject, status: int) -> None:
        data.draw(st.sampled_from(self.visits)).answered(status)

    @precondition(lambda self: self.visits)
    @rule(
        data=st.data(),
        failure=st.sampled_from([None, *FAULTS]),
        fault=st.sampled_from([None, Reason.UPSTREAM_RESET, Reason.DEADLINE_EXCEEDED]),
    )
    def one_ends(self, data: st.DataObject, failure: Reason | None, fault: Reason | None) -> None:
        visit = data.draw(st.sampled_from(self.visits))
        self.visits.remove(visit)
        if failure is not None:
            visit.failed(failure)
        visit.over(fault)

    @invariant()
    def as_many_are_counted_as_there_are(self) -> None:
        assert self.bench.under_way.count == len(self.visits) <= 3

    @invariant()
    def nobody_is_kept_out_for_ever(self) -> None:
        """Once all are over and the longest pause is too, the next one is let in."""
        if not self.visits:
            now, self.bench.now = self.bench.now, self.bench.now + 8.0
            assert self.bench.guard.refusal() is None
            self.bench.now = now


TestCalls = Calls.TestCase
