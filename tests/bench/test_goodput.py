"""A destination that hangs, in small: what the whole run would show."""

import pytest

from bench.goodput import Found, Terms, measure

TERMS = Terms(seconds=30.0, callers=6, workers=3, patience=0.3)
"""It ends sooner: when what is looked for has happened."""


@pytest.mark.timeout(120)
async def test_bounds_keep_a_hanging_destination_from_taking_the_app_along() -> None:
    """Without them every worker is held by calls for which nobody waits any more."""

    def nobody_is_served(found: Found) -> bool:
        return found.most_held == 3 and found.outcomes["good left"] > 0

    bare = await measure("hangs", "nothing", TERMS, nobody_is_served)
    assert bare.outlived == 3
    # Callers ask for the two in turn: by then each had so many good answers at most.
    assert bare.outcomes["good 200"] <= 3 + TERMS.callers

    def is_well(found: Found) -> bool:
        refused = found.outcomes["broken 503"] > 0  # at once, and nothing was sent
        return refused and found.outcomes["good 200"] > 3 + TERMS.callers

    bounded = await measure("hangs", "all three", TERMS, is_well)
    assert is_well(bounded)
    assert bounded.outlived == 0
    asked = sum(count for what, count in bounded.outcomes.items() if what.startswith("broken "))
    assert bounded.broken_calls < asked
