"""docs/outages.md says what the tests of this directory assert, and nothing else."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

import tests.outages
from tests.outages.rows import ROWS, Row
from tests.outages.support import CALLERS, REQUESTS
from tests.outages.token_rows import DESTINATION_ROWS, TOKEN_ROWS, DestinationRow, TokenRow
from tests.outages.tokens import CALLERS as TOKEN_CALLERS

DOCUMENT = Path(__file__).parents[2] / "docs/outages.md"
TABLES: Mapping[str, Mapping[str, Row | TokenRow | DestinationRow]] = {
    "Row": ROWS,
    "TokenRow": TOKEN_ROWS,
    "DestinationRow": DESTINATION_ROWS,
}


def test_the_table_is_what_is_asserted() -> None:
    """Each row of the document is a row here, in the same order."""
    text = DOCUMENT.read_text()
    rows = [line for line in text.splitlines() if re.search(r"\| `test_\w+` \|$", line)]
    assert rows == [row.line(test) for table in TABLES.values() for test, row in table.items()]


@pytest.mark.parametrize("kind", TABLES)
def test_every_row_has_its_test(kind: str) -> None:
    """Each row names a test that takes its row, and each such test has a row."""
    sources = Path(tests.outages.__file__).parent.glob("test_*.py")
    functions = "\n".join(path.read_text() for path in sources)
    with_row = re.findall(rf"^async def (test_\w+)\([^)]*\brow: {kind}\b", functions, re.MULTILINE)
    assert sorted(with_row) == sorted(TABLES[kind])


def test_the_size_of_the_load() -> None:
    """The document says how many callers and requests there were."""
    text = " ".join(DOCUMENT.read_text().split())
    assert f"with {CALLERS} callers of each kind at the same time and {REQUESTS} requests" in text
    assert f"with {TOKEN_CALLERS} callers of each kind at the same time. *Known*" in text
