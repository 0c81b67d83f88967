"""Until when whoever calls the app will wait for the answer."""

from collections.abc import Callable
from math import inf

from sidecar.core.deadlines import DeadlineFields


class CallerDeadline:
    """Gives each request its end: what the operator gives it, or what its caller says if less.

    A caller can only take time away from its own request. What it says and nobody can read is
    counted and otherwise as if it were not there.
    """

    def __init__(
        self,
        *,
        total_seconds: float | None,
        headers: tuple[str, ...],
        clock: Callable[[], float],
        report: Callable[[str], None],
    ) -> None:
        """*clock* is monotonic. *report* is told ``used`` or ``malformed`` for what callers say."""
        self._total_seconds = inf if total_seconds is None else total_seconds
        self._fields = DeadlineFields(headers) if headers else None
        self._clock = clock
        self._report = report

    def of(self, lines: list[bytes]) -> float:
        """Return when a request with these field lines, which came just now, must be over."""
        seconds = self._total_seconds
        if self._fields is not None:
            said, malformed = self._fields.read(lines)
            if malformed:
                self._report("malformed")
            if said < seconds:
                seconds = said
                self._report("used")
        return self._clock() + seconds
