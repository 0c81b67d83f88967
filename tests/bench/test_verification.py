"""The measurement of verification, run small: that it measures, not what."""

import os
import shutil

import pytest

from bench.programs import BenchError
from bench.tokens import ALGORITHMS, Signer
from bench.verification import render_verification, run_verification

pytestmark = pytest.mark.skipif(shutil.which("taskset") is None, reason="needs taskset")


def test_it_measures_each_algorithm_cold_and_known() -> None:
    """Every figure is a positive time, and the table has a row per algorithm."""
    core = min(os.sched_getaffinity(0))
    found = run_verification(Signer.generate(), rounds=1, core=core, tokens=3)
    assert set(found["cold"]) == set(found["cached"]) == set(ALGORITHMS)
    assert all(figure > 0 for cold in found["cold"].values() for figure in cold.values())
    assert all(figure > 0 for figure in found["cached"].values())
    table = render_verification(found)
    assert all(alg in table for alg in ALGORITHMS)


def test_a_token_that_is_not_verified_is_no_measurement() -> None:
    """What fails is said in one line, and no figure comes of it."""

    class Stranger(Signer):
        def jwks(self) -> str:
            return Signer.generate().jwks()

    core = min(os.sched_getaffinity(0))
    stranger = Stranger(Signer.generate().keys)
    with pytest.raises(BenchError, match="verification: AssertionError"):
        run_verification(stranger, rounds=1, core=core, tokens=1)
