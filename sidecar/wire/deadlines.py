"""One coarse timer for every connection of a loop.

A timer per request would cost more than the forwarding of a small one. Each connection has one
attribute that says until when it may stay as it is; a sweep every 250 ms finds the ones whose
time is over, so a deadline fires up to that much late and never early.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

SWEEP_SECONDS: Final = 0.25
NEVER: Final = float("inf")


class Timed(Protocol):
    """Something that may not stay as it is for ever."""

    deadline: float
    """Instant of the monotonic clock, or ``NEVER``."""

    def expire(self, now: float) -> None:
        """The deadline is over. Called once per sweep until the attribute changes."""
        ...


class Deadlines:
    """The timed things of one loop, and other work that may ride on the same tick."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._timed: set[Timed] = set()
        self._also: list[Callable[[float], None]] = []
        self._handle: asyncio.TimerHandle | None = None

    def add(self, timed: Timed) -> None:
        self._timed.add(timed)

    def discard(self, timed: Timed) -> None:
        self._timed.discard(timed)

    def every_sweep(self, call: Callable[[float], None]) -> None:
        """Call *call* with the time at every sweep."""
        self._also.append(call)

    def no_longer(self, call: Callable[[float], None]) -> None:
        """Call *call* no more; nothing where it was not called."""
        self._also = [each for each in self._also if each != call]

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._handle = loop.call_later(SWEEP_SECONDS, self._tick, loop)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._handle = loop.call_later(SWEEP_SECONDS, self._tick, loop)
        self.sweep()

    def sweep(self) -> None:
        """Expire whatever is over now, then do the other work of a tick."""
        now = self._clock()
        for timed in [each for each in self._timed if each.deadline <= now]:
            if timed.deadline <= now:  # one that expires may give its other side new time
                timed.expire(now)
        for call in self._also:
            call(now)
