"""A provider that goes down under load, in small: what the whole run would show."""

import pytest

from bench.outage import EXPECTED, SERVED, Terms, measure, verdict


@pytest.mark.timeout(120)
async def test_no_token_past_its_end() -> None:
    """Calls fail while it is down, for that reason alone, and end with everybody being served."""
    terms = Terms(outage=3.0, lifetime=2.0, before=0.2, users=4, callers=4)
    found = await measure(terms)
    assert verdict(found) == []
    assert found["bad tokens at the destination"] == {}
    assert found["before"]["failed"] == 0
    assert set(found["outage"]["outcomes"]) == {SERVED, EXPECTED}
    after = found["until everybody is served"]["outcomes"]
    assert after[SERVED] >= 4


def test_what_should_not_have_happened_is_told() -> None:
    """A token past its end, another failure, an app that was not reached."""
    phase = {"outcomes": {SERVED: 3, EXPECTED: 1, "500 exchange_misconfigured": 1}}
    found = {
        "before": {"outcomes": {SERVED: 3, EXPECTED: 1}},
        "outage": phase,
        "until everybody is served": {"outcomes": {SERVED: 3}},
        "answers of the app other than 200": {"502": 1},
        "bad tokens at the destination": {"expired": 1},
    }
    assert verdict(found) == [
        "bad token: expired",
        "the app: 502",
        f"before: {EXPECTED}",
        "outage: 500 exchange_misconfigured",
    ]
