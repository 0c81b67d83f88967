"""A steady load: h2load sends at a fixed rate, whatever the proxy could do besides."""

import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.programs import BenchError, find_program

_GRACE_SECONDS: Final = 15.0
_MARGIN_SECONDS: Final = 0.5
"""Left out at both ends: connections are opened then."""


@dataclass(frozen=True, slots=True)
class Pace:
    """So many requests per second over so many connections; alike for every proxy."""

    core: int
    connections: int
    seconds: int
    requests_per_second: float


@dataclass(frozen=True, slots=True)
class PacedReport:
    """One run. Latencies from writing a request to the whole answer read, in milliseconds."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float


def read_log(text: str, *, margin_seconds: float = _MARGIN_SECONDS) -> PacedReport:
    """Read what ``h2load --log-file`` wrote: start (us since the epoch), status, duration (us).

    Raises ``BenchError`` if a request failed or hardly any was made.
    """
    rows = [tuple(map(int, line.split("\t")[:3])) for line in text.splitlines()]
    if failed := sum(status != 200 for _, status, _ in rows):
        raise BenchError(f"{failed} of {len(rows)} paced requests failed or were refused")
    if len(rows) < 100:
        raise BenchError(f"h2load made {len(rows)} requests only")
    first, last = rows[0][0] + margin_seconds * 1e6, rows[-1][0] - margin_seconds * 1e6
    durations = sorted(duration for start, _, duration in rows if first <= start <= last)
    if not durations:
        raise BenchError("the paced run was too short")
    return PacedReport(
        requests_per_second=len(durations) / (last - first) * 1e6,
        p50_ms=durations[len(durations) // 2] / 1000,
        p99_ms=durations[len(durations) * 99 // 100] / 1000,
    )


def run_h2load(
    url: str,
    pace: Pace,
    *,
    headers: Mapping[str, str],
    log: Path,
    watch: Callable[[], None] = lambda: None,
) -> PacedReport:
    """Send at the *pace*, calling *watch* shortly after the start and before the end; h2load
    writes each request into *log*.

    Raises ``BenchError`` when something failed. A proxy that cannot hold the pace answers fewer
    requests than that.
    """
    log.unlink(missing_ok=True)
    process = subprocess.Popen(
        _command(url, pace, headers, log),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        time.sleep(_MARGIN_SECONDS)
        watch()
        time.sleep(pace.seconds - 2 * _MARGIN_SECONDS)
        watch()
        process.wait(timeout=_GRACE_SECONDS)
    finally:
        process.kill()
        process.wait()
    return read_log(log.read_text())


def _command(url: str, pace: Pace, headers: Mapping[str, str], log: Path) -> tuple[str, ...]:
    pinned = (find_program("taskset"), "-c", str(pace.core), find_program("h2load"))
    rate = f"{pace.requests_per_second / pace.connections:g}"
    amount = ("--h1", "-t1", f"-c{pace.connections}", f"-D{pace.seconds}", f"--rps={rate}")
    fields = tuple(part for name, value in headers.items() for part in ("-H", f"{name}: {value}"))
    return (*pinned, *amount, f"--log-file={log}", *fields, url)
