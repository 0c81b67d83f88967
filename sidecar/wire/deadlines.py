"""One coarse timer for every connection of a loop.

A timer per request would cost more than the forwarding of a small one. Each connection has one
attribute that says until when it may stay as it is; a sweep every 250 ms finds the ones whose
time is over, so a deadline fires up to that much late and never early.

That is too late for an exchange whose end was promised to somebody (``Forward.ends_at``). Those
are kept apart: a timer between two sweeps looks at them alone, no more often than every 10 ms, so
that one of these fires up to that much late.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

SWEEP_SECONDS: Final = 0.25
PUNCTUAL_SECONDS: Final = 0.01
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
        self._punctual: set[Timed] = set()
        self._also: list[Callable[[float], None]] = []
        self._handle: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._next_sweep = 0.0
        self._between: asyncio.TimerHandle | None = None
        self._between_at = NEVER

    def add(self, timed: Timed) -> None:
        self._timed.add(timed)

    def discard(self, timed: Timed) -> None:
        self._timed.discard(timed)

    def add_punctual(self, timed: Timed) -> None:
        """Like ``add``, for one that may not be a whole sweep late; its deadline is set already."""
        self._punctual.add(timed)
        if timed.deadline < self._between_at:
            self._look_between(timed.deadline)

    def discard_punctual(self, timed: Timed) -> None:
        self._punctual.discard(timed)

    def every_sweep(self, call: Callable[[float], None]) -> None:
        """Call *call* with the time at every sweep."""
        self._also.append(call)

    def no_longer(self, call: Callable[[float], None]) -> None:
        """Call *call* no more; nothing where it was not called."""
        self._also = [each for each in self._also if each != call]

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._wait_for_sweep(loop)

    def stop(self) -> None:
        for handle in (self._handle, self._between):
            if handle is not None:
                handle.cancel()
        self._handle = self._between = self._loop = None
        self._between_at = NEVER

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._wait_for_sweep(loop)
        self.sweep()

    def _wait_for_sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._handle = loop.call_later(SWEEP_SECONDS, self._tick, loop)
        self._next_sweep = self._clock() + SWEEP_SECONDS

    def sweep(self) -> None:
        """Expire whatever is over now, then do the other work of a tick."""
        now = self._clock()
        _expire(self._timed, now)
        self._sweep_punctual(now)
        for call in self._also:
            call(now)

    def _sweep_punctual(self, now: float) -> None:
        _expire(self._punctual, now)
        self._look_between(min([each.deadline for each in self._punctual], default=NEVER))

    def _look_between(self, at: float) -> None:
        """Come back at *at*, unless the next sweep does anyway."""
        if self._between is not None:
            self._between.cancel()
            self._between = None
        self._between_at = NEVER
        if self._loop is not None and at < self._next_sweep:
            self._between_at = at
            delay = max(at - self._clock(), PUNCTUAL_SECONDS)
            self._between = self._loop.call_later(delay, self._come_back)

    def _come_back(self) -> None:
        self._between = None
        self._sweep_punctual(self._clock())


def _expire(timed: set[Timed], now: float) -> None:
    for each in [each for each in timed if each.deadline <= now]:
        if each.deadline <= now:  # one that expires may give its other side new time
            each.expire(now)
