"""A call within its time, to a destination that may be called now.

An exchange around another one, there only where something bounds the calls: what is decided about
a call is decided inside, and counts for nothing here if it is refused.
"""

from collections.abc import Callable
from math import inf
from typing import Protocol

from sidecar.core.attribution import Entry
from sidecar.core.deadlines import LEAST_SECONDS, DeadlineFields, write_seconds
from sidecar.core.headers import CONTEXT
from sidecar.core.outcome import Denial, Reason
from sidecar.credentials.ledger import Ledger
from sidecar.resilience.destination import DestinationGuard, Visit
from sidecar.wire.exchange import Action, Answer, Exchange, Forward, Pending, Timing
from sidecar.wire.heads import RequestHead, ResponseHead

_FIRST_FINAL = 200
_SWITCHED = 101


class Caused(Exchange, Protocol):
    """A call of which it is known what caused it."""

    @property
    def cause(self) -> Entry | None:
        """The request that caused it, once that is decided and if there is one."""
        ...

    def refuse(self, denial: Denial) -> Answer: ...


class Bounds:
    """What bounds the calls to one destination."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Callable[[], float],
        total_seconds: float | None = None,
        header: str | None = None,
        guard: DestinationGuard | None = None,
    ) -> None:
        """*clock* is monotonic. *header* tells the destination how much time is left."""
        self.ledger = ledger
        self.clock = clock
        self.total_seconds = inf if total_seconds is None else total_seconds
        self.header = b"" if header is None else header.encode()
        self.fields = None if header is None else DeadlineFields((header,))
        self.guard = guard


class BoundedExchange:
    """One call, its end, and whether it is let in."""

    __slots__ = (
        "_app_ends_at", "_began_at", "_bounds", "_ends_at", "_handle", "_head", "_inner", "_visit",
    )  # fmt: skip

    def __init__(self, inner: Caused, bounds: Bounds, head: RequestHead) -> None:
        self._inner = inner
        self._bounds = bounds
        self._head = head
        self._handle = b""
        self._began_at = bounds.clock()
        self._ends_at = inf
        self._app_ends_at = inf
        self._visit: Visit | None = None

    def start(self) -> Action:
        for mark, _, value in self._head.marked:
            if mark == CONTEXT:
                self._handle = value
        return self._bound(self._inner.start())

    def resume(self) -> Action:
        return self._bound(self._inner.resume())

    def again(self, head: ResponseHead) -> Action | None:
        if self._visit is not None:
            self._visit.answered(head.status)
        action = self._inner.again(head)
        return None if action is None else self._bound(action)

    def _bound(self, action: Action) -> Action:
        """Give *action* its end, unless the call is not made after all."""
        if isinstance(action, Answer):
            return action
        bounds = self._bounds
        total_ends_at = self._began_at + bounds.total_seconds
        self._ends_at = ends_at = min(total_ends_at, self._caller_ends_at())
        denial = self._too_late()
        if denial is None and bounds.guard is not None and self._visit is None:
            denial = self._let_in(bounds.guard, action)
        if denial is not None:
            return self._inner.refuse(denial)
        if isinstance(action, Pending):
            return Pending(action.wait, min(ends_at, action.ends_at))
        if bounds.fields is not None and ends_at < inf:
            self._take_out(bounds.fields)
        return Forward(
            action.pool, action.target, min(ends_at, action.ends_at), action.replay_bytes
        )

    def _let_in(self, guard: DestinationGuard, action: Action) -> Denial | None:
        if isinstance(action, Pending):  # no token is asked for, for a call that cannot be made
            return guard.refusal()
        found = guard.enter()
        if isinstance(found, Denial):
            return found
        self._visit = found
        return None

    def _caller_ends_at(self) -> float:
        """Return until when the caller waits whose request caused this call.

        Where no token is attached nobody looks for that request. For the time alone, what the call
        says of itself is enough: it can only end sooner by it.
        """
        entry = self._inner.cause
        if entry is None and self._handle:
            found = self._bounds.ledger.find(self._handle)
            entry = found if isinstance(found, Entry) else None
        if entry is None or entry.ended_at is not None:  # who has the answer does not wait
            return inf
        return entry.deadline

    def _too_late(self) -> Denial | None:
        left = self._ends_at - self._bounds.clock()
        if left >= LEAST_SECONDS:
            return None
        return Denial(
            Reason.DEADLINE_EXCEEDED,
            f"nothing was sent: {max(left, 0.0) * 1000:.0f} ms were left of the time that the "
            "request which caused the call, or `limits.total_timeout`, gives it",
        )

    def _take_out(self, fields: DeadlineFields) -> None:
        """Drop what the app says of the time that is left; it may be less than what we know."""
        lines = self._head.lines
        seconds, _ = fields.read(lines)
        self._app_ends_at = min(self._app_ends_at, self._began_at + seconds)
        for index in fields.find(lines):
            lines[index] = b""

    def commit(self) -> bytes | Answer:
        bounds = self._bounds
        if self._ends_at == inf:
            return self._inner.commit()
        denial = self._too_late()
        if denial is not None:
            return self._inner.refuse(denial)
        lines = self._inner.commit()
        if isinstance(lines, Answer) or not bounds.header:
            return lines
        left = min(self._ends_at, self._app_ends_at) - bounds.clock()
        return b"%b%b: %b\r\n" % (lines, bounds.header, write_seconds(bounds.header, left))

    def respond(self, head: ResponseHead) -> None:
        if self._visit is not None and (head.status >= _FIRST_FINAL or head.status == _SWITCHED):
            self._visit.answered(head.status)
        self._inner.respond(head)

    def fail(self, reason: Reason, detail: str) -> Answer:
        if self._visit is not None:
            self._visit.failed(reason)
        return self._inner.fail(reason, detail)

    def finish(self, status: int, timing: Timing, fault: Reason | None, *, whole: bool) -> None:
        if self._visit is not None:
            self._visit.over(fault)
        self._inner.finish(status, timing, fault, whole=whole)
