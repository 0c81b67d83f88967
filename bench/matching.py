"""What finding the rule of a request costs with one rule, a hundred and ten thousand.

Run as ``python -m bench.matching`` it takes some seconds. What is measured runs as a process of its
own (``bench.matched``), on one core, with the ``sidecar`` that is installed.
"""

from collections.abc import Mapping
from typing import Any, Final

from bench.report import columns
from bench.scripted import run_script
from bench.stage import choose_cores

RULES: Final = (1, 100, 10_000)
PATHS: Final = 2_000
LEAST_ROUNDS: Final = 9


def run_matching(*, rounds: int, core: int, paths: int = PATHS) -> dict[str, Any]:
    """Measure on *core*; raise ``BenchError`` if that failed."""
    order = {"rules": RULES, "paths": paths, "rounds": rounds}
    return run_script("matched", order, what="matching", core=core)


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
