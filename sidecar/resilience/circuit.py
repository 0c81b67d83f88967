"""When to stop calling somebody who does not answer, and when to try again.

Pure: the clock is an argument, and nothing is called. Making the call, and what counts as a
failure, belong to whoever holds the circuit.
"""

from collections.abc import Callable
from typing import Final, Literal, NewType

State = Literal["closed", "open", "half_open"]
"""``closed``: calls are made. ``open``: none is. ``half_open``: one is, to see."""

Ticket = NewType("Ticket", int)
"""Leave to make one call; given back with what came of it."""

FAILURES_TO_OPEN: Final = 5
FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0


class Circuit:
    """Opens after *failures_to_open* failures in a row; each failed probe doubles the pause.

    What came of a call that was made before the state last changed is not counted: neither do
    the last of a hundred timeouts make the pause longer, nor does one late success end it.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        changed: Callable[[State], None] = lambda _state: None,
        failures_to_open: int = FAILURES_TO_OPEN,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
        longest_pause_seconds: float = LONGEST_PAUSE_SECONDS,
    ) -> None:
        """*clock* is monotonic; *changed* is told each new state, the first one included."""
        self._clock = clock
        self._changed = changed
        self._failures_to_open = failures_to_open
        self._first_pause_seconds = first_pause_seconds
        self._longest_pause_seconds = longest_pause_seconds
        self._state: State = "closed"
        self._failures = 0
        self._pause_seconds = first_pause_seconds
        self._paused_until = 0.0
        self._generation = Ticket(0)
        changed(self._state)

    @property
    def state(self) -> State:
        """The state as of the last call; a pause that is over ends with the next one."""
        return self._state

    def pause_left(self) -> float:
        """Return for how many seconds more no call is made; 0 where one might be."""
        if self._state != "open":
            return 0.0
        return max(self._paused_until - self._clock(), 0.0)

    def admit(self) -> Ticket | None:
        """Give leave for one call, or say that none may be made now."""
        if self._state == "half_open":
            return None
        if self._state == "open":
            if self._clock() < self._paused_until:
                return None
            self._enter("half_open")
        return self._generation

    def holds(self, ticket: Ticket) -> bool:
        """Whether a call for which leave was given some time ago may still be made."""
        return ticket == self._generation

    def succeeded(self, ticket: Ticket) -> None:
        """The call was answered as it should be."""
        if ticket != self._generation:
            return
        self._failures = 0
        if self._state == "half_open":
            self._pause_seconds = self._first_pause_seconds
            self._enter("closed")

    def failed(self, ticket: Ticket) -> None:
        """The call was not answered, or not as it should be."""
        if ticket != self._generation:
            return
        if self._state == "half_open":
            self._pause_seconds = min(self._pause_seconds * 2, self._longest_pause_seconds)
            self._open()
            return
        self._failures += 1
        if self._failures >= self._failures_to_open:
            self._open()

    def abandoned(self, ticket: Ticket) -> None:
        """Nothing is known of the call; a probe may be made again."""
        if ticket == self._generation and self._state == "half_open":
            self._paused_until = self._clock()
            self._enter("open")

    def _open(self) -> None:
        self._paused_until = self._clock() + self._pause_seconds
        self._enter("open")

    def _enter(self, state: State) -> None:
        self._state = state
        self._failures = 0
        self._generation = Ticket(self._generation + 1)
        self._changed(state)
