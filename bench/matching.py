"""What finding the rule of a request costs with one rule, a hundred and ten thousand.

Run as ``python -m bench.matching`` it takes some seconds. What is measured runs as a process of its
own (``bench.matched``), on one core, with the ``sidecar`` that is installed.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench.programs import BenchError, find_program
from bench.report import columns
from bench.stage import choose_cores

RULES: Final = (1, 100, 10_000)
PATHS: Final = 2_000
LEAST_ROUNDS: Final = 9
LIMIT_SECONDS: Final = 120.0
SCRIPT: Final = Path(__file__).with_name("matched.py")


def run_matching(*, rounds: int, core: int, paths: int = PATHS) -> dict[str, Any]:
    """Measure on *core*; raise ``BenchError`` if that failed."""
    order = {"rules": RULES, "paths": paths, "rounds": rounds}
    command = [find_program("taskset"), "-c", str(core), sys.executable, "-P", str(SCRIPT)]
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
        raise BenchError(f"matching: {error.stderr.strip().splitlines()[-1]}") from error
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"matching: no result in {LIMIT_SECONDS:.0f} s") from error
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def render_matching(found: Mapping[str, Any]) -> str:
    """Return the table: processor time per look-up of a path that nobody has asked for before."""
    numbers = [f"{number:,}" for number in found["rules"]]
    rows = [("us per request", *(f"{number} rules" for number in numbers), "growth")]
    for shape, costs in found["costs"].items():
        growth = f"{costs[-1] / costs[0]:.2f}"
        rows.append((shape, *(f"{cost:.2f}" for cost in costs), growth))
    build = "compiled" if found["compiled"] else "interpreted"
    return "\n".join([*columns(rows), f"  {build}; the rule that matches is the last one"])


if __name__ == "__main__":
    core, _ = choose_cores()
    print(render_matching(run_matching(rounds=LEAST_ROUNDS, core=core)))
