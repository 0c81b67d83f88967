import sys
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from sidecar.testbed.ports import free_ports
from sidecar.trial.plan import Endpoint, Plan
from sidecar.trial.report import Report
from sidecar.trial.running import run_trial

ORDERS = Endpoint("GET", "/orders/{user}")
Try = Callable[..., Awaitable[Report]]


def plan_for(way: str, **changes: Any) -> Plan:
    """A small plan for the test app in one of its ways."""
    usual: dict[str, Any] = {
        "app": f"http://127.0.0.1:{free_ports(1)[0]}",
        "endpoints": (ORDERS,),
        "destinations": {"profiles": 0},
        "start": (sys.executable, "-m", "tests.trial.app", way),
        "calls": 80,
        "users": 12,
        "concurrency": (1, 8),
        "timeout_seconds": 60.0,
    }
    return Plan(**{**usual, **changes})


@pytest.fixture
def try_app() -> Try:
    """Run a small trial of the test app in one of its ways."""

    async def run(way: str, **changes: Any) -> Report:
        return await run_trial(plan_for(way, **changes))

    return run
