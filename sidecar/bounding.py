"""What bounds the calls to each destination, made from the configuration.

Owns how much of it outlives a reload: what is known of a destination is kept while it is the same
place and judged alike, and so is the count of the calls that are under way there.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Final

from sidecar.config import model
from sidecar.credentials.ledger import Ledger
from sidecar.inbound.deadline import CallerDeadline
from sidecar.outbound.bounded import Bounds
from sidecar.resilience.circuit import Circuit, State
from sidecar.resilience.destination import DestinationGuard, UnderWay

_log = logging.getLogger("sidecar.outbound")

_STATUSES: Final[Mapping[str, frozenset[int]]] = {
    "gateway_errors": frozenset((502, 503, 504)),
    "server_errors": frozenset(range(500, 600)),
    "none": frozenset(),
}

Before = tuple[model.Config, Mapping[str, Bounds]]


def caller_deadline(
    config: model.Config, clock: Callable[[], float], report: Callable[[str], None]
) -> CallerDeadline | None:
    """Return what gives requests their end, ``None`` where nothing does."""
    inbound = config.inbound
    total_seconds = inbound.limits.total_timeout_seconds
    if total_seconds is None and not inbound.deadline_headers:
        return None
    return CallerDeadline(
        total_seconds=total_seconds, headers=inbound.deadline_headers, clock=clock, report=report
    )


def bounds(
    config: model.Config,
    ledger: Ledger,
    clock: Callable[[], float],
    before: Before | None = None,
) -> dict[str, Bounds]:
    """Return the bounds of every destination that has any. *before* is what serves until then."""
    found = {}
    inbound = config.inbound
    has_callers_deadlines = (
        inbound.limits.total_timeout_seconds is not None or inbound.deadline_headers
    )
    for name, destination in config.outbound.destinations.items():
        guard = _guard(destination, clock, before)
        if (
            guard is not None
            or has_callers_deadlines
            or destination.deadline_header is not None
            or destination.limits.total_timeout_seconds is not None
        ):
            found[name] = Bounds(
                ledger=ledger,
                clock=clock,
                total_seconds=destination.limits.total_timeout_seconds,
                header=destination.deadline_header,
                guard=guard,
            )
    return found


def _guard(
    destination: model.Destination, clock: Callable[[], float], before: Before | None
) -> DestinationGuard | None:
    written, most = destination.circuit, destination.limits.max_concurrent
    if written is None and most is None:
        return None
    under_way, circuit = _kept(destination, before)
    if circuit is None and written is not None:
        circuit = Circuit(
            clock=clock,
            changed=_CircuitLog(destination.name),
            failures_to_open=written.failures,
            first_pause_seconds=written.pause_seconds,
            longest_pause_seconds=written.longest_pause_seconds,
        )
    return DestinationGuard(
        destination.name,
        clock=clock,
        under_way=under_way,
        max_concurrent=most,
        circuit=circuit,
        statuses=frozenset() if written is None else _STATUSES[written.answers],
        fair_seconds=0.0 if written is None else written.fair_seconds,
    )


def _kept(destination: model.Destination, before: Before | None) -> tuple[UnderWay, Circuit | None]:
    if before is None:
        return UnderWay(), None
    config, known = before
    earlier = config.outbound.destinations.get(destination.name)
    held = known.get(destination.name)
    if (
        earlier is None
        or held is None
        or held.guard is None
        or earlier.upstream != destination.upstream
    ):
        return UnderWay(), None
    judged_alike = earlier.circuit == destination.circuit
    return held.guard.under_way, held.guard.circuit if judged_alike else None


class _CircuitLog:
    """Says when a destination is left alone, and when it is well again."""

    def __init__(self, destination: str) -> None:
        self._destination = destination
        self._was_open = False

    def __call__(self, state: State) -> None:
        if state == "open" and not self._was_open:
            self._was_open = True
            _log.warning(
                "destination %s: its calls fail one after the other, so it is left alone for a "
                "while and tried now and then (circuit open)",
                self._destination,
            )
        elif state == "closed" and self._was_open:
            self._was_open = False
            _log.warning("destination %s: answers again (circuit closed)", self._destination)
