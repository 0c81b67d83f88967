"""The proxies of a run, up on their core, and what starting them took."""

import os
import platform
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack

from bench.programs import BenchError, find_program, find_sidecar
from bench.proxy import Proxy
from bench.report import progress
from bench.scenarios import Running


def choose_cores() -> tuple[int, int]:
    """Return the core of the proxies and the core of the load."""
    if not hasattr(os, "sched_getaffinity"):
        raise BenchError("processes can be pinned to cores on Linux only")
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchError("two cores are needed: one for the proxy, one for the load")
    return allowed[0], allowed[1]


def measure_starts(proxy: Proxy, core: int, times: int) -> tuple[float, ...]:
    """Return the seconds from exec to ready, once per start."""
    if times:
        progress(f"start-up of {proxy.name}")
    return tuple(_start_and_stop(proxy, core) for _ in range(times))


def _start_and_stop(proxy: Proxy, core: int) -> float:
    process, seconds = proxy.start(core=core)
    with process:
        return seconds


def start_all(
    stack: ExitStack, proxies: Sequence[Proxy], core: int, *, idle_seconds: float
) -> dict[str, Running]:
    """Start every proxy on the one core; *stack* stops them. Those not under load only sleep."""
    processes = {}
    for proxy in proxies:
        process, _ = proxy.start(core=core)
        processes[proxy.name] = stack.enter_context(process)
    if idle_seconds:
        progress(f"idle for {idle_seconds:g} s")
        time.sleep(idle_seconds)
    return {
        proxy.name: Running(
            proxy, processes[proxy.name], processes[proxy.name].memory() if idle_seconds else None
        )
        for proxy in proxies
    }


def describe() -> dict[str, object]:
    """Return what somebody needs to know of the machine and its programs to repeat a run."""
    return {
        "machine": platform.machine(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sidecar": sidecar_version(),
        "wrk": _first_line(find_program("wrk"), "-v"),
        "nginx": _first_line(find_program("nginx"), "-v"),
    }


def sidecar_version() -> str:
    """Return what the measured command says of itself: its version, and whether it is compiled."""
    return _first_line(find_sidecar(), "--version")


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    return (done.stdout + done.stderr).strip().partition("\n")[0]
