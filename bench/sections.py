"""The sections of ``bench.full``, each a question about the forwarding path."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

from bench.envoy import envoy
from bench.explanation import LEAST_ROUNDS as EXPLAIN_ROUNDS
from bench.explanation import render_explanation, run_explanation
from bench.footprint import idle_connections, slow_readers
from bench.h2load import Pace
from bench.held import HeldRequests, allow_open_files
from bench.matching import render_matching, run_matching
from bench.nginx import SIZES
from bench.operating import render_operating, run_operating, write_certificate
from bench.paced import PacedRun, render_paced, run_paced
from bench.plain import haproxy, nginx_proxy
from bench.processes import free_port
from bench.programs import find_envoy, find_sidecar
from bench.proxy import Proxy
from bench.report import columns, progress, render_footprints, render_scenario
from bench.results import Footprint, Run, summarise
from bench.scenarios import (
    BROWSER_FIELDS,
    Running,
    Scenario,
    new_tokens,
    run_rounds,
    same_token,
    warm_up,
)
from bench.sidecar_proxy import Calls, sidecar
from bench.stage import measure_starts, start_all
from bench.token_server import TokenServer
from bench.tokens import ALGORITHMS, Signer
from bench.verification import LEAST_ROUNDS, render_verification, run_verification
from bench.verify import verify, verify_attached
from bench.wrk import Load, run_wrk

RELAY: Final = "sidecar-outbound"
EXCHANGE: Final = "sidecar-exchange"
CARRIER: Final = "python/0.1; grade=strict"
MANY_TOKENS: Final = 100_000
MANY_RULES: Final = 10_000
MANY_ENTRIES: Final = 9_700
"""Two sockets each in this process and in the sidecar: within the usual hard limit of files."""
IDLE_CONNECTIONS: Final = 10_000
SLOW_READERS: Final = 500
FRESH_TOKENS: Final = 5_000
SMALL_CACHE: Final = 100
STEADY: Final = 1_000.0
"""Requests per second at which processor time is compared."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line decided."""

    rounds: int
    seconds: int
    connections: int
    starts: int
    idle: float
    sections: tuple[str, ...]
    envoy_from: Path


@dataclass(slots=True)
class Bench:
    """What the sections share."""

    options: Options
    directory: Path
    signer: Signer
    forged: str
    proxy_core: int
    load_core: int
    backend_port: int
    _number: int = field(default=0)

    @property
    def load(self) -> Load:
        options = self.options
        return Load(self.load_core, options.connections, options.seconds)

    def bearer(self, algorithm: str = "RS256") -> dict[str, str]:
        return {"Authorization": f"Bearer {self.signer.token(algorithm=algorithm)}"}

    def place(self) -> Path:
        """A new directory, for the files of proxies that may share a name with earlier ones."""
        self._number += 1
        place = self.directory / str(self._number)
        place.mkdir(mode=0o755)
        return place

    def envoy(self, *, cached: bool = True, logs: bool = False) -> Proxy:
        return envoy(
            find_envoy(self.options.envoy_from),
            self.place(),
            jwks=self.signer.jwks(),
            backend_port=self.backend_port,
            cached=cached,
            logs=logs,
        )

    def sidecar(
        self,
        name: str = "sidecar",
        *,
        app_port: int | None = None,
        logs: bool = True,
        rules: int = 1,
        explains: bool = True,
        cache_entries: int | None = None,
        calls: Calls | None = None,
        tls: tuple[Path, Path] | None = None,
    ) -> Proxy:
        return sidecar(
            find_sidecar(),
            self.place(),
            jwks=self.signer.jwks(),
            backend_port=app_port or self.backend_port,
            name=name,
            logs=logs,
            rules=rules,
            explains=explains,
            cache_entries=cache_entries,
            calls=calls,
            tls=tls,
        )

    @contextmanager
    def running(self, *proxies: Proxy, idle: float = 0.0) -> Iterator[dict[str, Running]]:
        """Start *proxies*; those that verify tokens are shown one good and two bad ones."""
        with ExitStack() as stack:
            running = start_all(stack, proxies, self.proxy_core, idle_seconds=idle)
            for one in running.values():
                if one.proxy.name not in ("nginx", "haproxy"):
                    token = self.signer.token()
                    verify(one.proxy, token=token, forged=self.forged)
            yield running

    def rounds(self, scenario: Scenario, running: Mapping[str, Running]) -> list[Run]:
        """Run the scenario and print its table."""
        options = self.options
        runs = list(
            run_rounds(
                scenario, running, self.load, proxy_core=self.proxy_core, rounds=options.rounds
            )
        )
        print("\n" + render_scenario(scenario.title, runs), flush=True)
        return runs

    def warm(self, running: Mapping[str, Running]) -> None:
        warm_up(running, dataclasses.replace(self.load, seconds=1), self.signer.token())


