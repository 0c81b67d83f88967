"""JSON patches: what they say, and that somebody else's code makes the same of them."""

from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.kubernetes.patching import difference, pointer

DIFFERENCES: list[tuple[Any, Any, list[dict[str, Any]]]] = [
    ({"a": 1}, {"a": 1}, []),
    ({"a": 1}, {"a": 2}, [{"op": "replace", "path": "/a", "value": 2}]),
    ({}, {"a/b~c": []}, [{"op": "add", "path": "/a~1b~0c", "value": []}]),
    ({"a": 1, "b": 2}, {"b": 2}, [{"op": "remove", "path": "/a"}]),
    ({"a": None}, {"a": False}, [{"op": "replace", "path": "/a", "value": False}]),
    # Three values in JSON, one in Python.
    ([1], [True], [{"op": "replace", "path": "/0", "value": True}]),
    ([1], [1.0], [{"op": "replace", "path": "/0", "value": 1.0}]),
    # A container before others moves none of them.
    (
        [{"name": "a", "x": 1}, {"name": "b"}],
        [{"name": "new"}, {"name": "a", "x": 2}, {"name": "b"}],
        [
            {"op": "add", "path": "/0", "value": {"name": "new"}},
            {"op": "replace", "path": "/1/x", "value": 2},
        ],
    ),
    (
        [{"name": "a"}, {"name": "b"}, {"name": "c"}],
        [{"name": "a"}, {"name": "c"}, {"name": "d"}],
        [
            {"op": "remove", "path": "/1"},
            {"op": "add", "path": "/2", "value": {"name": "d"}},
        ],
    ),
    # One value for another, inside a list.
    (
        [{"p": 1, "q": 1}],
        [{"p": 2, "q": 1}],
        [{"op": "replace", "path": "/0/p", "value": 2}],
    ),
]


@pytest.mark.parametrize(("old", "new", "operations"), DIFFERENCES)
def test_operations(old: Any, new: Any, operations: list[dict[str, Any]]) -> None:
    """A patch says what changed, and no more."""
    assert list(difference(old, new)) == operations


def test_pointer() -> None:
    """Keys are escaped in the order that RFC 6901 demands."""
    assert pointer("~1/") == "~01~1"


KEYS = st.text(alphabet="ab~/01-", max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats(-1, 1) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.lists(st.fixed_dictionaries({"name": st.sampled_from("abcd"), "x": inner}), max_size=4)
    ),
    max_leaves=10,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=4)


@settings(max_examples=60)
@given(DOCUMENTS, DOCUMENTS)
def test_applied(old: dict[str, Any], new: dict[str, Any]) -> None:
    """Any document becomes any other, exactly, and the same one stays as it is."""
    result = jsonpatch.JsonPatch(list(difference(old, new))).apply(old)
    assert result == new
    assert difference(result, new) == ()
    assert difference(new, new) == ()
