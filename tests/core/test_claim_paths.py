"""Claim paths: written form and walk."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.claim_paths import ABSENT, look_up, parse_claim_path, show_claim_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("roles", ("roles",)),
        ("realm_access.roles", ("realm_access", "roles")),
        ('resource_access."my.client".roles', ("resource_access", "my.client", "roles")),
        ('"kubernetes.io".namespace', ("kubernetes.io", "namespace")),
        ("cognito:groups", ("cognito:groups",)),
        ('"https://a.example/roles"', ("https://a.example/roles",)),
        (r'"a\"b\\"', ('a"b\\',)),
        ('"a b"', ("a b",)),
    ],
)
def test_written_paths(text: str, path: tuple[str, ...]) -> None:
    """Names are joined by dots; one with a dot, a space or a quote stands in quotes."""
    assert parse_claim_path(text) == path


@pytest.mark.parametrize(
    "text",
    ["", ".", "a.", ".a", "a..b", "a b", '"a', '""', '"a"b', 'a"b"', '"a\\x"', "a\n", '"a\nb"',
     ".".join("abcdefghi"), "a\\b"],
)  # fmt: skip
def test_paths_that_are_none(text: str) -> None:
    """Empty names, open quotes, stray spaces and more than eight names are errors."""
    with pytest.raises(ValueError, match=r"^(has|holds) "):
        parse_claim_path(text)


@given(
    st.lists(
        st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1), min_size=1, max_size=8
    )
)
def test_any_path_survives_being_written(names: list[str]) -> None:
    """What is shown is read again as the same path, whatever names it has."""
    assert parse_claim_path(show_claim_path(tuple(names))) == tuple(names)


CLAIMS: dict[str, Any] = {"a": {"b.c": [1]}, "n": None, "l": [{"b": 1}], "s": "x"}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        (("a", "b.c"), [1]),
        (("a", "b"), ABSENT),
        (("x",), ABSENT),
        (("x", "y"), ABSENT),
        (("n",), None),
        (("n", "y"), None),
        (("l", "b"), None),
        (("s", "x"), None),
    ],
)
def test_the_walk(path: tuple[str, ...], found: object) -> None:
    """A missing name is absent; a step through what is no object is malformed, not absent."""
    assert look_up(CLAIMS, path) == found
