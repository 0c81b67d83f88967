"""A long trial: very many attributed calls, none of them wrong, in memory that stays flat.

The tour's user-service with the carrier, a sidecar, and a destination that knows every token;
callers who hang up and destinations that fail among them. Run as ``python -m bench.soak``.
"""

import argparse
import asyncio
import json
import shlex
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import sidecar
from bench.processes import Memory, parse_smaps_rollup
from bench.report import progress
from sidecar.testbed.ports import free_ports
from sidecar.testbed.processes import SIDECAR
from sidecar.trial.plan import Endpoint, Plan
from sidecar.trial.report import Report
from sidecar.trial.running import Progress, run_trial

CALLS: Final = 300_000
SAMPLES: Final = 30
_APP: Final = Path(sidecar.__file__).parent / "demo" / "user_service.py"


@dataclass
class Sampler:
    """The sidecar's memory, read each time another share of the requests is done."""

    pid_file: Path
    every: int
    samples: list[tuple[int, Memory]] = field(default_factory=list)
    done_before: int = 0
    """In the rounds that are over."""

    def look(self, report: Progress) -> None:
        done = self.done_before + report.done
        if done >= len(self.samples) * self.every:
            text = Path(f"/proc/{self.pid_file.read_text().strip()}/smaps_rollup").read_text()
            memory = parse_smaps_rollup(text)
            self.samples.append((done, memory))
            progress(
                f"{done:,} requests, {report.ok:,} calls right, {report.wrong} wrong, "
                f"{report.refused:,} refused; sidecar {memory.resident_kib / 1024:.1f} MiB "
                f"resident, {memory.anonymous_kib / 1024:.1f} anonymous"
            )
        if report.is_over:
            self.done_before += report.done


async def soak(calls: int, concurrency: int, directory: Path) -> tuple[Report, Sampler, float]:
    """Make *calls* requests, *concurrency* at once."""
    app, destination = free_ports(2)
    pid_file = directory / "pid"
    plan = Plan(
        app=f"http://127.0.0.1:{app}",
        endpoints=(Endpoint.parse("GET /users/{user}"),),
        destinations={"profiles": destination},
        start=(sys.executable, str(_APP), "--port", str(app)),
        environment={"PROFILES_URL": f"http://127.0.0.1:{destination}"},
        calls=calls,
        concurrency=(concurrency,),
        latency_seconds=0.005,
        timeout_seconds=3 * 3600.0,
    )
    noted = f'echo $$ >{shlex.quote(str(pid_file))}; exec "$@"'
    sampler = Sampler(pid_file, max(1, calls // SAMPLES))
    began = time.monotonic()
    report = await run_trial(
        plan, progress=sampler.look, sidecar_command=("sh", "-c", noted, "sh", *SIDECAR)
    )
    return report, sampler, time.monotonic() - began


def render(report: Report, sampler: Sampler, seconds: float) -> str:
    """Say what it came to, for a person."""
    total = report.total
    # The first tenth warms up: caches fill, the allocator finds its size.
    settled = sampler.samples[len(sampler.samples) // 10 :]
    resident = [memory.resident_kib / 1024 for _, memory in settled]
    anonymous = [memory.anonymous_kib / 1024 for _, memory in settled]
    refused = ", ".join(f"{count:,} {reason}" for reason, count in total.refused.items())
    return "\n".join(
        (
            f"{total.requests:,} requests, {total.calls:,} calls in {seconds:.0f} s",
            f"right {total.ok:,}, wrong {total.wrong}, no token {total.anonymous}",
            f"refused: {refused or 'none'} ({total.after_hang_up:,} after their caller hung up)",
            f"sidecar, resident MiB: {resident[0]:.1f} at first, {resident[-1]:.1f} at last, "
            f"{max(resident):.1f} at most; anonymous: {anonymous[0]:.1f}, {anonymous[-1]:.1f}, "
            f"{max(anonymous):.1f}",
        )
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__)
    parser.add_argument("--calls", type=int, default=CALLS)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--results", type=Path, help="write the report as JSON to this file")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="sidecar-soak-") as directory:
        report, sampler, seconds = asyncio.run(
            soak(options.calls, options.concurrency, Path(directory))
        )
    print(render(report, sampler, seconds))
    if options.results is not None:
        options.results.write_text(json.dumps(report.as_document(), indent=2))
    return 1 if report.total.wrong or not report.total.ok else 0


if __name__ == "__main__":
    sys.exit(main())
