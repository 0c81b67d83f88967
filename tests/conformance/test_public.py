"""The published cases, through a real sidecar to a strict app, and the page that counts them."""

from collections import Counter
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conformance.front import Front
from tests.conformance.page import render
from tests.conformance.public import CASES, Judged, run_all

PAGE = Path(__file__).parents[2] / "docs" / "http-conformance.md"
IN_ONE_PROCESS = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def judged(front: Front) -> Judged:
    """Run them once for this module."""
    return await run_all(front.inbound)


@IN_ONE_PROCESS
async def test_every_outcome_is_acceptable(judged: Judged) -> None:
    """Each case ends as its authors or the RFC allow, the app got nothing that is not well-formed,
    and nobody else's request was touched."""
    assert judged.complaints == []


@IN_ONE_PROCESS
async def test_the_page_says_what_came_out(judged: Judged) -> None:
    """``python -m tests.conformance --write docs/http-conformance.md`` brings it up to date."""
    assert PAGE.read_text("utf-8") == render(judged)


def test_the_cases_are_all_there() -> None:
    """A file that shrank would make every other test here weaker."""
    assert Counter(case["grade"] for case in CASES) == {"must": 53, "should": 58, "may": 189}
