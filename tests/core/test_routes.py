"""The tree of path patterns, held against matching them one by one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.routes import (
    ANY,
    BELOW,
    Pattern,
    RouteTree,
    is_segment_name,
    name_of,
    named_segments,
    pattern_of,
    segments_of,
)

SEGMENTS = st.sampled_from([b"a", b"b", b"c"])
PATTERNS = st.tuples(
    st.lists(st.sampled_from([b"a", b"b", ANY]), max_size=4),
    st.sampled_from([(), (BELOW,), (b"",)]),
).map(lambda parts: (*parts[0], *parts[1]) or (b"",))


def matches(pattern: Pattern, segments: list[bytes]) -> bool:
    """Say whether the pattern matches, written as the documentation says it."""
    if pattern and pattern[-1] == BELOW:
        head = pattern[:-1]
        return len(segments) >= len(head) and matches(head, segments[: len(head)])
    return len(pattern) == len(segments) and all(
        each == segment or (each == ANY and segment != b"")
        for each, segment in zip(pattern, segments, strict=True)
    )


@given(
    st.lists(PATTERNS, max_size=12),
    st.tuples(st.lists(SEGMENTS, max_size=5), st.sampled_from([[], [b""]])).map(
        lambda parts: parts[0] + parts[1] or [b""]
    ),
)
def test_a_tree_finds_what_matching_one_by_one_finds(
    patterns: list[Pattern], segments: list[bytes]
) -> None:
    """For any patterns and any path, each as often as it is there."""
    tree = RouteTree()
    for number, pattern in enumerate(patterns):
        tree.insert(pattern, number)
    expected = [n for n, pattern in enumerate(patterns) if matches(pattern, segments)]
    assert sorted(tree.matching(segments)) == expected


@given(PATTERNS, PATTERNS, st.lists(SEGMENTS, min_size=1, max_size=5))
def test_what_covers_a_pattern_matches_whatever_it_matches(
    covering: Pattern, covered: Pattern, segments: list[bytes]
) -> None:
    """So that a rule behind such a one never matches."""
    tree = RouteTree()
    tree.insert(covering, 1)
    if list(tree.covering(covered)) and matches(covered, segments):
        assert matches(covering, segments)


@pytest.mark.parametrize(
    ("covering", "covered"),
    [
        ("/**", "/a"),
        ("/a/**", "/a"),
        ("/a/**", "/a/*/**"),
        ("/*", "/a"),
        ("/*", "/{id}"),
        ("/{id}/b", "/*/b"),
        ("/a/*/**", "/a/b/c/d"),
    ],
)
def test_a_pattern_that_covers_another(covering: str, covered: str) -> None:
    """And is not covered by it, unless both say the same."""
    tree = RouteTree()
    tree.insert(pattern_of(covering, folded=False), 7)
    assert 7 in tree.covering(pattern_of(covered, folded=False))


@pytest.mark.parametrize(
    ("one", "other"),
    [("/a", "/**"), ("/a", "/*"), ("/a/b", "/a/**"), ("/*/b", "/a/*"), ("/a", "/")],
)
def test_a_pattern_that_leaves_something_to_another(one: str, other: str) -> None:
    """Whatever is left is the other's."""
    tree = RouteTree()
    tree.insert(pattern_of(one, folded=False), 7)
    assert 7 not in tree.covering(pattern_of(other, folded=False))


def test_named_segments_are_found_by_their_place() -> None:
    """Only a whole segment in braces is a name; whatever else is literal."""
    assert named_segments("/users/{user}/orders/{order_id}/**") == {"user": 1, "order_id": 3}
    assert named_segments("/a/{}/{a-b}/{1}/x{y}") == {}
    assert name_of("{a}") == "a"
    assert is_segment_name("a" * 64)
    assert not is_segment_name("a" * 65)


def test_folding_takes_case_and_one_trailing_slash() -> None:
    """From patterns and from paths alike."""
    assert pattern_of("/A/{Id}/", folded=True) == (b"a", ANY)
    assert pattern_of("/A/{Id}/", folded=False) == (b"A", ANY, b"")
    assert segments_of(b"/A/b/", folded=True) == [b"a", b"b"]
    assert segments_of(b"/A/b//", folded=True) == [b"a", b"b", b""]
    assert segments_of(b"/", folded=True) == [b""]
