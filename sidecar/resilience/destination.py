"""Whether a destination may be called now, judged by what came of the calls before.

Owns the count of calls under way and what is a failure. Nothing is called here, and the clock is
an argument; a call that is not let in is refused by whoever asked.
"""

from collections.abc import Callable
from math import ceil
from typing import Final

from sidecar.core.outcome import Denial, Reason
from sidecar.resilience.circuit import Circuit, Ticket

FAILURES: Final = frozenset(
    (
        Reason.UPSTREAM_UNREACHABLE,
        Reason.UPSTREAM_RESET,
        Reason.UPSTREAM_MALFORMED,
        Reason.UPSTREAM_TIMEOUT,
    )
)
"""What lies with the destination whatever it was asked."""


class UnderWay:
    """How many calls a destination has now; outlives a change of its bound."""

    def __init__(self) -> None:
        self.count = 0


class DestinationGuard:
    """Lets calls to one destination in, or says why not.

    At the bound a call is refused at once and not queued: a queue here would hold the app's
    callers for a destination that is behind already.
    """

    def __init__(
        self,
        name: str,
        *,
        clock: Callable[[], float],
        under_way: UnderWay,
        max_concurrent: int | None = None,
        circuit: Circuit | None = None,
        statuses: frozenset[int] = frozenset(),
        fair_seconds: float = 0.0,
    ) -> None:
        """*statuses* are answers that count as failures. A call that was cut by its own deadline
        counts as one if the destination had *fair_seconds* for it.
        """
        self.name = name
        self.circuit = circuit
        self.under_way = under_way
        self.max_concurrent = max_concurrent
        self.statuses = statuses
        self.fair_seconds = fair_seconds
        self.clock = clock

    def refusal(self) -> Denial | None:
        """Return why no call may be made now; ``None`` is no promise."""
        circuit = self.circuit
        if circuit is not None:
            left = circuit.pause_left()
            if left > 0.0:
                return self._unavailable(left)
        if self.max_concurrent is not None and self.under_way.count >= self.max_concurrent:
            return Denial(
                Reason.DESTINATION_BUSY,
                f"{self.max_concurrent} calls to {self.name} are under way (limits.max_concurrent)",
            )
        return None

    def enter(self) -> "Visit | Denial":
        """Let one call in, which is over with ``Visit.over``."""
        denial = self.refusal()
        if denial is not None:
            return denial
        ticket: Ticket | None = None
        if self.circuit is not None:
            ticket = self.circuit.admit()
            if ticket is None:  # another one is out to see
                return self._unavailable(0.0)
        self.under_way.count += 1
        return Visit(self, ticket)

    def _unavailable(self, left: float) -> Denial:
        when = f"in {left:.1f} s" if left else "by another call just now"
        return Denial(
            Reason.DESTINATION_UNAVAILABLE,
            f"calls to {self.name} failed one after the other; it is tried again {when}",
            retry_after_seconds=max(ceil(left), 1),
        )


class Visit:
    """One call that was let in. *over* is called exactly once, whatever else was said."""

    __slots__ = ("_answered", "_began_at", "_guard", "_is_told", "_ticket")

    def __init__(self, guard: DestinationGuard, ticket: Ticket | None) -> None:
        self._guard = guard
        self._ticket = ticket
        self._began_at = guard.clock()
        self._answered = False
        self._is_told = ticket is None

    def answered(self, status: int) -> None:
        """The head of an answer came."""
        self._answered = True
        circuit = self._guard.circuit
        if self._is_told or circuit is None:
            return
        if status in self._guard.statuses:
            self._tell(well=False)
        elif circuit.state == "half_open":  # whose content may last for hours
            self._tell(well=True)

    def failed(self, reason: Reason) -> None:
        """No answer came."""
        if self._lies_with_destination(reason):
            self._tell(well=False)

    def over(self, fault: Reason | None) -> None:
        """The call is over. *fault*: its answer was begun and broke."""
        guard = self._guard
        guard.under_way.count -= 1
        if self._is_told:
            return
        if fault is not None and self._lies_with_destination(fault):
            self._tell(well=False)
        elif self._answered:
            self._tell(well=True)
        elif guard.circuit is not None and self._ticket is not None:
            guard.circuit.abandoned(self._ticket)

    def _lies_with_destination(self, reason: Reason) -> bool:
        if reason is Reason.DEADLINE_EXCEEDED:
            return self._guard.clock() - self._began_at >= self._guard.fair_seconds
        return reason in FAILURES

    def _tell(self, *, well: bool) -> None:
        circuit, ticket = self._guard.circuit, self._ticket
        if self._is_told or circuit is None or ticket is None:
            return
        self._is_told = True
        if well:
            circuit.succeeded(ticket)
        else:
            circuit.failed(ticket)
