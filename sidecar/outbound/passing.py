"""The transaction token that goes with a call: that of the request which caused it, or none.

Only for destinations with ``transaction_token: pass`` or ``request``. Whose call it is has been
found before.
"""

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from sidecar.core.attribution import (
    Attributed,
    Entry,
    Evidence,
    Grade,
    Lookup,
    Unattributed,
)
from sidecar.core.obtained import Failure
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Credential
from sidecar.core.transactions import expired, line_of


def transaction_of(
    entry: Entry,
    grade: Grade,
    evidence: Evidence,
    lookup: Lookup,
    attribute: Callable[[Evidence], Attributed | Unattributed],
    *,
    requests: bool,
) -> Credential | Denial | None:
    """Return the transaction token of *entry*, to which the call was attributed by *evidence*.

    An app that relays an access token names whoever it speaks for, and not the request: where the
    requests with that token belong to different transactions, something else must name one.
    *requests*: each that came without a transaction token gets one of its own.
    """
    transaction = entry.transaction
    if grade is not Grade.STATED or entry.credential is None:
        return transaction
    token = _token(transaction)
    alike = lookup.find_token(entry.credential.token)
    if all(
        each is entry or (_token(each.transaction) == token and (token or not requests))
        for each in alike
    ):
        return transaction
    named = attribute(without_statement(evidence))
    if isinstance(named, Attributed) and named.entry is entry:
        return transaction
    return _AMBIGUOUS


def lines_with(
    entry: Entry, chosen: Credential | None, wall_now: float, *, requested_for: Entry | None = None
) -> bytes | Denial:
    """Return the line to send with a call of *entry* at *wall_now*.

    *chosen* was decided on when the call came; whatever entry it is counted under by now, that and
    no other goes with it. *requested_for*: in whose name it was asked for, if it was.
    """
    if requested_for is not None:
        if requested_for is not entry:
            return _ENDED
    elif _token(entry.transaction) != _token(chosen):
        return _ENDED
    if chosen is None:
        return b""
    return expired(chosen, wall_now) or line_of(chosen.token)


class Question(Protocol):
    """A transaction token that is asked for, for everybody who waits for it."""

    def settled(self) -> Awaitable[None]: ...
    def found(self) -> Credential | Failure:
        """Return what came of it, once it is settled."""
        ...


class TransactionRequests(Protocol):
    """Where transaction tokens of requests come from that came without one."""

    def get(self, entry: Entry) -> Credential | Failure | Question:
        """Return that of *entry*, why there is none, or what to wait for."""
        ...


def without_statement(evidence: Evidence) -> Evidence:
    """Return *evidence* as it is without the app's own Authorization."""
    return Evidence(evidence.context, evidence.carrier, evidence.claims, None, evidence.fault)


def _token(transaction: Credential | None) -> bytes:
    return b"" if transaction is None else transaction.token


_AMBIGUOUS: Final = Denial(
    Reason.ATTRIBUTION_AMBIGUOUS,
    "Authorization has the token of several requests, of different transactions, and nothing else "
    "names one of them",
)
_ENDED: Final = Denial(
    Reason.ATTRIBUTION_DEAD, "the request with its transaction token ended while the call waited"
)
