"""The load: wrk with one thread on its own core, and what its report says."""

import re
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.programs import BenchError, find_program

_MILLISECONDS: Final = {"us": 0.001, "ms": 1.0, "s": 1_000.0, "m": 60_000.0}
_GRACE_SECONDS: Final = 15.0
"""How much longer than asked wrk may take to connect, to finish and to report."""

_MARGIN_SECONDS: Final = 0.15
"""Left out at both ends when the cores are watched: connecting and reporting are no load."""

CYCLE_TOKENS: Final = Path(__file__).with_name("cycle_tokens.lua")


@dataclass(frozen=True, slots=True)
class Load:
    """How hard wrk pushes, the same for every proxy."""

    core: int
    connections: int
    seconds: int
    """At least 1; wrk knows no parts of a second."""


@dataclass(frozen=True, slots=True)
class WrkReport:
    """One run. Latencies are wrk's, from write to the whole answer read."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float
    failures: int
    """Socket errors and answers other than 2xx or 3xx."""


def parse_report(text: str) -> WrkReport:
    """Read what ``wrk --latency`` prints. Raises ``BenchError`` if it is something else."""
    rate = re.search(r"^Requests/sec:\s+([\d.]+)", text, re.MULTILINE)
    if rate is None:
        raise BenchError(f"wrk printed no rate: {_quoted(text)}")
    errors = re.search(
        r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text
    )
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return WrkReport(
        requests_per_second=float(rate[1]),
        p50_ms=_percentile(text, 50),
        p99_ms=_percentile(text, 99),
        failures=sum(map(int, errors.groups() if errors else ()))
        + (int(refused[1]) if refused else 0),
    )


def _percentile(text: str, percent: int) -> float:
    # A unit of one letter is followed by a space, so that wrk's columns line up.
    found = re.search(rf"^\s+{percent}%\s+([\d.]+)(us|ms|s|m) ?$", text, re.MULTILINE)
    if found is None:
        raise BenchError(f"wrk printed no {percent} % latency: {_quoted(text)}")
    return float(found[1]) * _MILLISECONDS[found[2]]


def _quoted(text: str) -> str:
    return " ".join(text.split())[:500]


def run_wrk(
    url: str,
    load: Load,
    *,
    headers: Mapping[str, str],
    tokens: Path | None = None,
    watch: Callable[[], None] = lambda: None,
) -> WrkReport:
    """Push *url* for ``load.seconds``, calling *watch* shortly after the start and before the end.

    *tokens* names a file with one token per line; each request takes the next one.
    Raises ``BenchError`` if a request failed: a refusal is cheaper than an answer and must
    not count as one.
    """
    process = subprocess.Popen(
        _command(url, load, headers, tokens),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        time.sleep(_MARGIN_SECONDS)
        watch()
        time.sleep(load.seconds - 2 * _MARGIN_SECONDS)
        watch()
        output, _ = process.communicate(timeout=_GRACE_SECONDS)
    finally:
        process.kill()
        process.wait()
    report = parse_report(output)
    if report.failures:
        raise BenchError(f"{report.failures} requests to {url} failed or were refused")
    return report


def _command(
    url: str, load: Load, headers: Mapping[str, str], tokens: Path | None
) -> tuple[str, ...]:
    pinned = (find_program("taskset"), "-c", str(load.core), find_program("wrk"))
    # A slow answer is a latency, not a failure: wrk would stop counting it after two seconds.
    patience = ("--timeout", f"{_GRACE_SECONDS:.0f}s")
    amount = ("-t1", f"-c{load.connections}", f"-d{load.seconds}s", "--latency", *patience)
    fields = tuple(part for name, value in headers.items() for part in ("-H", f"{name}: {value}"))
    script = () if tokens is None else ("-s", str(CYCLE_TOKENS))
    arguments = () if tokens is None else ("--", str(tokens))
    return (*pinned, *amount, *fields, *script, url, *arguments)
