"""The tables of the matrix agree with what the apps can do."""

import importlib.util

import pytest

from tests.apps import styles_async, styles_sync
from tests.apps.clients import BLOCKING, LIBRARIES, NON_BLOCKING
from tests.matrix.cells import Errand, Result
from tests.matrix.expectations import STYLES, Outcome, deviations, expected
from tests.matrix.plan import groups
from tests.matrix.report import Row, Untested, render
from tests.matrix.servers import SERVERS


def test_every_style_has_an_expected_outcome() -> None:
    """Nobody adds a style without saying what must come of it, or an outcome for none."""
    assert set(STYLES) == {*styles_sync.STYLES, *styles_async.STYLES, "background"}


def test_strict_cells_may_be_wrong_only_where_a_request_works_for_others() -> None:
    """At the strict grade no outcome excuses a wrong call, but for code that leads others."""
    outcomes = {style: expected(style, "strict") for style in STYLES}
    assert Outcome.COUNTED not in outcomes.values()
    leading = {style for style, outcome in outcomes.items() if outcome is Outcome.LEADS}
    assert leading == {"leader_batch", "leader_pool", "leader_group"}


def test_nothing_is_wrong_by_nature_where_callers_take_turns() -> None:
    """Not one style, at any grade: the promise of `exclusive`."""
    for group in groups():
        if group.terms == "exclusive":
            outcomes = {expected(e.style, e.grade, e.terms) for e, _ in group.cells}
            assert not outcomes & {Outcome.COUNTED, Outcome.LEADS}, group


def test_every_server_and_client_is_in_the_plan() -> None:
    """Each server's program exists, and each client occurs at the strict grade."""
    planned = list(groups())
    assert {group.server.name for group in planned} == {server.name for server in SERVERS}
    strict = [errand for group in planned if group.grade == "strict" for errand, _ in group.cells]
    assert {errand.client for errand in strict} == {*BLOCKING, *NON_BLOCKING}
    assert {errand.style for errand in strict} == set(STYLES)
    assert set(LIBRARIES) < {*BLOCKING, *NON_BLOCKING}
    for server in SERVERS:
        assert importlib.util.find_spec(server.arguments()[1]), server


def test_same_requests_for_every_cell_of_a_process() -> None:
    """No cell is planned twice."""
    for group in groups():
        cells = [(errand, loads) for errand, loads in group.cells]
        assert len(set(cells)) == len(cells) > 0, group.server.name
        assert {errand.terms for errand, _ in group.cells} == {group.terms}


@pytest.mark.parametrize(
    ("style", "result", "found"),
    [
        ("direct", Result(right=9), []),
        ("direct", Result(right=8, wrong=1), ["1 WRONG"]),
        ("direct", Result(), ["no calls were made", "not all went through: {}"]),
        ("lazy_thread", Result(right=1), ["1 calls were attributed"]),
        ("leader_batch", Result(right=1, wrong=8), []),
        ("direct", Result(right=9, leaked=1), ["1 calls arrived with a header of the carrier's"]),
        ("direct", Result(right=9, anonymous=1), ["1 calls arrived without a token"]),
    ],
)
def test_deviations(style: str, result: Result, found: list[str]) -> None:
    """What was not as expected is said; a wrong call is never excused but where it must be."""
    assert deviations(Errand(style, "requests", "strict"), result) == found


def test_page_names_what_was_wrong_and_what_was_not_run() -> None:
    """A deviation is listed with its cell, and so is every server that could not be run."""
    errand = Errand("direct", "requests", "strict")
    result = Result(right=1, wrong=2)
    rows = [Row(SERVERS[0], errand, result, deviations(errand, result))]
    page = render(rows, [Untested("another server", "it is not installed")], 60.0)
    assert "- `strict`, http.server, requests, direct: 2 WRONG (of 3 calls)" in page
    assert "- another server: it is not installed" in page
