"""Deciding which live inbound request caused an outbound call.

Evidence is a set, not a chain of fall-backs: everything the call says about its cause is
collected, all of it must name the same live entry, and anything else is a refusal. Keeping the
entries belongs to ``sidecar.credentials.ledger``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Literal

from sidecar.core.names import HANDLE_PREFIX, HANDLE_RANDOM_LENGTH
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Credential

_HANDLE = re.compile(rb"%b[0-9a-z]{%d}" % (HANDLE_PREFIX.encode(), HANDLE_RANDOM_LENGTH))
_REPORT_GRADE = re.compile(rb"[\x21-\x7e]+ *; *grade=(strict|standard)")


class Grade(IntEnum):
    """How sure a method is that the handle it carries belongs to this call."""

    COMPAT = 1
    STANDARD = 2
    STRICT = 3

    @property
    def label(self) -> str:
        return self.name.lower()


class Entry:
    """One live inbound exchange. Closed once, for ever; then it holds no credential."""

    __slots__ = ("calls", "credential", "decision", "handle", "live", "opened_at", "route")

    def __init__(
        self, handle: bytes, credential: Credential | None, route: str, opened_at: float
    ) -> None:
        self.handle = handle
        self.credential = credential
        """``None``: the caller was anonymous, so calls it causes have no identity either."""
        self.route = route
        self.opened_at = opened_at
        """Seconds of the monotonic clock."""
        self.calls = 0
        """Outbound attempts so far."""
        self.live = True
        self.decision = ""

    def __repr__(self) -> str:
        return f"Entry(route={self.route!r}, live={self.live})"


class Gone(Enum):
    """The handle was ours, and its request has ended."""

    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything an outbound request says about the request that caused it, as received."""

    context: tuple[bytes, ...] = ()
    """Values of the dedicated header."""
    carrier: tuple[bytes, ...] = ()
    """Values of the carrier's self-report."""


@dataclass(frozen=True, slots=True)
class AttributionRules:
    """What the pod and the destination demand."""

    destination: str
    min_grade: Grade
    max_grade: Grade
    """The best grade the pod's carrier can have; a report above it is not believed."""
    max_age_seconds: float
    max_calls: int


Method = Literal["header", "none"]


@dataclass(frozen=True, slots=True)
class Attributed:
    """The one live entry that all evidence names. Its credential may be absent (anonymous)."""

    entry: Entry
    method: Method
    grade: Grade


@dataclass(frozen=True, slots=True)
class Unattributed:
    """No entry, and why."""

    denial: Denial
    method: Method
    grade: Grade


Find = Callable[[bytes], Entry | Gone | None]
Attribute = Callable[[Evidence, AttributionRules, Find, float, float], Attributed | Unattributed]
"""Evidence, rules, look-up, monotonic now, wall-clock now (both in seconds)."""


def attribute(
    evidence: Evidence, rules: AttributionRules, find: Find, now: float, wall_now: float
) -> Attributed | Unattributed:
    """Resolve *evidence* to one live entry or to a refusal; never to a guess."""
    grade = grade_of(evidence.carrier, rules.max_grade)
    if not evidence.context:
        return Unattributed(
            Denial(Reason.ATTRIBUTION_MISSING, _missing_detail(evidence)), "none", grade
        )
    if len(evidence.context) > 1:
        return _refuse(Reason.ATTRIBUTION_AMBIGUOUS, "the context header was sent twice", grade)
    handle = evidence.context[0]
    if not _HANDLE.fullmatch(handle):
        return _refuse(Reason.ATTRIBUTION_AMBIGUOUS, "the context header is not a handle", grade)
    entry = find(handle)
    if entry is None:
        return _refuse(
            Reason.ATTRIBUTION_UNKNOWN,
            "the handle is not of this sidecar process, or ended long ago",
            grade,
        )
    if entry is Gone.DEAD:
        return _refuse(
            Reason.ATTRIBUTION_DEAD,
            "the call came after the response of its request, or after its caller had left",
            grade,
        )
    denial = check(entry, rules, now, wall_now)
    if denial is None and grade < rules.min_grade:
        denial = _too_weak(grade, rules)
    if denial is not None:
        return Unattributed(denial, "header", grade)
    return Attributed(entry, "header", grade)


def check(entry: Entry, rules: AttributionRules, now: float, wall_now: float) -> Denial | None:
    """Return why *entry* may cause no call at this moment, or ``None``.

    Asked when the call is attributed and again just before its head is written: between the two
    the caller may have left, or the token expired.
    """
    if not entry.live:
        return Denial(Reason.ATTRIBUTION_DEAD, "its request ended while the call was waiting")
    if now - entry.opened_at > rules.max_age_seconds:
        return Denial(
            Reason.ATTRIBUTION_MAX_AGE,
            f"the request is older than attribution.max_age ({rules.max_age_seconds:g} s)",
        )
    if entry.calls >= rules.max_calls:
        return Denial(
            Reason.ATTRIBUTION_CALL_LIMIT,
            f"the request made attribution.max_calls ({rules.max_calls}) calls already",
        )
    if entry.credential is not None and entry.credential.expires_at <= wall_now:
        return Denial(Reason.TOKEN_EXPIRED, "the caller's token expired during its request")
    return None


def grade_of(reports: tuple[bytes, ...], best: Grade) -> Grade:
    """Return the grade that a carrier's self-report earns; without exactly one, the lowest."""
    if len(reports) != 1:
        return Grade.COMPAT
    match = _REPORT_GRADE.fullmatch(reports[0])
    if match is None:
        return Grade.COMPAT
    return min(best, Grade.STRICT if match[1] == b"strict" else Grade.STANDARD)


def _refuse(reason: Reason, detail: str, grade: Grade) -> Unattributed:
    return Unattributed(Denial(reason, detail), "header", grade)


def _missing_detail(evidence: Evidence) -> str:
    if evidence.carrier:
        return "a carrier is loaded, but no live request is waiting for the code that called"
    return "no carrier is loaded in the app; `sidecar carrier env python` prints what to set"


def _too_weak(grade: Grade, rules: AttributionRules) -> Denial:
    return Denial(
        Reason.ATTRIBUTION_ASSURANCE,
        f"the evidence is {grade.label}, {rules.min_grade.label} is demanded; to accept it write "
        f"`min_assurance: {grade.label}` under outbound.destinations.{rules.destination}, "
        "after reading docs/attribution.md on what that risks",
    )
