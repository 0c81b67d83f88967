"""What was measured, and what may be concluded from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.cores import Usage
from bench.processes import Memory
from bench.wrk import WrkReport


@dataclass(frozen=True, slots=True)
class Run:
    """One proxy under one load in one round."""

    scenario: str
    proxy: str
    round: int
    report: WrkReport
    usage: Usage

    @property
    def cpu_microseconds(self) -> float:
        """The proxy's own processor time per request. Means something even in a disturbed run."""
        return self.usage.own / self.report.requests_per_second * 1e6


@dataclass(frozen=True, slots=True)
class Footprint:
    """One proxy without load, and its memory after all of it."""

    proxy: str
    idle: Memory | None
    """Some seconds after ready, before the first request; ``None`` if not asked for."""
    loaded: Memory
    start_seconds: tuple[float, ...]
    """From exec to the first 200 on the readiness probe; empty if not asked for."""


@dataclass(frozen=True, slots=True)
class Row:
    """All rounds of one proxy under one load: medians, and the verdict on the rounds."""

    proxy: str
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_microseconds: float
    proxy_core: float
    load_core: float
    others: float
    verdicts: tuple[str, ...]
    """One per round that says nothing about the proxy; empty if all rounds count."""
    rounds: int


def summarise(runs: Sequence[Run]) -> Row:
    """Take the median of each number over the rounds. *runs* is one proxy's, and not empty."""
    return Row(
        proxy=runs[0].proxy,
        requests_per_second=median(run.report.requests_per_second for run in runs),
        p50_ms=median(run.report.p50_ms for run in runs),
        p99_ms=median(run.report.p99_ms for run in runs),
        cpu_microseconds=median(run.cpu_microseconds for run in runs),
        proxy_core=median(run.usage.proxy_core for run in runs),
        load_core=median(run.usage.load_core for run in runs),
        others=median(run.usage.others for run in runs),
        verdicts=tuple(run.usage.verdict for run in runs if run.usage.verdict),
        rounds=len(runs),
    )


@dataclass(frozen=True, slots=True)
class Ratio:
    """Throughput of one proxy over another's, from the rounds in which both count."""

    value: float | None
    """Median of the per-round ratios; ``None`` if no round counts."""
    rounds: int


def ratio(subject: Sequence[Run], baseline: Sequence[Run]) -> Ratio:
    """Compare round by round, so that whatever slows the machine for a while slows both."""
    others = {run.round: run for run in baseline if not run.usage.verdict}
    pairs = [
        run.report.requests_per_second / others[run.round].report.requests_per_second
        for run in subject
        if not run.usage.verdict and run.round in others
    ]
    return Ratio(median(pairs) if pairs else None, len(pairs))
