"""Exclusive admission: requests of two callers are never in the app at once.

For runtimes whose context may turn out to be somebody else's: where only one caller has requests
in flight, every live handle is theirs. The price is that callers wait for each other.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from typing import Final, Literal

from sidecar.core.attribution import Entry
from sidecar.core.outcome import Reason
from sidecar.core.principal import Credential

TURN_SECONDS: Final = 1.0
"""How long further requests of the caller whose turn it is pass others who wait.

They must not simply queue: a request that comes back to this app by way of its own call would
then wait for itself.
"""

By = Literal["credential", "request"]


class Turn:
    """One request's place: waiting, then in the app, then over."""

    __slots__ = (
        "_decided", "caller", "entry", "expires_at", "holds_until", "kind", "max_age_seconds",
        "state",
    )  # fmt: skip

    def __init__(self, kind: object, caller: object, max_age_seconds: float) -> None:
        self.kind = kind
        """Requests of one kind may be in the app together."""
        self.caller = caller
        """Callers take turns, whatever number of tokens each has."""
        self.max_age_seconds = max_age_seconds
        self.state: Literal["waiting", "granted", "over"] = "waiting"
        self.expires_at = 0.0
        self.holds_until = 0.0
        self.entry: Entry | None = None
        self._decided: asyncio.Future[None] | None = None

    @property
    def is_granted(self) -> bool:
        return self.state == "granted"

    def decided(self) -> Awaitable[None]:
        """Return what is done once the turn is granted, or will not be; ask while it waits."""
        self._decided = asyncio.get_running_loop().create_future()
        return self._decided

    def become(self, state: Literal["granted", "over"]) -> None:
        self.state = state
        if self._decided is not None and not self._decided.done():
            self._decided.set_result(None)


class ExclusiveAdmission:
    """Lets in one caller at a time, in turns, with a pause between two of them.

    By ``credential``, requests with the very same token (or all without one) may be in the app
    together; by ``request``, none may. The queue holds *max_waiting*, of one caller at most a
    quarter. A request that waits longer than *wait_seconds* is given up. One that is in the app
    for longer than its rule's maximum age no longer holds up the others: its entry is closed, so
    it can cause nothing any more.
    """

    def __init__(
        self,
        by: By,
        *,
        wait_seconds: float,
        quiet_seconds: float,
        max_waiting: int,
        clock: Callable[[], float],
        call_later: Callable[[float, Callable[[], None]], object],
        close: Callable[[Entry], None],
    ) -> None:
        """*close* ends the entry of a request that has held its turn for too long."""
        self._by = by
        self._wait_seconds = wait_seconds
        self._quiet_seconds = quiet_seconds
        self._max_waiting = max_waiting
        self._share = max(1, max_waiting // 4)
        self._clock = clock
        self._call_later = call_later
        self._close = close
        self._kind: object = None
        """Of the turn, or of the last one."""
        self._inside: set[Turn] = set()
        self._queues: OrderedDict[object, deque[Turn]] = OrderedDict()
        self._waiting = 0
        self._quiet_until = 0.0
        self._contended_since = 0.0
        self._is_scheduled = False

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return self._waiting

    def ask(self, credential: Credential | None, max_age_seconds: float) -> Turn | Reason:
        """Ask for a turn: one that is granted at once, one to wait for, or why there is none."""
        turn = Turn(*self._kind_and_caller(credential), max_age_seconds)
        now = self._clock()
        if self._may_enter(turn, now):
            self._admit(turn, now)
            return turn
        queue = self._queues.get(turn.caller)
        if self._waiting >= self._max_waiting:
            return Reason.ADMISSION_FULL
        if queue is not None and len(queue) >= self._share:
            return Reason.LEDGER_SHARE
        if not self._waiting:
            self._contended_since = now
        self._waiting += 1
        turn.expires_at = now + self._wait_seconds
        self._queues.setdefault(turn.caller, deque()).append(turn)
        self._schedule(now)
        return turn

    def _kind_and_caller(self, credential: Credential | None) -> tuple[object, object]:
        if credential is None:
            kind: object = "anonymous"
            caller: object = "anonymous"
        else:
            kind = credential.digest
            caller = credential.principal.issuer, credential.principal.subject
        return object() if self._by == "request" else kind, caller

    def _may_enter(self, turn: Turn, now: float) -> bool:
        if turn.kind == self._kind and (self._inside or now < self._quiet_until):
            return not self._waiting or now - self._contended_since < TURN_SECONDS
        return not self._inside and not self._waiting and now >= self._quiet_until

    def _admit(self, turn: Turn, now: float) -> None:
        self._kind = turn.kind
        self._inside.add(turn)
        turn.holds_until = now + turn.max_age_seconds
        turn.become("granted")

    def leave(self, turn: Turn) -> None:
        """The request of *turn* is over, in whatever state; leaving twice does nothing."""
        now = self._clock()
        if turn.state == "waiting":
            self._forget(turn)
        turn.become("over")
        if turn in self._inside:
            self._inside.discard(turn)
            if not self._inside:
                self._quiet_until = now + self._quiet_seconds
                self._schedule(now)

    def sweep(self, now: float) -> None:
        """Give up turns that have waited, and end turns that were held, for too long."""
        over = [t for queue in self._queues.values() for t in queue if now >= t.expires_at]
        for turn in over:
            self._forget(turn)
            turn.become("over")
        if not self._waiting:
            return
        for turn in [turn for turn in self._inside if now >= turn.holds_until]:
            if turn.entry is not None:
                self._close(turn.entry)
            self.leave(turn)

    def _forget(self, turn: Turn) -> None:
        queue = self._queues[turn.caller]
        queue.remove(turn)
        self._waiting -= 1
        if not queue:
            del self._queues[turn.caller]

    def _schedule(self, now: float) -> None:
        if self._waiting and not self._inside and not self._is_scheduled:
            self._is_scheduled = True
            self._call_later(max(0.0, self._quiet_until - now), self._next)

    def _next(self) -> None:
        """Give the turn to whoever has waited for it longest, with all their like requests."""
        self._is_scheduled = False
        now = self._clock()
        if self._inside or not self._waiting:
            return
        if now < self._quiet_until:
            self._schedule(now)
            return
        caller, queue = self._queues.popitem(last=False)
        kind = queue[0].kind
        self._contended_since = now
        for turn in [turn for turn in queue if turn.kind == kind]:
            queue.remove(turn)
            self._waiting -= 1
            self._admit(turn, now)
        if queue:
            self._queues[caller] = queue