# --- sections ---


def throughput(bench: Bench) -> None:
    """Verify a known RS256 token and forward. The sidecar's access log is on, Envoy's is not."""
    proxies = bench.envoy(), bench.envoy(cached=False), bench.sidecar()
    with bench.running(*proxies) as running:
        bench.warm(running)
        for scenario in same_token(tuple(running), bench.signer.token()):
            bench.rounds(scenario, running)


def logs(bench: Bench) -> None:
    """The same with an access log on both sides, and on neither."""
    proxies = bench.envoy(logs=True), bench.sidecar()
    with bench.running(*proxies) as running:
        bench.warm(running)
        bench.rounds(Scenario("access log on both", tuple(running), bench.bearer()), running)
    with bench.running(bench.envoy(), bench.sidecar(logs=False)) as running:
        bench.warm(running)
        bench.rounds(Scenario("access log on neither", tuple(running), bench.bearer()), running)


def algorithms(bench: Bench) -> None:
    """Known tokens under other algorithms."""
    with bench.running(bench.envoy(), bench.sidecar()) as running:
        bench.warm(running)
        for algorithm in ALGORITHMS[1:]:
            bearer = bench.bearer(algorithm)
            bench.rounds(Scenario(f"{algorithm}, known token", tuple(running), bearer), running)


def fresh_tokens(bench: Bench) -> None:
    """Every token new: nobody's cache helps. The sidecar's access log is on."""
    proxies = (
        bench.envoy(cached=False),
        bench.envoy(cached=False, logs=True),
        bench.sidecar(cache_entries=SMALL_CACHE),
    )
    with bench.running(*proxies) as running:
        bench.warm(running)
        for algorithm in ALGORITHMS:
            progress(f"signing {FRESH_TOKENS} tokens with {algorithm}")
            tokens = [
                bench.signer.token(serial=serial, algorithm=algorithm)
                for serial in range(FRESH_TOKENS)
            ]
            scenario = new_tokens(tuple(running), tokens, bench.place() / "tokens")
            title = f"{algorithm}, {scenario.title}"
            bench.rounds(dataclasses.replace(scenario, title=title), running)


def verification(bench: Bench) -> None:
    """Verify in one process, next to the bare check of the signature; find a known token."""
    rounds = max(LEAST_ROUNDS, bench.options.rounds)
    found = run_verification(bench.signer, rounds=rounds, core=bench.proxy_core)
    print("\n" + render_verification(found), flush=True)


def outbound(bench: Bench) -> None:
    """Attribute a call and attach a token, against verifying one and forwarding.

    The caller's own token, and one that was exchanged for it and is at hand.
    """
    with (
        TokenServer("opaque-" * 128) as tokens,
        held(bench, {RELAY: 1}) as relaying,
        held(bench, {EXCHANGE: 1}, tokens) as exchanging,
        bench.running(bench.sidecar()) as inward,
    ):
        fields = {**bench.bearer(), **BROWSER_FIELDS}
        runs = []
        for number in range(1, bench.options.rounds + 1):
            progress(f"outbound: round {number} of {bench.options.rounds}")
            for name, one, headers in (
                ("sidecar", inward["sidecar"], fields),
                (RELAY, *relaying[RELAY]),
                (EXCHANGE, *exchanging[EXCHANGE]),
            ):
                once = Scenario("", (name,), {**BROWSER_FIELDS, **headers})
                runs += one_round(bench, once, one, number)
        title = "10 header fields: inbound, outbound with the caller's token, with an exchanged one"
        print("\n" + render_scenario(title, runs), flush=True)
        print(f"tokens asked for: {tokens.asked}", flush=True)


