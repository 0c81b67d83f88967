"""Which rounds may be compared, and what the table says of the others."""

from bench.cores import Usage
from bench.report import render_scenario
from bench.results import Ratio, Run, ratio, summarise
from bench.wrk import WrkReport

GOOD = Usage(proxy_core=1.0, load_core=0.8, own=0.9, others=0.0)
WAITING = Usage(proxy_core=0.9, load_core=1.0, own=0.8, others=0.0)


def run(proxy: str, number: int, rate: float, usage: Usage = GOOD) -> Run:
    return Run("GET", proxy, number, WrkReport(rate, p50_ms=1.0, p99_ms=2.0, failures=0), usage)


def test_the_ratio_is_the_median_of_the_rounds() -> None:
    """Each round is compared with itself, so a slow round cancels out."""
    subject = [run("sidecar", 1, 300), run("sidecar", 2, 30), run("sidecar", 3, 800)]
    baseline = [run("envoy", 1, 100), run("envoy", 2, 20), run("envoy", 3, 200)]
    assert ratio(subject, baseline) == Ratio(3.0, rounds=3)


def test_a_load_limited_run_takes_its_round_out_on_either_side() -> None:
    """A rate that the load limited says nothing about the proxy."""
    subject = [run("sidecar", 1, 300, WAITING), run("sidecar", 2, 400), run("sidecar", 3, 500)]
    baseline = [run("envoy", 1, 100), run("envoy", 2, 100, WAITING), run("envoy", 3, 100)]
    assert ratio(subject, baseline) == Ratio(5.0, rounds=1)


def test_no_round_that_counts_is_no_ratio() -> None:
    """Rather no number than one that means something else."""
    assert ratio([run("sidecar", 1, 300, WAITING)], [run("envoy", 1, 100)]) == Ratio(None, 0)


def test_processor_time_per_request_is_the_proxys_own() -> None:
    """Half of a core for 10,000 requests a second is 50 microseconds each."""
    half = Usage(proxy_core=1.0, load_core=1.0, own=0.5, others=0.45)
    assert run("envoy", 1, 10_000, half).cpu_microseconds == 50


def test_a_row_is_the_median_and_names_what_is_wrong() -> None:
    """The table shows all rounds and marks those that do not count."""
    runs = [run("envoy", 1, 100), run("envoy", 2, 300, WAITING), run("envoy", 3, 200)]
    row = summarise(runs)
    assert (row.requests_per_second, row.verdicts) == (200, ("load-limited",))
    table = render_scenario("GET", [*runs, run("sidecar", 1, 250)])
    assert "load-limited in 1 of 3" in table
    assert "sidecar / envoy: 2.50 (1 of 1 rounds count)" in table
