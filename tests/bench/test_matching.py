"""The measurement of rule matching, run small: that it measures, not what."""

import os
import shutil

import pytest

from bench.matching import RULES, render_matching, run_matching
from bench.programs import BenchError

pytestmark = pytest.mark.skipif(shutil.which("taskset") is None, reason="needs taskset")


def test_it_measures_each_shape_with_each_number_of_rules() -> None:
    """Every figure is a positive time, and the table has a row per shape."""
    found = run_matching(rounds=1, core=min(os.sched_getaffinity(0)), paths=3)
    assert len(found["costs"]) == 3
    for costs in found["costs"].values():
        assert len(costs) == len(RULES)
        assert all(cost > 0 for cost in costs)
    table = render_matching(found)
    assert "10,000 rules" in table
    assert all(shape in table for shape in found["costs"])


def test_what_fails_is_said_in_one_line() -> None:
    """And no figure comes of it."""
    with pytest.raises(BenchError, match="matching: "):
        run_matching(rounds=1, core=100_000, paths=3)
