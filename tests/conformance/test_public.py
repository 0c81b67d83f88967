"""The published cases for HTTP/1.1 parsers, through a real sidecar to a strict app.

The cases come from Http11Probe (MIT) and http-desync-guardian (Apache-2.0); each names its source.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.front import Front, Outcome

CASES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "http1_public.json").read_text("utf-8")
)
SAYS_WHAT_IS_NOT_SERVED = {501, 505}
"""The 5xx that are right answers to a request: method or coding (RFC 9110, 15.6.2), version."""

IN_ONE_PROCESS = pytest.mark.asyncio(loop_scope="module")


def complaint(case: dict[str, Any], outcome: Outcome) -> str | None:
    """Say what is wrong with *outcome*, ``None`` if nothing is."""
    if len(outcome.forwarded) not in case["n"]:
        return f"{len(outcome.forwarded)} requests reached the app, not one of {case['n']}"
    if outcome.kind not in case["accept"]:
        return f"{outcome.kind} {outcome.statuses}, not one of {case['accept']}"
    if not {each for each in outcome.statuses if each >= 500} <= SAYS_WHAT_IS_NOT_SERVED:
        return f"answered {outcome.statuses}"
    return None


@IN_ONE_PROCESS
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
async def test_public_case(case: dict[str, Any], front: Front) -> None:
    """The outcome is an acceptable one, the app got nothing that is not well-formed, and nobody
    else's request was touched."""
    side = front.inbound
    assert complaint(case, await side.run(side.fill(case["raw"].encode("latin-1")))) is None


def test_the_cases_are_all_there() -> None:
    """A file that shrank would make every other test here weaker."""
    assert Counter(case["grade"] for case in CASES) == {"must": 53, "should": 58, "may": 189}
