"""What h2load wrote, and what is made of it."""

import pytest

from bench.h2load import read_log
from bench.programs import BenchError


def lines(count: int, *, status: int = 200) -> str:
    """A request each millisecond; each took as many microseconds as its number."""
    return "".join(f"{n * 1000}\t{status}\t{n}\n" for n in range(count))


def test_latencies_and_rate_are_of_the_middle() -> None:
    """The first and the last part, in which connections are opened, are left out."""
    report = read_log(lines(2001), margin_seconds=0.5)
    assert report.requests_per_second == pytest.approx(1000, rel=0.01)
    assert report.p50_ms == pytest.approx(1.0, abs=0.01)
    assert report.p99_ms == pytest.approx(1.49, abs=0.01)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (lines(200) + "200000\t401\t5\n", "1 of 201 paced requests failed"),
        (lines(99), "99 requests only"),
        ("", "0 requests only"),
        (lines(500), "too short"),
    ],
)
def test_a_run_that_means_nothing_is_an_error(text: str, complaint: str) -> None:
    """A refusal is cheaper than an answer, and must not count as one."""
    with pytest.raises(BenchError, match=complaint):
        read_log(text)
