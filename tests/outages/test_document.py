"""docs/outages.md says what the tests of this directory assert, and nothing else."""

import re
from pathlib import Path

import tests.outages
from tests.outages.rows import ROWS
from tests.outages.support import CALLERS, REQUESTS

DOCUMENT = Path(__file__).parents[2] / "docs/outages.md"


def test_the_table_is_what_is_asserted() -> None:
    """Each row of the document is a row here, in the same order."""
    text = DOCUMENT.read_text()
    rows = [line for line in text.splitlines() if re.search(r"\| `test_\w+` \|$", line)]
    assert rows == [row.line(test) for test, row in ROWS.items()]


def test_every_row_has_its_test() -> None:
    """Each row names a test that takes its row, and each such test has a row."""
    sources = Path(tests.outages.__file__).parent.glob("test_*.py")
    functions = "\n".join(path.read_text() for path in sources)
    with_row = re.findall(r"^async def (test_\w+)\([^)]*\brow: Row", functions, re.MULTILINE)
    assert sorted(with_row) == sorted(ROWS)


def test_the_size_of_the_load() -> None:
    """The document says how many callers and requests there were."""
    text = " ".join(DOCUMENT.read_text().split())
    assert f"with {CALLERS} callers of each kind at the same time and {REQUESTS} requests" in text
