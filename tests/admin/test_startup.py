"""``/startupz``: has it ever been ready to begin; ``/readyz`` says whether it is now."""

import asyncio
from pathlib import Path

from tests.support.http import fetch
from tests.support.pod import Pod, pod


async def told(running: Pod, path: str) -> tuple[int, str]:
    answer = await fetch(running.bound.admin, path)
    return answer.status, answer.body.decode()


async def test_started_is_for_good(tmp_path: Path) -> None:
    """It waits for the keys once, and neither their loss nor draining undoes it."""
    async with pod(tmp_path, publish=False) as running:
        status, missing = await told(running, "/startupz")
        assert status == 503
        assert missing.startswith("issuer shop: keys not loaded (")
        assert missing.count("\n") == 1
        running.publish()
        async with asyncio.timeout(20):
            while (await told(running, "/startupz"))[0] == 503:
                await asyncio.sleep(0.02)
        assert await told(running, "/startupz") == (200, "started\n")
        running.wiring.keys["shop"]._keys = None  # as when they could not be confirmed for a day
        assert (await told(running, "/readyz"))[0] == 503
        assert await told(running, "/startupz") == (200, "started\n")
        running.sidecar.begin_drain()
        assert await told(running, "/readyz") == (503, "draining\n")
        assert await told(running, "/startupz") == (200, "started\n")


async def test_nobody_need_have_asked(tmp_path: Path) -> None:
    """Keys that were there at the start count, though the first question comes after their loss."""
    async with pod(tmp_path) as running:
        running.wiring.keys["shop"]._keys = None
        assert await told(running, "/startupz") == (200, "started\n")


async def test_an_issuer_that_is_not_waited_for(tmp_path: Path) -> None:
    """``startup: serve`` starts without its keys."""
    async with pod(tmp_path, publish=False, issuer={"startup": "serve"}) as running:
        assert await told(running, "/startupz") == (200, "started\n")


async def test_before_the_listeners_are_bound(tmp_path: Path) -> None:
    """The admin port is there first, and says that the others are not."""
    async with pod(tmp_path) as running:
        running.sidecar._is_bound = running.sidecar._has_started = False
        assert await told(running, "/startupz") == (503, "listeners: not bound yet\n")
