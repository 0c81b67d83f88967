"""A destination that hangs, in small: what the whole run would show."""

import pytest

from bench.goodput import Terms, measure

TERMS = Terms(seconds=0.8, callers=6, workers=3, patience=0.3)


@pytest.mark.timeout(120)
async def test_bounds_keep_a_hanging_destination_from_taking_the_app_along() -> None:
    """Without them every worker is held by calls for which nobody waits any more."""
    bare = await measure("hangs", "nothing", TERMS)
    bounded = await measure("hangs", "all three", TERMS)
    assert (bare.most_held, bare.outlived) == (3, 3)
    assert bounded.outlived == 0
    assert bounded.outcomes["broken 503"] > 0  # at once, and nothing was sent
    assert bounded.outcomes["good 200"] > bare.outcomes["good 200"]
    asked = sum(count for what, count in bounded.outcomes.items() if what.startswith("broken "))
    assert bounded.broken_calls < asked
