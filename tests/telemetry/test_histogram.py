"""``sidecar.telemetry.histogram``: which bucket a value falls into, and what the sum says."""

import math
from collections.abc import Sequence

import pytest

from sidecar.telemetry.histogram import Histogram


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.0, [1, 1, 1]),
        (math.nextafter(0.1, 0.0), [1, 1, 1]),
        (0.1, [1, 1, 1]),
        (math.nextafter(0.1, 1.0), [0, 1, 1]),
        (1.0, [0, 1, 1]),
        (math.nextafter(1.0, 2.0), [0, 0, 1]),
        (1e9, [0, 0, 1]),
    ],
)
def test_a_value_counts_in_every_bucket_whose_bound_it_does_not_exceed(
    seconds: float, expected: list[int]
) -> None:
    """A bound includes the value equal to it and excludes the next greater one."""
    histogram = Histogram([0.1, 1.0])
    histogram.observe(seconds)
    assert histogram.cumulative() == [
        ("0.1", expected[0]),
        ("1.0", expected[1]),
        ("+Inf", expected[2]),
    ]


def test_sum_and_count_add_up() -> None:
    """Sum and count cover every observation."""
    histogram = Histogram([0.1, 1.0])
    for seconds in (0.25, 0.5, 4.0):
        histogram.observe(seconds)
    assert (histogram.count, histogram.sum) == (3, 4.75)


@pytest.mark.parametrize("seconds", [-0.001, -math.inf, math.nan])
def test_a_value_that_is_no_duration_counts_as_zero(seconds: float) -> None:
    """The sum never falls and never becomes NaN, whatever is observed."""
    histogram = Histogram([0.1, 1.0])
    histogram.observe(0.5)
    histogram.observe(seconds)
    assert (histogram.cumulative()[0], histogram.sum) == (("0.1", 1), 0.5)


@pytest.mark.parametrize("bounds", [[], [1.0, 1.0], [2.0, 1.0]])
def test_bounds_that_do_not_increase_are_refused(bounds: Sequence[float]) -> None:
    """Buckets that bisection could not find are a defect and say so at once."""
    with pytest.raises(ValueError, match="increase"):
        Histogram(bounds)
