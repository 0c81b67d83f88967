"""How often something may be done."""

from sidecar.resilience.rate import Rate


class Clock:
    """Time by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def taken(rate: Rate, tries: int = 100) -> int:
    return sum(rate.take() for _ in range(tries))


def test_a_second_s_worth_at_once_and_then_as_time_passes() -> None:
    """Ten at once, then one each tenth of a second; an hour saves up no more than ten."""
    clock = Clock()
    rate = Rate(10, clock=clock)
    assert taken(rate) == 10
    clock.now += 0.09
    assert taken(rate) == 0
    clock.now += 0.02
    assert taken(rate) == 1
    clock.now += 3600
    assert taken(rate) == 10


def test_less_than_one_a_second_is_still_one_at_once() -> None:
    """A slow rate lets the first one through."""
    clock = Clock()
    rate = Rate(0.5, clock=clock)
    assert taken(rate) == 1
    clock.now += 2.01
    assert taken(rate) == 1


def test_a_clock_that_goes_back_gives_nothing() -> None:
    """Nor does it take anything away for longer than it is behind."""
    clock = Clock()
    rate = Rate(10, clock=clock)
    assert taken(rate) == 10
    clock.now -= 50
    assert taken(rate) == 0
    clock.now += 0.11
    assert taken(rate) == 1
