"""Pauses between attempts, and how many there may be."""

from sidecar.resilience.backoff import pause_seconds
from sidecar.resilience.budget import RetryBudget


def test_a_pause_is_any_part_of_what_doubles() -> None:
    """Full jitter: from nothing to the whole of it, and never over the longest."""
    most = [pause_seconds(attempt, lambda: 1.0) for attempt in (1, 2, 3, 4, 5, 6, 10**9)]
    assert most == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert pause_seconds(3, lambda: 0.0) == 0.0
    assert pause_seconds(3, lambda: 0.5) == 0.2


def test_a_fifth_may_be_repeated() -> None:
    """Out of a thousand calls that all fail, two hundred and the reserve."""
    budget = RetryBudget()
    repeated = 0
    for _ in range(1000):
        budget.called()
        while budget.take():
            repeated += 1
    assert repeated == 209  # the first call finds the reserve full


def test_the_reserve_is_bounded() -> None:
    """A quiet day saves up for no storm."""
    budget = RetryBudget(reserve=3)
    for _ in range(1000):
        budget.called()
    assert [budget.take() for _ in range(4)] == [True, True, True, False]
