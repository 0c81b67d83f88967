"""The measurement of keeping decisions, run small: that it measures, not what."""

import os
import shutil

import pytest

from bench.explanation import render_explanation, run_explanation
from bench.tokens import Signer

pytestmark = pytest.mark.skipif(shutil.which("taskset") is None, reason="needs taskset")


def test_it_measures_with_and_without() -> None:
    """Both figures are positive times, and the table has their ratio."""
    core = min(os.sched_getaffinity(0))
    found = run_explanation(Signer.generate(), rounds=1, core=core, requests=20)
    assert min(found["on"], found["off"], found["ratio"]) > 0
    assert f"{found['ratio']:.3f}" in render_explanation(found)
