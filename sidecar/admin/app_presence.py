"""Whether the app is still there, which its sidecar must know to end after it.

A native sidecar gets SIGTERM when the app has ended, any other at the same time as the app, and
the kubelet tells neither which it is. So the app is looked for: a server that is told to end closes
its port, and what has ended has no connection open.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from sidecar.admin.knocking import answers
from sidecar.config.model import Address

QUIET_SECONDS: Final = 1.0
"""Without a sign of the app before it counts as gone: many close their port first and call others
last, to hand over or to sign off. A native sidecar has two seconds at the least."""
LOOK_SECONDS: Final = 0.1


class AppPresence:
    """Looks for the app when asked, and concludes nothing from a single look."""

    def __init__(
        self,
        address: Address | None,
        calling: Callable[[], int],
        *,
        clock: Callable[[], float],
        quiet_seconds: float = QUIET_SECONDS,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """*address* is where the app listens, ``None`` where it does not, or not in this pod.

        *calling* returns how many connections it has open to us in order to call others.
        """
        self._address = address
        self._calling = calling
        self._clock = clock
        self._quiet_seconds = quiet_seconds
        self._sleep = sleep
        self._seen_at: float | None = None

    async def is_gone(self) -> bool:
        """Look once; true if neither this look nor any other found it for a while."""
        is_there = self._calling() > 0 or (
            self._address is not None and await answers(self._address.host, self._address.port)
        )
        if is_there or self._seen_at is None:
            self._seen_at = self._clock()
        return self._clock() - self._seen_at >= self._quiet_seconds

    async def wait_until_gone(self, timeout_seconds: float) -> bool:
        """Return true once it is gone, false if it is still there after *timeout_seconds*."""
        ends_at = self._clock() + timeout_seconds
        while not await self.is_gone():
            if self._clock() >= ends_at:
                return False
            await self._sleep(LOOK_SECONDS)
        return True
