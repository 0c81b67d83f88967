"""Requests, good and bad, from a caller to the app and from the app to a destination."""

from typing import assert_never

import pytest

from tests.conformance import framing_cases, head_cases, hop_cases
from tests.conformance.cases import SMUGGLED, Case, Passed, Refused
from tests.conformance.front import Front, Outcome, Side

IN_ONE_PROCESS = pytest.mark.asyncio(loop_scope="module")
ON_BOTH_SIDES = [
    *framing_cases.REFUSED, *framing_cases.PASSED, *head_cases.REFUSED, *head_cases.PASSED,
]  # fmt: skip
INBOUND = [*hop_cases.REFUSED, *hop_cases.PASSED, *head_cases.HOSTS]


def check(case: Case, outcome: Outcome) -> None:
    """Assert the case's verdict."""
    match case.verdict:
        case Refused(status, reason):
            assert outcome.forwarded == []
            assert (outcome.statuses, outcome.reason) == ([status], reason)
            assert outcome.has_ended
        case Passed(body, target, method, has, lacks):
            (received,) = outcome.forwarded
            assert (received.method, received.target, received.body) == (method, target, body)
            assert outcome.statuses == [200]
            for name, value in has:
                assert received.all(name) == [value]
            assert not set(lacks) & received.names
        case never:
            assert_never(never)


async def run(case: Case, side: Side) -> None:
    check(case, await side.run(side.fill(case.raw)))


@IN_ONE_PROCESS
@pytest.mark.parametrize("case", [*ON_BOTH_SIDES, *INBOUND], ids=lambda case: case.name)
async def test_from_a_caller(case: Case, front: Front) -> None:
    """What two readers could read differently is refused; all else arrives as it was sent."""
    await run(case, front.inbound)


@IN_ONE_PROCESS
@pytest.mark.parametrize("case", ON_BOTH_SIDES, ids=lambda case: case.name)
async def test_from_the_app(case: Case, front: Front) -> None:
    """The app's own requests are read as strictly as its callers'."""
    await run(case, front.outbound)


def test_names_are_unique() -> None:
    """So that a name says which case it is."""
    names = [case.name for case in [*ON_BOTH_SIDES, *INBOUND]]
    assert len(set(names)) == len(names)


@IN_ONE_PROCESS
@pytest.mark.parametrize("name", head_cases.AFTER_A_MESSAGE)
async def test_after_a_message(name: str, front: Front) -> None:
    """The next request begins exactly where the one before it ends; what is none is refused."""
    raw, count = head_cases.AFTER_A_MESSAGE[name]
    outcome = await front.inbound.run(front.inbound.fill(raw))
    arrived = [(each.method, each.target) for each in outcome.forwarded]
    assert arrived == [(b"POST", b"/case")] * count
    assert outcome.statuses[:count] == [200] * count
    assert outcome.statuses[count:] in ([], [400], [401])


@IN_ONE_PROCESS
@pytest.mark.parametrize("name", hop_cases.UNDECIDED)
async def test_content_is_content(name: str, front: Front) -> None:
    """Whatever is made of a request that wants something special, what is inside stays there."""
    for raw in hop_cases.UNDECIDED[name]:
        outcome = await front.inbound.run(front.inbound.fill(raw))
        assert [each.target for each in outcome.forwarded] in ([], [b"/case"])
        assert all(each.body == SMUGGLED for each in outcome.forwarded)
        assert len(outcome.statuses) == 1
        assert outcome.statuses[0] not in (101, 502, 503, 504)
