"""What docs/security.md and docs/profiles.md say is what there is."""

import ast
import re
from pathlib import Path

import pytest

from sidecar.core.profiles import PROFILES

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "security.md").read_text()
NAMED = re.findall(r"`(tests/[a-z0-9_/]+\.py)::(\w+)`", PAGE)


@pytest.mark.parametrize(("file", "test"), sorted(set(NAMED)), ids="::".join)
def test_every_test_that_is_named_exists(file: str, test: str) -> None:
    """A claim whose test was renamed or removed is found."""
    tree = ast.parse((ROOT / file).read_text())
    functions = {
        each.name for each in tree.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert test in functions
    assert test.startswith("test_")


@pytest.mark.parametrize("section", [f"3.{number}" for number in range(1, 16)])
def test_every_section_has_a_row_with_a_test(section: str) -> None:
    """3.1 to 3.12 of RFC 8725, and what its successor adds."""
    rows = [line for line in PAGE.splitlines() if re.match(rf"\| {re.escape(section)}[ ,]", line)]
    assert rows
    assert all("`tests/" in row for row in rows)


def test_no_other_spelling_of_a_test_escapes() -> None:
    """Every mention of a test file in the page is one that is checked."""
    assert len(re.findall(r"tests/", PAGE)) == len(NAMED)


def test_every_profile_is_described() -> None:
    """The table of profiles has a row for each, and no other."""
    page = (ROOT / "docs" / "profiles.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(PROFILES)