def one_round(bench: Bench, scenario: Scenario, one: Running, number: int) -> list[Run]:
    """Run the one proxy of *scenario* in round *number*."""
    running = {one.proxy.name: one}
    runs = run_rounds(scenario, running, bench.load, proxy_core=bench.proxy_core, rounds=1)
    return [dataclasses.replace(run, round=number) for run in runs]


@contextmanager
def held(
    bench: Bench, entries: Mapping[str, int], tokens: TokenServer | None = None
) -> Iterator[dict[str, tuple[Running, dict[str, str]]]]:
    """Sidecars with so many live entries each; the outbound listener is their port.

    Calls have the caller's token, or one of *tokens*.
    """
    with ExitStack() as stack:
        found = {}
        for name, count in entries.items():
            app = stack.enter_context(HeldRequests())
            allow_open_files(2 * count)  # the sidecar inherits it
            endpoint = "" if tokens is None else tokens.url
            calls = Calls(free_port(), bench.backend_port, endpoint)
            proxy = bench.sidecar(name, app_port=app.port, calls=calls)
            process, _ = proxy.start(core=bench.proxy_core)
            stack.enter_context(process)
            progress(f"{count} requests held open")
            token = bench.signer.token(algorithm="EdDSA")
            app.hold(proxy.port, token, count)
            outward = dataclasses.replace(proxy, port=calls.port)
            headers = {"x-sidecar-context": app.handles[-1], "x-sidecar-carrier": CARRIER}
            attached = token if tokens is None else tokens.token
            verify_attached(outward, headers=headers, token=attached)
            found[name] = Running(outward, process, None), headers
        yield found


def connections(bench: Bench) -> None:
    """Few connections, many, and a new one for each request."""
    proxies = (
        bench.envoy(),
        bench.sidecar(),
        haproxy(bench.place(), backend_port=bench.backend_port),
    )
    with bench.running(*proxies) as running:
        bench.warm(running)
        names = tuple(running)
        for count in (1, 32, 256):
            title = f"{count} connections" if count > 1 else "1 connection"
            bench.rounds(Scenario(title, names, bench.bearer(), connections=count), running)
        each = {**bench.bearer(), "Connection": "close"}
        bench.rounds(Scenario("a connection per request", names, each), running)


def bodies(bench: Bench) -> None:
    """Responses of 1 KiB to 1 MiB."""
    proxies = (
        bench.envoy(),
        nginx_proxy(bench.place(), backend_port=bench.backend_port),
        haproxy(bench.place(), backend_port=bench.backend_port),
        bench.sidecar(),
    )
    with bench.running(*proxies) as running:
        bench.warm(running)
        for size in SIZES:
            title = f"responses of {size}"
            bench.rounds(
                Scenario(title, tuple(running), bench.bearer(), path=f"/size/{size}"), running
            )


def pace(bench: Bench) -> None:
    """Latency at half of our saturated rate, processor time at a steady rate."""
    with bench.running(bench.envoy(), bench.sidecar()) as running:
        bench.warm(running)
        scenario = Scenario("", tuple(running), bench.bearer())
        saturated = list(
            run_rounds(scenario, running, bench.load, proxy_core=bench.proxy_core, rounds=3)
        )
        ours, theirs = (
            summarise([run for run in saturated if run.proxy == name]).requests_per_second / 2
            for name in ("sidecar", "envoy-cache")
        )
        for title, rate in (
            ("half of our saturated rate", ours),
            ("half of Envoy's saturated rate", theirs),
            ("steady", STEADY),
        ):
            runs = _paced_rounds(bench, running, rate)
            print("\n" + render_paced(f"{title}: {rate:,.0f} requests/s", runs), flush=True)


