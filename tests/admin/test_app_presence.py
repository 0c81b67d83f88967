"""When the app counts as gone, with time under control."""

import asyncio

from sidecar.admin.app_presence import LOOK_SECONDS, AppPresence
from sidecar.config.model import Address
from tests.admin.test_app_fence import app_on


class Watched:
    """A presence whose clock stands still unless it sleeps or the test moves it."""

    def __init__(self, port: int | None) -> None:
        self.now = 100.0
        self.calls = 0
        address = None if port is None else Address("127.0.0.1", port)
        self.presence = AppPresence(
            address, lambda: self.calls, clock=lambda: self.now, sleep=self._sleep
        )

    async def _sleep(self, seconds: float) -> None:
        self.now += seconds

    async def gone_after(self, seconds: float) -> bool:
        self.now += seconds
        return await self.presence.is_gone()


async def test_gone_is_a_second_of_silence() -> None:
    """Neither the first look nor one just before the second is over concludes anything."""
    async with app_on("127.0.0.1") as port:
        watched = Watched(port)
        assert not await watched.gone_after(0.0)
        assert not await watched.gone_after(10.0)
    assert not await watched.gone_after(0.999)
    assert await watched.gone_after(0.001)


async def test_an_app_that_closed_its_port_and_calls_still_is_there() -> None:
    """Signing off is the last thing that many do."""
    watched = Watched(None)
    watched.calls = 1
    assert not await watched.gone_after(0.0)
    assert not await watched.gone_after(5.0)
    watched.calls = 0
    assert not await watched.gone_after(0.5)
    watched.calls = 1
    assert not await watched.gone_after(0.4)
    watched.calls = 0
    assert not await watched.gone_after(0.9)
    assert await watched.gone_after(0.1)


async def test_waiting_is_bounded() -> None:
    """An app that stays is waited for as long as is allowed, and one that goes no longer."""
    async with app_on("127.0.0.1") as port:
        watched = Watched(port)
        assert not await watched.presence.wait_until_gone(3.0)
        assert 103.0 <= watched.now <= 103.0 + 2 * LOOK_SECONDS
        waiting = asyncio.create_task(watched.presence.wait_until_gone(1e9))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting
    assert await watched.presence.wait_until_gone(0.0)
