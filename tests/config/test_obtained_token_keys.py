"""``obtained_tokens``: what it becomes, and each way to get it wrong."""

import pytest

from sidecar.config.model import ObtainedTokens
from tests.config.cases import VALID_START, lines
from tests.config.conftest import Examine


def test_what_is_not_written(examined: Examine) -> None:
    """The defaults of the model."""
    found = examined(VALID_START)
    assert found.config is not None
    assert found.config.obtained_tokens == ObtainedTokens()


def test_everything(examined: Examine) -> None:
    """Every key arrives."""
    found = examined(
        VALID_START + "obtained_tokens: {max_entries: 5, max_bytes: 64KiB, expiry_margin: 5s,"
        " refresh_ahead: false, negative: 0s}\n"
    )
    assert lines(found.errors) == []
    assert found.config is not None
    assert found.config.obtained_tokens == ObtainedTokens(5, 64 << 10, 5.0, False, 0.0)


IS = "obtained_tokens"
CASES = {
    "no entries": ("{max_entries: 0}", "max_entries: must be a whole number from 1 to 1000000"),
    "too few bytes": ("{max_bytes: 1KiB}", "max_bytes: `1KiB` must be from 64KiB to 4GiB"),
    "bytes without unit": ("{max_bytes: 65536}", "max_bytes: `65536` needs a unit: "),
    "an endless margin": ("{expiry_margin: 1h}", "expiry_margin: `1h` must be from 0s to 10m"),
    "a share": ("{refresh_ahead: 75}", "refresh_ahead: must be true or false"),
    "an endless no": ("{negative: 1h}", "negative: `1h` must be from 0s to 5m"),
    "misspelled": ("{expiry_margins: 5s}", "expiry_margins: unknown key"),
}


@pytest.mark.parametrize(("written", "answer"), CASES.values(), ids=CASES)
def test_errors(examined: Examine, written: str, answer: str) -> None:
    """Each mistake has one line, with its place and what to write."""
    (line,) = lines(examined(VALID_START + f"obtained_tokens: {written}\n").errors)
    position, _, message = line.partition(": ")
    assert position.count(":") == 1
    assert message.startswith(f"{IS}.{answer}")