def _paced_rounds(bench: Bench, running: Mapping[str, Running], rate: float) -> list[PacedRun]:
    options = bench.options
    pace = Pace(bench.load_core, 32, max(4, options.seconds), rate)
    log = bench.place() / "paced.log"
    runs = []
    for number in range(1, options.rounds + 1):
        progress(f"{rate:.0f} requests/s: round {number} of {options.rounds}")
        direct = f"http://127.0.0.1:{bench.backend_port}/"
        runs.append(run_paced("(no proxy)", direct, None, pace, {}, log=log, bench_round=number))
        for name, one in running.items():
            runs.append(
                run_paced(
                    name,
                    one.proxy.url,
                    one.process.pid,
                    pace,
                    bench.bearer(),
                    log=log,
                    bench_round=number,
                )
            )
    return runs


def growth(bench: Bench) -> None:
    """What a request costs where there are many rules, tokens or live entries."""
    few, many = (
        bench.sidecar("sidecar-1-rule"),
        bench.sidecar("sidecar-many-rules", rules=MANY_RULES),
    )
    with bench.running(few, many) as running:
        bench.warm(running)
        title = f"1 rule, and {MANY_RULES:,} of which the last matches"
        runs = bench.rounds(Scenario(title, tuple(running), bench.bearer()), running)
        _say_growth(runs)
    _grow_tokens(bench)
    entries = {"sidecar-1-entry": 1, "sidecar-many-entries": MANY_ENTRIES}
    with held(bench, entries) as outward:
        runs = []
        for number in range(1, bench.options.rounds + 1):
            progress(f"entries: round {number} of {bench.options.rounds}")
            for name, (one, headers) in outward.items():
                runs += one_round(bench, Scenario("", (name,), headers), one, number)
        title = f"outbound with 1 and {MANY_ENTRIES:,} live entries"
        print("\n" + render_scenario(title, runs), flush=True)
        _say_growth(runs)


def _grow_tokens(bench: Bench) -> None:
    place = bench.place()
    progress(f"signing {MANY_TOKENS} tokens")
    tokens = [bench.signer.token(serial=n, algorithm="EdDSA") for n in range(MANY_TOKENS)]
    few, many = place / "few", place / "many"
    few.write_text("".join(f"{token}\n" for token in tokens[:10]))
    many.write_text("".join(f"{token}\n" for token in tokens))
    with bench.running(bench.sidecar(cache_entries=2 * MANY_TOKENS)) as running:
        (one,) = running.values()
        progress("filling the cache")
        for _ in range(20):
            load = dataclasses.replace(bench.load, seconds=10)
            report = run_wrk(one.proxy.url, load, headers={}, tokens=many)
            if report.requests_per_second * 10 > MANY_TOKENS:
                break
        runs = []
        for number in range(1, bench.options.rounds + 1):
            for title, file in (("sidecar-10-tokens", few), ("sidecar-many-tokens", many)):
                once = Scenario("", ("sidecar",), {}, tokens=file)
                (run,) = one_round(bench, once, one, number)
                runs.append(dataclasses.replace(run, proxy=title))
        print("\n" + render_scenario(f"10 and {MANY_TOKENS:,} known tokens", runs), flush=True)
        _say_growth(runs)


def _say_growth(runs: Sequence[Run]) -> None:
    """Compare round by round, as ratios of throughput are."""
    few, many = (
        {run.round: run.cpu_microseconds for run in runs if run.proxy == name}
        for name in dict.fromkeys(run.proxy for run in runs)
    )
    ratios = [many[number] / few[number] for number in few]
    low, high = min(ratios), max(ratios)
    print(
        f"  processor time per request: {median(ratios):.2f} times ({low:.2f} to {high:.2f})",
        flush=True,
    )


