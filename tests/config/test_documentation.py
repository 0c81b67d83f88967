from pathlib import Path

import pytest

import sidecar
from sidecar.config.reference import markdown
from tests.config.cases import lines
from tests.config.conftest import Examine

DOCUMENT = Path(sidecar.__file__).parents[1] / "docs" / "configuration.md"


def test_the_table_of_keys_is_current() -> None:
    """The document has every key with its type, default, bounds and meaning."""
    text = DOCUMENT.read_text()
    table = markdown()
    if table not in text:
        missing = [row for row in table.splitlines() if row not in text]
        pytest.fail(
            "put `sidecar schema --table` into the document; it lacks\n" + "\n".join(missing)
        )


def test_the_document_has_no_other_keys() -> None:
    """A row for a key that does not exist is found."""
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `")]
    known = markdown().splitlines()
    assert [row for row in rows if row not in known] == []


@pytest.mark.parametrize(
    "document",
    [DOCUMENT, *map(DOCUMENT.with_name, ("rules.md", "cors.md", "clients.md"))],
    ids=lambda p: p.name,
)
def test_the_example_is_accepted(examined: Examine, document: Path) -> None:
    """The file at the head of the document can be used as it stands."""
    example = document.read_text().split("```yaml\n")[1].split("```")[0]
    found = examined(example, {"CLIENT_SECRET": "x"})
    assert (lines(found.errors), lines(found.warnings)) == ([], [])
