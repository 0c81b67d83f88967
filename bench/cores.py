"""How busy each core was, and with whom, from ``/proc``.

A throughput number says something about a proxy only while the proxy is what limits it, and
while nobody else uses its core. Both are visible here.
"""

import os
from dataclasses import dataclass
from pathlib import Path

FULLY_BUSY = 0.95
"""A proxy core under this share was waiting for the load, not the load for it."""

UNDISTURBED = 0.05
"""Most that other processes, or other machines on the same hardware, may take of the core."""


@dataclass(frozen=True, slots=True)
class CoreTicks:
    """Ticks of one core since boot. *running* is process time, without interrupts."""

    running: int
    stolen: int
    idle: int
    total: int


def parse_stat(text: str) -> dict[int, CoreTicks]:
    """Read the per-core lines of ``/proc/stat`` (proc(5): user nice system idle iowait …)."""
    cores = {}
    for line in text.splitlines():
        name, _, rest = line.partition(" ")
        if not name.startswith("cpu") or name == "cpu":
            continue
        user, nice, system, idle, iowait, irq, softirq, steal = map(int, rest.split()[:8])
        running = user + nice + system
        total = running + idle + iowait + irq + softirq + steal
        cores[int(name.removeprefix("cpu"))] = CoreTicks(running, steal, idle + iowait, total)
    return cores


def parse_process_ticks(text: str) -> int:
    """Return user plus system ticks of all threads from ``/proc/PID/stat``.

    The command name is in parentheses and may contain anything, so fields count from the last one.
    """
    fields = text.rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def process_seconds(pid: int) -> float:
    """Return the processor time that process *pid* has used, in seconds."""
    ticks = parse_process_ticks(Path(f"/proc/{pid}/stat").read_text())
    return ticks / os.sysconf("SC_CLK_TCK")


def scheduled_seconds(pid: int) -> float:
    """Return the same to the nanosecond, where ticks are too coarse: of the threads alive now."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


@dataclass(frozen=True, slots=True)
class Sample:
    """Both views at one instant."""

    cores: dict[int, CoreTicks]
    process_ticks: int


def take_sample(pid: int) -> Sample:
    """Read ``/proc`` now, for all cores and for the process *pid*."""
    return Sample(
        parse_stat(Path("/proc/stat").read_text()),
        parse_process_ticks(Path(f"/proc/{pid}/stat").read_text()),
    )


@dataclass(frozen=True, slots=True)
class Usage:
    """Shares of one, between two samples."""

    proxy_core: float
    load_core: float
    own: float
    """Of the proxy's core: the proxy itself, without the kernel's work in interrupts."""
    others: float
    """Of the proxy's core: other processes, and what the hypervisor gave to somebody else."""

    @property
    def verdict(self) -> str:
        """Empty if the run says something about the proxy, else the reason why not."""
        if self.proxy_core < FULLY_BUSY:
            return "load-limited"
        return "disturbed" if self.others > UNDISTURBED else ""


def usage_between(before: Sample, after: Sample, *, proxy_core: int, load_core: int) -> Usage:
    """Compare two samples. Raises ``ZeroDivisionError`` if no tick passed between them."""
    start, end = before.cores[proxy_core], after.cores[proxy_core]
    total = end.total - start.total
    own = after.process_ticks - before.process_ticks
    foreign = (end.running - start.running) - own + (end.stolen - start.stolen)
    return Usage(
        proxy_core=1 - (end.idle - start.idle) / total,
        load_core=_busy(before.cores[load_core], after.cores[load_core]),
        own=own / total,
        # Ticks are handed out in whole numbers, so the difference may dip under zero.
        others=max(0.0, foreign / total),
    )


def _busy(start: CoreTicks, end: CoreTicks) -> float:
    return 1 - (end.idle - start.idle) / (end.total - start.total)
