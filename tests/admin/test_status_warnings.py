"""What a running sidecar warns of in its status."""

from typing import Any

import pytest

from sidecar.admin.status import AttributionStatus, CarrierStatus, IssuerStatus, LedgerStatus
from sidecar.admin.status_warnings import issuer_warnings, other_warnings

LEEWAY = 30.0


def issuer(**changes: Any) -> list[str]:
    facts: dict[str, Any] = {
        "name": "shop", "issuer": "https://x", "state": "fresh", "keys_age_seconds": 1.0,
        "last_error": "", "clock_bound_seconds": 1.0, **changes,
    }  # fmt: skip
    return list(issuer_warnings(IssuerStatus(**facts), LEEWAY))


def test_a_healthy_issuer() -> None:
    """There is nothing to say, also of a clock that is off by no more than is forgiven."""
    for offset in (None, 0.0, 31.0, -31.0):
        assert issuer(clock_offset_seconds=offset, circuit="closed") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": "blind"}, "has no keys"),
        ({"state": "stale"}, "could not be asked lately"),
        ({"clock_offset_seconds": 31.5}, "is 32 s ahead of ours"),
        ({"clock_offset_seconds": -40.0}, "is 40 s behind ours"),
        ({"circuit": "open"}, "its circuit is open"),
    ],
)
def test_an_issuer_that_is_not(changes: dict[str, Any], words: str) -> None:
    """One sentence for each thing that is wrong."""
    (warning,) = issuer(**changes)
    assert words in warning


def test_the_rest() -> None:
    """A ledger that is nearly full, calls without a carrier, unwise tokens, lost lines."""
    seen = (CarrierStatus(name="", version="", grade="none", calls=3),)
    found = list(
        other_warnings(
            LedgerStatus(entries=8, capacity=10),
            AttributionStatus(carrier="auto", expectation="x demands it", seen=seen),
            (),
            unclean={("shop", "lifetime"): 2},
            lost_lines=5,
        )
    )
    assert [warning.split(":")[0] for warning in found] == [
        "the ledger is nearly full",
        "calls without a carrier",
        "good tokens of issuer shop that are unwise (lifetime)",
        "lines of the access log that nobody read, and were dropped",
    ]
