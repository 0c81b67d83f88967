"""Results as a table for a person and as JSON for a later comparison."""

import dataclasses
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

from bench.processes import Memory
from bench.results import Footprint, Row, Run, ratio, summarise

SUBJECT = "sidecar"


def how_it_is_read(connections: int, rounds: int, seconds: int) -> str:
    """Return what somebody must know to read a table of throughput."""
    return (
        f"{connections} connections, {rounds} rounds of {seconds} s, medians. A round counts if the"
        " proxy's core was at least 95 % busy and others took at most 5 % of it; CPU us is the"
        " proxy's own time per request."
    )


def render_scenario(title: str, runs: Sequence[Run]) -> str:
    """Return the table of one scenario: a line per proxy, then the ratios of the sidecar's."""
    by_proxy = group_by_proxy(runs)
    heading = (
        "",
        "requests/s",
        "p50 ms",
        "p99 ms",
        "CPU us",
        "proxy core",
        "load core",
        "others",
        "",
    )
    rows = [_row_cells(summarise(of_proxy)) for of_proxy in by_proxy.values()]
    return "\n".join([title, *columns([heading, *rows]), *_ratio_lines(by_proxy)])


def render_footprints(footprints: Sequence[Footprint], *, idle_seconds: float) -> str:
    """Return the table of memory and start-up, in MiB and milliseconds."""
    heading = ("", "idle RSS", "anonymous", "after load RSS", "anonymous", "start to ready")
    rows = [
        (
            footprint.proxy,
            *_memory_cells(footprint.idle),
            *_memory_cells(footprint.loaded),
            _start_cell(footprint.start_seconds),
        )
        for footprint in footprints
    ]
    title = f"Memory in MiB, idle {idle_seconds:g} s after ready; exec to the first ready answer"
    return "\n".join([title, *columns([heading, *rows])])


def write_results(
    directory: Path,
    *,
    environment: Mapping[str, object],
    runs: Sequence[Run],
    footprints: Sequence[Footprint],
) -> Path:
    """Write everything measured into a new file of *directory* and return its path."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / time.strftime("quick-%Y%m%dT%H%M%S.json")
    document = {
        "environment": dict(environment),
        "runs": [
            {
                **dataclasses.asdict(run),
                "cpu_microseconds": run.cpu_microseconds,
                "verdict": run.usage.verdict or "counts",
            }
            for run in runs
        ],
        "footprints": [dataclasses.asdict(footprint) for footprint in footprints],
    }
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def progress(text: str) -> None:
    """Say on standard error what takes the time."""
    print(f"bench: {text} ...", file=sys.stderr, flush=True)


def group_by_proxy(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Return the runs by proxy, in the order in which the proxies first ran."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.proxy, []).append(run)
    return groups


def _ratio_lines(by_proxy: Mapping[str, Sequence[Run]]) -> list[str]:
    subjects = [name for name in by_proxy if name.startswith(SUBJECT)]
    baselines = [name for name in by_proxy if not name.startswith(SUBJECT)]
    lines = []
    for subject in subjects:
        for baseline in baselines:
            compared = ratio(by_proxy[subject], by_proxy[baseline])
            value = "no ratio" if compared.value is None else f"{compared.value:.2f}"
            rounds = len(by_proxy[subject])
            lines.append(
                f"  {subject} / {baseline}: {value} ({compared.rounds} of {rounds} rounds count)"
            )
    return lines


def _row_cells(row: Row) -> tuple[str, ...]:
    return (
        row.proxy,
        f"{row.requests_per_second:,.0f}",
        f"{row.p50_ms:.2f}",
        f"{row.p99_ms:.2f}",
        f"{row.cpu_microseconds:.0f}",
        f"{row.proxy_core:.0%}",
        f"{row.load_core:.0%}",
        f"{row.others:.0%}",
        _verdict_cell(row),
    )


def _verdict_cell(row: Row) -> str:
    counted = Counter(row.verdicts)
    return ", ".join(f"{verdict} in {count} of {row.rounds}" for verdict, count in counted.items())


def _memory_cells(memory: Memory | None) -> tuple[str, str]:
    if memory is None:
        return ("-", "-")
    return (f"{memory.resident_kib / 1024:.1f}", f"{memory.anonymous_kib / 1024:.1f}")


def _start_cell(seconds: Sequence[float]) -> str:
    if not seconds:
        return "-"
    return f"{median(seconds) * 1000:.0f} ms (median of {len(seconds)})"


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Align: names left, numbers right, the remark at the end as it is."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  "
        + "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
