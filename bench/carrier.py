"""``make bench-carrier``: what the Python carrier costs the app that loads it.

Each figure is the CPU time of a process of its own: what the neighbours on the machine do changes
it little. The variants take turns within each round all the same. Nothing is asserted about it.
"""

import argparse
import asyncio
import importlib.util
import os
import platform
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final

from bench.carrier_calls import MEASURES, NEEDS
from bench.programs import BenchError
from bench.report import columns, progress

ROOT: Final = Path(__file__).parents[1]
CARRIER: Final = ROOT / "sidecar" / "carriers" / "python"

IMPORTS: Final = "import asyncio, concurrent.futures.thread, http.client, http.server"
RESIDENT: Final = "; print(open('/proc/self/statm').read().split()[1])"

Environment = Mapping[str, str]
"""What a variant adds to the environment of the measured process."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print. 0: measured; 1: could not, with one line on standard error."""
    parser = argparse.ArgumentParser(
        prog="bench.carrier",
        description=(__doc__ or "").partition("\n\n")[2],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--rounds", type=int, default=7, help="times each variant runs")
    parser.add_argument("--calls", type=int, default=2000, help="calls in one run")
    parser.add_argument("--starts", type=int, default=15, help="times to measure start-up")
    options = parser.parse_args(argv)
    if min(options.rounds, options.calls, options.starts) < 1:
        parser.error("rounds, calls and starts must be at least 1")
    try:
        variants = find_variants()
        with answering() as port:
            calls = measure_calls(variants, port, rounds=options.rounds, calls=options.calls)
        starts = measure_starts(variants, options.starts)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 1
    print(
        f"Python {platform.python_version()}; {options.rounds} rounds of {options.calls} calls on "
        f"a kept connection, {options.starts} starts, medians."
    )
    print("\n" + render("CPU microseconds per call", calls))
    print("\n" + render("the process", starts))
    return 0


def find_variants() -> dict[str, Environment]:
    """Return what is compared: OpenTelemetry where it is installed."""
    carrier = {"PYTHONPATH": str(CARRIER)}
    variants: dict[str, Environment] = {
        "without": {},
        "strict": carrier,
        "standard": {**carrier, "SIDECAR_CARRIER": "grade=standard"},
    }
    if (directory := _find_opentelemetry()) is not None:
        signals = ("TRACES", "METRICS", "LOGS")
        variants["OpenTelemetry"] = {
            "PYTHONPATH": str(directory),
            **{f"OTEL_{signal}_EXPORTER": "none" for signal in signals},
        }
    return variants


def _find_opentelemetry() -> Path | None:
    """The directory with its sitecustomize, beside which nothing must be configured."""
    try:
        found = importlib.util.find_spec("opentelemetry.instrumentation.auto_instrumentation")
    except ModuleNotFoundError:
        return None
    return None if found is None or found.origin is None else Path(found.origin).parent


def measure_calls(
    variants: Mapping[str, Environment], port: int, *, rounds: int, calls: int
) -> dict[str, dict[str, list[float]]]:
    """Return the microseconds per call of each round, by client and variant."""
    clients = [each for each in MEASURES if each not in NEEDS or _is_installed(NEEDS[each])]
    results: dict[str, dict[str, list[float]]] = {
        client: {name: [] for name in variants} for client in clients
    }
    for number in range(1, rounds + 1):
        progress(f"calls, round {number} of {rounds}")
        for client in clients:
            for name, environment in variants.items():
                arguments = ["-m", "bench.carrier_calls", client, str(port), str(calls)]
                results[client][name].append(float(run(arguments, environment)))
    return results


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def measure_starts(
    variants: Mapping[str, Environment], starts: int
) -> dict[str, dict[str, list[float]]]:
    """Return CPU milliseconds to start, and resident MiB where the system says so; each with the
    patched modules imported.
    """
    program = IMPORTS + RESIDENT if sys.platform == "linux" else IMPORTS + "; print('nan')"
    progress("start-up and memory")
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    memory: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(starts):
        for name, environment in variants.items():
            before = _cpu_of_children()
            pages = run(["-c", program], environment)
            seconds[name].append((_cpu_of_children() - before) * 1e3)
            memory[name].append(float(pages) * resource.getpagesize() / 1024**2)
    return {"to start and end, CPU ms": seconds, "resident, MiB": memory}


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run(arguments: Sequence[str], environment: Environment) -> str:
    """Return what a Python with these arguments prints; raise ``BenchError`` if it fails."""
    variables = {**os.environ, "PYTHONPATH": "", **environment}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    if done.returncode:
        raise BenchError(f"a measured process failed: {done.stderr.strip().splitlines()[-1]}")
    return done.stdout.strip()


class Answer(asyncio.Protocol):
    """200 and nothing else, to whatever ends a head."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


@contextmanager
def answering() -> Iterator[int]:
    """Answer on loopback, from a thread of this process, which is idle otherwise."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(loop.create_server(Answer, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        server.close()
        loop.close()


def render(title: str, results: Mapping[str, Mapping[str, Sequence[float]]]) -> str:
    """Return a table of medians: what is measured by line, the variants by column."""
    names = list(next(iter(results.values())))
    rows = [
        (what, *(f"{median(values):.1f}" for values in of_variant.values()))
        for what, of_variant in results.items()
    ]
    return "\n".join([title, *columns([("", *names), *rows])])


if __name__ == "__main__":
    sys.exit(main())
