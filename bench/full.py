"""``make bench``: all that the forwarding path is judged by, section by section, in one run.

As in ``make bench-quick`` one core belongs to the proxy that is measured, and the proxies of a
section take turns within each round. A section can be run alone: ``ARGS='--sections pace,bodies'``.
"""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bench.nginx import start_nginx
from bench.options import check_counts, check_names, make_parser, run_to_the_end
from bench.processes import free_port
from bench.programs import BenchError
from bench.report import how_it_is_read
from bench.sections import SECTIONS, Bench, Options
from bench.stage import choose_cores, sidecar_version
from bench.tokens import Signer


def parse_options(argv: Sequence[str] | None = None) -> Options:
    """Read the command line. Exits with status 2 and one line if it makes no sense."""
    parser = make_parser("bench.full", (__doc__ or "").partition("\n\n")[2])
    names = tuple(SECTIONS)
    parser.add_argument("--sections", default=",".join(names), help="which ones, comma-separated")
    found = parser.parse_args(argv)
    options = Options(**{**vars(found), "sections": tuple(found.sections.split(","))})
    check_names(parser, "section", options.sections, names)
    check_counts(parser, found)
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sections. 0: measured; 1: one could not be, with one line on standard error."""
    options = parse_options(argv)

    def everything() -> int:
        with tempfile.TemporaryDirectory(prefix="bench-") as directory:
            return measure(options, Path(directory))

    return run_to_the_end(everything)


def measure(options: Options, directory: Path) -> int:
    """Run the sections in *directory*, print their tables. 1: one could not be measured."""
    proxy_core, load_core = choose_cores()
    os.sched_setaffinity(0, {load_core})
    directory.chmod(0o755)  # nginx drops its privileges
    port = free_port()
    forged = Signer.generate().token()
    bench = Bench(options, directory, Signer.generate(), forged, proxy_core, load_core, port)
    print(f"{sidecar_version()}: this is what `sidecar` is in every table.")
    print(how_it_is_read(options.connections, options.rounds, options.seconds))
    failed = 0
    with start_nginx(directory, port=port, core=load_core):
        for section in options.sections:
            print(f"\n## {section}: {SECTIONS[section].__doc__}", flush=True)
            failed += _run(section, bench)
    return 1 if failed else 0


def _run(section: str, bench: Bench) -> int:
    """A section that fails says so; the others go on."""
    try:
        SECTIONS[section](bench)
    except BenchError as error:
        print(f"bench: {section}: {error}", file=sys.stderr, flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
