"""What runs and is not as it should be, a sentence each, out of the status itself."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from sidecar.admin.status import (
    AttributionStatus,
    ClientStatus,
    DestinationStatus,
    IssuerStatus,
    LedgerStatus,
)

_FULL: Final = 0.8


def issuer_warnings(issuer: IssuerStatus, leeway_seconds: float) -> Iterator[str]:
    """Yield what is wrong with one issuer's keys, clock or circuit."""
    if issuer.state == "blind":
        yield f"issuer {issuer.name} has no keys: its tokens get 503 (docs/outages.md)"
    elif issuer.state == "stale":
        yield f"issuer {issuer.name} could not be asked lately: its last keys stay for `stale_for`"
    offset = issuer.clock_offset_seconds
    if offset is not None and abs(offset) > leeway_seconds + issuer.clock_bound_seconds:
        way = "ahead of" if offset > 0 else "behind"
        yield (
            f"the clock of issuer {issuer.name} is {abs(offset):.0f} s {way} ours, more than its "
            f"leeway of {leeway_seconds:g} s"
        )
    if issuer.circuit not in (None, "closed"):
        yield f"issuer {issuer.name} does not answer introspection: its circuit is {issuer.circuit}"


def client_warnings(client: ClientStatus) -> Iterator[str]:
    """Yield what a client does not get."""
    for trouble in client.troubles:
        yield f"client {client.name} gets no token: {trouble}"
    if client.circuit != "closed":
        yield f"client {client.name} gets no answer: its circuit is {client.circuit}"


def other_warnings(
    ledger: LedgerStatus,
    attribution: AttributionStatus,
    destinations: Sequence[DestinationStatus],
    *,
    unclean: Mapping[tuple[str, str], int],
    lost_lines: int,
) -> Iterator[str]:
    """Yield the rest. *unclean* are unwise tokens by issuer and kind."""
    if ledger.entries >= _FULL * ledger.capacity:
        yield f"the ledger is nearly full: {ledger.entries:,} of {ledger.capacity:,} entries"
    without = sum(each.calls for each in attribution.seen if each.grade == "none")
    if without and attribution.expectation:
        yield f"calls without a carrier: {without:,}, though {attribution.expectation}"
    for destination in destinations:
        if destination.mode == "observe":
            yield f"destination {destination.name} is only observed: no token is attached"
        if destination.circuit not in (None, "closed"):
            yield f"destination {destination.name} fails: its circuit is {destination.circuit}"
    for (issuer, kind), count in unclean.items():
        yield f"good tokens of issuer {issuer} that are unwise ({kind}): {count:,}"
    if lost_lines:
        yield f"lines of the access log that nobody read, and were dropped: {lost_lines:,}"