def memory(bench: Bench) -> None:
    """Start, idle memory, and what connections cost that are idle, or whose callers do not read."""
    proxies = bench.envoy(), bench.sidecar()
    options = bench.options
    starts = {p.name: measure_starts(p, bench.proxy_core, options.starts) for p in proxies}
    heading = (
        "KiB per connection",
        f"idle, of {IDLE_CONNECTIONS:,}",
        f"1 MiB asked for and not read, of {SLOW_READERS:,}",
    )
    rows = [heading]
    token = bench.signer.token()
    slow = {}
    with bench.running(*proxies) as running:  # memory that was freed before would be used again
        for name, one in running.items():
            progress(f"{name}: {SLOW_READERS} callers who do not read")
            slow[name] = _grown(one, slow_readers(one.proxy.port, token, SLOW_READERS))
    with bench.running(*proxies, idle=options.idle) as running:
        for name, one in running.items():
            progress(f"{name}: {IDLE_CONNECTIONS} idle connections")
            idle = _grown(one, idle_connections(one.proxy.port, token, IDLE_CONNECTIONS))
            kib = f"{idle / IDLE_CONNECTIONS:.1f}", f"{slow[name] / SLOW_READERS:.1f}"
            rows.append((name, *kib))
        footprints = [
            Footprint(name, one.idle, one.process.memory(), starts[name])
            for name, one in running.items()
        ]
    print("\n" + render_footprints(footprints, idle_seconds=options.idle))
    print("\n" + "\n".join(columns(rows)), flush=True)


def _grown(one: Running, connections: AbstractContextManager[None]) -> int:
    """Return by how many KiB *one* has grown while there are such *connections*."""
    before = one.process.memory().resident_kib
    with connections:
        return one.process.memory().resident_kib - before


def matching(bench: Bench) -> None:
    """What finding the rule of a request costs, by the number of rules."""
    found = run_matching(rounds=max(bench.options.rounds, LEAST_ROUNDS), core=bench.proxy_core)
    print("\n" + render_matching(found), flush=True)


def explain(bench: Bench) -> None:
    """What keeping a permitted request for `sidecar explain` costs, in memory and by sockets."""
    rounds = max(bench.options.rounds, EXPLAIN_ROUNDS)
    found = run_explanation(bench.signer, rounds=rounds, core=bench.proxy_core)
    print("\n" + render_explanation(found), flush=True)
    without, with_ring = bench.sidecar("kept-nowhere", explains=False), bench.sidecar("kept")
    with bench.running(without, with_ring) as running:
        bench.warm(running)
        title = "without and with a ring of decisions"
        runs = bench.rounds(Scenario(title, tuple(running), bench.bearer()), running)
        _say_growth(runs)


def operating(bench: Bench) -> None:
    """What one pod's sidecar takes at 0, 10, 100 and 1,000 requests/s, with and without TLS."""
    plain = bench.sidecar()
    secured = bench.sidecar("sidecar, TLS", tls=write_certificate(bench.place()))
    with ExitStack() as stack:
        # Shown no tokens, for that is done without TLS; h2load fails if a request is refused.
        running = start_all(stack, (plain, secured), bench.proxy_core, idle_seconds=0)
        found = run_operating(
            running,
            bench.bearer(),
            core=bench.load_core,
            rounds=bench.options.rounds,
            seconds=bench.options.seconds,
            log=bench.place() / "h2load.log",
        )
        print("\n" + render_operating(list(found)), flush=True)


SECTIONS: Final[Mapping[str, Callable[[Bench], None]]] = {
    "throughput": throughput,
    "logs": logs,
    "algorithms": algorithms,
    "fresh-tokens": fresh_tokens,
    "verification": verification,
    "explain": explain,
    "outbound": outbound,
    "connections": connections,
    "bodies": bodies,
    "pace": pace,
    "growth": growth,
    "matching": matching,
    "memory": memory,
    "operating": operating,
}
