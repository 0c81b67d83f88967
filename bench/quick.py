"""``make bench-quick``: the sidecar and Envoy on the same core, in turn, in one run.

One core belongs to the proxy under load, another to wrk, the backend and this program. The
proxies take turns within each round, so that a slow minute of the machine meets all of them.
"""

import dataclasses
import os
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.envoy import envoy
from bench.nginx import start_nginx
from bench.options import check_counts, check_names, make_parser, run_to_the_end
from bench.processes import free_port
from bench.programs import find_envoy, find_sidecar
from bench.proxy import Proxy
from bench.report import (
    how_it_is_read,
    progress,
    render_footprints,
    render_scenario,
    write_results,
)
from bench.results import Footprint, Run
from bench.scenarios import Scenario, new_tokens, run_rounds, same_token, warm_up
from bench.sidecar_proxy import sidecar
from bench.stage import choose_cores, describe, measure_starts, sidecar_version, start_all
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
    parser = make_parser("bench.quick", (__doc__ or "").partition("\n\n")[2])
    add = parser.add_argument
    add("--warmup", type=int, default=1, help="seconds before the first round; 0: none")
    add("--fresh-tokens", type=int, default=0, help="also send so many tokens in turn; 0: not")
    add("--proxies", default=",".join(PROXIES), help="which ones, comma-separated")
    found = parser.parse_args(argv)
    options = Options(**{**vars(found), "proxies": tuple(found.proxies.split(","))})
    check_names(parser, "proxy", options.proxies, PROXIES)
    check_counts(parser, found)
    if 0 < options.fresh_tokens <= SMALL_CACHE_ENTRIES:
        parser.error(f"--fresh-tokens must be over {SMALL_CACHE_ENTRIES}, or caches answer")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run everything. 0: measured; 1: could not, with one line on standard error."""
    options = parse_options(argv)

    def everything() -> int:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            measure(options, Path(directory))
        return 0

    return run_to_the_end(everything)


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


def print_report(
    options: Options,
    scenarios: Sequence[Scenario],
    runs: Sequence[Run],
    footprints: Sequence[Footprint],
) -> None:
    """Print the tables on standard output and keep everything as JSON."""
    print(f"{sidecar_version()}: this is what `sidecar` is in every table.")
    print(how_it_is_read(options.connections, options.rounds, options.seconds))
    for scenario in scenarios:
        of_scenario = [run for run in runs if run.scenario == scenario.title]
        print("\n" + render_scenario(scenario.title, of_scenario))
    print("\n" + render_footprints(footprints, idle_seconds=options.idle))
    given = {**dataclasses.asdict(options), "envoy_from": str(options.envoy_from)}
    environment = {"options": given, **describe()}
    path = write_results(RESULTS, environment=environment, runs=runs, footprints=footprints)
    print(f"\nWritten to {path}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
