"""Replacing pods and configurations under load, in small: what the whole run would show."""

import pytest

from bench.rolling import Terms, measure


@pytest.mark.timeout(120)
async def test_nobody_notices() -> None:
    """No call fails and nobody gets an answer that is somebody else's."""
    found = await measure(Terms(endpoints=0.3, app_sleep=0.6), reloads=1, restarts=1, callers=4)
    assert found["reloads"]["count"] == 2
    assert found["restarts"]["count"] == 1
    for part in found.values():
        assert set(part["outcomes"]) == {"200"}
        assert part["failed"] == 0
    assert found["reloads"]["connections"] == 4  # which stay open
    assert found["restarts"]["connections"] > 4
