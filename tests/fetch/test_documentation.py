"""``docs/fetching.md`` says which test holds each rule; those tests exist."""

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
DOCUMENT = Path(__file__).parents[2] / "docs" / "fetching.md"
_TEST = re.compile(r"`((?:\.\./issuers/)?test_\w+\.py)::(test_\w+)`")


def rows() -> list[str]:
    return [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| ")][2:]


def functions_in(path: Path) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {each.name for each in ast.parse(path.read_text()).body if isinstance(each, functions)}


def test_every_rule_names_its_tests() -> None:
    """Each row ends with tests and nothing else, and all of them are there."""
    assert len(rows()) > 10
    for row in rows():
        column = row.removesuffix(" |").split(" | ")[-1]
        found = _TEST.findall(column)
        assert found, row
        assert _TEST.sub("", column).strip(" ,") == "", row
        for module, name in found:
            assert name in functions_in(HERE / module), f"{module}::{name}"
