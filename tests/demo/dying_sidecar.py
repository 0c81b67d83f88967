"""A sidecar that dies of the first outbound call, to see how the tour tells it.

python -m tests.demo.dying_sidecar run --config FILE
"""

import os
import sys
from typing import NoReturn

import uvloop

from sidecar import assembly
from sidecar.config.load import load
from sidecar.core.attribution import AttributionRules, Evidence, Lookup


def _announce(line: str) -> None:
    sys.stderr.write(line + "\n")


def die(
    evidence: Evidence, rules: AttributionRules, lookup: Lookup, now: float, wall_now: float
) -> NoReturn:
    """End the process as a crash in native code would: without any cleaning up."""
    os._exit(7)


if __name__ == "__main__":
    configuration = load([sys.argv[-1]])
    serving = assembly.serve(configuration, announce=_announce, attribute_over=lambda _: die)
    uvloop.run(serving)
