"""What the fields of an answer are read as."""

import pytest

from sidecar.fetch.client import AnswerFields
from sidecar.issuers.freshness import clock_offset_seconds, fresh_seconds
from sidecar.resilience.retry_after import wait_seconds

NOON = "Thu, 26 Nov 2026 12:00:00 GMT"
NOON_SECONDS = 1_795_694_400.0


@pytest.mark.parametrize(
    ("cache_control", "age", "seconds"),
    [
        ("", "", None),
        ("public", "", None),
        ("s-maxage=900", "", None),
        ("max-age=600", "", 600),
        ("public, MAX-AGE=600, must-revalidate", "", 600),
        ('max-age="600"', "", 600),
        ("max-age=600", "100", 500),
        ("max-age=600", " 100 ", 500),
        ("max-age=600", "601", 0),
        ("max-age=600", "-5", 600),
        ("max-age=600", "soon", 600),
        ("max-age=600, max-age=300", "", 300),
        ("max-age=600, no-store", "", 0),
        ("No-Cache", "", 0),
        ("max-age", "", 0),
        ("max-age=", "", 0),
        ("max-age=-1", "", 0),
        ("max-age=1.5", "", 0),
        ("max-age=99999999999999999999", "", 0),
        ("max-age=\u0663\u0663", "", 0),
        ('x="no-store", max-age=600', "", 600),
    ],
)
def test_fresh_seconds(cache_control: str, age: str, seconds: float | None) -> None:
    """``max-age`` less ``Age``; zero for what must not be kept or cannot be understood."""
    assert fresh_seconds(AnswerFields(cache_control=cache_control, age=age)) == seconds


@pytest.mark.parametrize(
    ("retry_after", "date", "seconds"),
    [
        ("", "", 0),
        ("120", "", 120),
        ("-1", "", 0),
        ("soon", "", 0),
        ("x" * 100_000, "", 0),
        (NOON, "", 60),
        (NOON, "Thu, 26 Nov 2026 11:58:00 GMT", 120),
        (NOON, "Thu, 26 Nov 2026 13:00:00 GMT", 0),
        ("Thu, 99 Nov 99999 12:00:00 GMT", "", 0),
    ],
)
def test_wait_seconds(retry_after: str, date: str, seconds: float) -> None:
    """Seconds, or a date by the sender's own clock where it says what that shows."""
    fields = AnswerFields(retry_after=retry_after, date=date)
    assert wait_seconds(fields, NOON_SECONDS - 60) == seconds


def test_clock_offset() -> None:
    """What a cache kept for a while was sent that much earlier."""
    assert clock_offset_seconds(AnswerFields(), NOON_SECONDS) is None
    assert clock_offset_seconds(AnswerFields(date="now"), NOON_SECONDS) is None
    assert clock_offset_seconds(AnswerFields(date=NOON), NOON_SECONDS + 5) == -5
    assert clock_offset_seconds(AnswerFields(date=NOON, age="7"), NOON_SECONDS + 5) == 2
