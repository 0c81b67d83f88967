"""Runs at a fixed rate, and the table that compares them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import monotonic

from bench.cores import process_seconds
from bench.h2load import Pace, PacedReport, run_h2load
from bench.report import columns

_HELD = 0.97
"""Of the pace: what a proxy answers at least that is not saturated by it."""


@dataclass(frozen=True, slots=True)
class PacedRun:
    """One proxy, or none, at one rate in one round."""

    proxy: str
    round: int
    report: PacedReport
    pace: float
    """Requests per second that were to be made."""
    core_share: float
    """Of one core: the proxy's own time, without the kernel's work in interrupts."""


def run_paced(
    name: str,
    url: str,
    pid: int | None,
    pace: Pace,
    headers: Mapping[str, str],
    *,
    log: Path,
    bench_round: int,
) -> PacedRun:
    """Send at *pace* and watch the process *pid*, if the URL is a proxy's."""
    samples: list[tuple[float, float]] = []

    def watch() -> None:
        samples.append((monotonic(), 0.0 if pid is None else process_seconds(pid)))

    report = run_h2load(url, pace, headers=headers, log=log, watch=watch)
    (began, before), (ended, after) = samples
    share = (after - before) / (ended - began)
    return PacedRun(name, bench_round, report, pace.requests_per_second, share)


def _remark(runs: Sequence[PacedRun]) -> str:
    behind = sum(run.report.requests_per_second < _HELD * run.pace for run in runs)
    return f"did not hold the pace in {behind} of {len(runs)}" if behind else ""


def render_paced(title: str, runs: Sequence[PacedRun]) -> str:
    """Return the table: medians of the rounds."""
    rows = [("", "requests/s", "p50 ms", "p99 ms", "of a core", "")]
    for name in dict.fromkeys(run.proxy for run in runs):
        of_name = [run for run in runs if run.proxy == name]
        rows.append(
            (
                name,
                f"{median(run.report.requests_per_second for run in of_name):,.0f}",
                f"{median(run.report.p50_ms for run in of_name):.2f}",
                f"{median(run.report.p99_ms for run in of_name):.2f}",
                f"{median(run.core_share for run in of_name):.3f}",
                _remark(of_name),
            )
        )
    return "\n".join([title, *columns(rows)])
