"""Measurements that run as a script in a process of their own, on one core.

A script measures the ``sidecar`` that is installed, compiled or not, and not the tree it lies in.
It reads what to measure as JSON from standard input and writes what it measured to standard output.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench.programs import BenchError, find_program

LIMIT_SECONDS: Final = 180.0


def run_script(name: str, order: Mapping[str, Any], *, what: str, core: int) -> dict[str, Any]:
    """Return what the script *name* of this package measured on *core*.

    Raises:
        BenchError: it failed, or took more than three minutes; the message begins with *what*.
    """
    script = Path(__file__).with_name(f"{name}.py")
    # -P: the sidecar that is installed, not what lies beside the script.
    command = [find_program("taskset"), "-c", str(core), sys.executable, "-P", str(script)]
    try:
        ended = subprocess.run(
            command,
            input=json.dumps(order),
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        raise BenchError(f"{what}: {error.stderr.strip().splitlines()[-1]}") from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{what}: no result in {LIMIT_SECONDS:.0f} s") from error
    found: dict[str, Any] = json.loads(ended.stdout)
    return found
