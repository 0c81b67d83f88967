"""A sidecar that guesses: every call gets the identity of the most recent live request.

What everybody would write first, and what must never ship. A test runs the tour's load with it.

    python -m tests.demo.guessing_sidecar run --config FILE
"""

import sys

import uvloop

from sidecar import assembly
from sidecar.config.load import load
from sidecar.core.attribution import (
    Attribute,
    Attributed,
    AttributionRules,
    Evidence,
    Grade,
    Lookup,
    Unattributed,
    attribute,
)
from sidecar.credentials.ledger import Ledger


def most_recent(ledger: Ledger) -> Attribute:
    """Make the resolver that asks nobody: the newest live entry, whoever's it is."""

    def guess(
        evidence: Evidence, rules: AttributionRules, lookup: Lookup, now: float, wall_now: float
    ) -> Attributed | Unattributed:
        entry = next(reversed(ledger._live.values()), None)
        if entry is None:
            return attribute(evidence, rules, lookup, now, wall_now)
        return Attributed(entry, "header", Grade.STRICT)

    return guess


def _announce(line: str) -> None:
    sys.stderr.write(line + "\n")


if __name__ == "__main__":
    configuration = load([sys.argv[-1]])
    uvloop.run(assembly.serve(configuration, announce=_announce, attribute_over=most_recent))
