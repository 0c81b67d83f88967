"""What the carrier's benchmark compares, and how it shows it. Not what it measures."""

import pytest

from bench import carrier


def test_variants_differ_by_environment_alone() -> None:
    """The same program without carrier, in each grade, and beside what else may be installed."""
    variants = carrier.find_variants()
    assert list(variants)[:3] == ["without", "strict", "standard"]
    assert variants["without"] == {}
    assert variants["standard"]["SIDECAR_CARRIER"] == "grade=standard"


def test_table_shows_medians() -> None:
    """A line for what was measured, a column for each variant."""
    table = carrier.render("per call", {"httpx": {"without": [9, 1, 2], "strict": [3]}})
    assert table.splitlines() == [
        "per call",
        "         without  strict",
        "  httpx      2.0     3.0",
    ]


def test_calls_of_one_round(capfd: pytest.CaptureFixture[str]) -> None:
    """Every client that is here makes its calls, with each variant."""
    variants = {"without": {}, "strict": {"PYTHONPATH": str(carrier.CARRIER)}}
    with carrier.answering() as port:
        results = carrier.measure_calls(variants, port, rounds=1, calls=1)
    assert {"http.client", "aiohttp"} <= set(results)
    assert all(len(values) == 1 for each in results.values() for values in each.values())
    assert capfd.readouterr().out == ""
