"""The published cases for HTTP/1.1 parsers, and what is to be said of an outcome.

They come from Http11Probe (MIT) and http-desync-guardian (Apache-2.0); each names its source.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.front import Outcome, Side

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "http1_public.json").read_text("utf-8")
)
SAYS_WHAT_IS_NOT_SERVED = {501, 505}
"""The 5xx that are right answers to a request: method or coding (RFC 9110, 15.6.2), version."""


@dataclass(frozen=True)
class Judged:
    """All cases, run one after the other."""

    complaints: list[str]
    kinds: Mapping[tuple[str, str], int]
    """How many ended as ``forward``, ``reject`` or ``close``, by grade and that."""

    def count(self, grade: str, *kinds: str) -> int:
        """Return how many cases of *grade* ended as one of *kinds*."""
        return sum(self.kinds.get((grade, kind), 0) for kind in kinds)


async def run_all(side: Side) -> Judged:
    """Send every case, each followed by innocent requests."""
    complaints: list[str] = []
    kinds: Counter[tuple[str, str]] = Counter()
    for case in CASES:
        try:
            outcome = await side.run(side.fill(case["raw"].encode("latin-1")))
        except AssertionError as error:  # somebody else's request was touched
            complaints.append(f"{case['name']}: {error}")
            continue
        kinds[case["grade"], outcome.kind] += 1
        if (problem := _problem(case, outcome)) is not None:
            complaints.append(f"{case['name']}: {problem}")
    return Judged(complaints, kinds)


def _problem(case: dict[str, Any], outcome: Outcome) -> str | None:
    if len(outcome.forwarded) not in case["n"]:
        return f"{len(outcome.forwarded)} requests reached the app, not one of {case['n']}"
    if outcome.kind not in case["accept"]:
        return f"{outcome.kind} {outcome.statuses}, not one of {case['accept']}"
    if not {each for each in outcome.statuses if each >= 500} <= SAYS_WHAT_IS_NOT_SERVED:
        return f"answered {outcome.statuses}"
    return None
