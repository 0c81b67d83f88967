"""The bounded memory of kids that are unknown."""

import pytest

from sidecar.issuers.unknown_kids import MAX_KIDS, UnknownKids


def sought(*kids: str | None, keep_seconds: float = 30.0) -> UnknownKids:
    unknown = UnknownKids(keep_seconds)
    for kid in kids:
        unknown.seek(kid)
    return unknown


def test_only_what_a_fetch_lacked_is_unknown() -> None:
    """A kid is unknown once a fetch made for it lacked it, and not before."""
    unknown = sought("a", "b", None)
    assert not unknown.holds("b", 0)
    unknown.fetched({"a"}, 100, is_new=False)
    assert [unknown.holds(kid, 100) for kid in ("a", "b", None, "c")] == [False, True, True, False]


@pytest.mark.parametrize(("at", "held"), [(99.9, False), (100, True), (129.9, True), (130, False)])
def test_it_lapses(at: float, held: bool) -> None:
    """It holds for its time, and a clock that is set back does not prolong it."""
    unknown = sought("b")
    unknown.fetched(set(), 100, is_new=False)
    assert unknown.holds("b", at) is held


def test_changed_keys_end_it() -> None:
    """A changed set is a new answer for every kid."""
    unknown = sought("b")
    unknown.fetched(set(), 100, is_new=False)
    unknown.seek("c")
    unknown.fetched(set(), 101, is_new=True)
    assert (unknown.holds("b", 102), unknown.holds("c", 102)) == (False, True)


def test_bound() -> None:
    """However many are asked for, a bounded number is kept, and the oldest goes first."""
    unknown = sought("first")
    unknown.fetched(set(), 0, is_new=False)
    for number in range(3 * MAX_KIDS):
        unknown.seek(f"invented-{number}")
    assert len(unknown) == MAX_KIDS + 1
    unknown.fetched(set(), 1, is_new=False)
    assert len(unknown) == MAX_KIDS
    assert not unknown.holds("first", 1)
    assert unknown.holds(f"invented-{MAX_KIDS - 1}", 1)
