"""Deciding which live inbound request caused an outbound call.

Evidence is a set, not a chain of fall-backs: everything the call says about its cause is
collected, all of it must name the same live entry, and anything else is a refusal. Keeping the
entries belongs to ``sidecar.credentials.ledger``.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from math import inf
from typing import Any, Final, Literal, Protocol

from sidecar.core.names import HANDLE_PREFIX, HANDLE_RANDOM_LENGTH
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Credential
from sidecar.core.propagation import Alias
from sidecar.core.token_request import TokenRequest

HANDLE_PATTERN: Final = rb"%b[0-9a-z]{%d}" % (HANDLE_PREFIX.encode(), HANDLE_RANDOM_LENGTH)
_HANDLE = re.compile(HANDLE_PATTERN)
_REPORT_GRADE = re.compile(rb"[\x21-\x7e]+ *; *grade=(strict|standard)")


class Grade(IntEnum):
    """How sure a method is that what it carries belongs to this call."""

    COMPAT = 1
    STANDARD = 2
    STRICT = 3
    STATED = 4
    """The app itself names the credential, by sending it: nothing is inferred."""

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS: Final = {grade: grade.name.lower() for grade in Grade}


@dataclass(frozen=True, slots=True)
class CallTerms:
    """For how long the requests of one rule may cause calls."""

    max_age_seconds: float
    linger_seconds: float = 0.0
    """After the response is complete; only for evidence that is at least ``standard``."""
    alone: bool = False
    """No other caller's request is in the app meanwhile (exclusive admission): context that
    belongs to somebody else can then only come with work that was left behind."""


class Entry:
    """One live inbound exchange. Closed once, for ever; then it holds no credential."""

    __slots__ = (
        "aliases", "calls", "credential", "deadline", "decision", "ended_at", "handle", "live",
        "opened_at", "requested", "route", "terms", "transaction",
    )  # fmt: skip

    def __init__(
        self,
        handle: bytes,
        credential: Credential | None,
        route: str,
        terms: CallTerms,
        opened_at: float,
        aliases: tuple[Alias, ...] = (),
    ) -> None:
        self.handle = handle
        self.credential = credential
        """``None``: the caller was anonymous, so calls it causes have no identity either."""
        self.route = route
        self.terms = terms
        self.opened_at = opened_at
        """Seconds of the monotonic clock."""
        self.aliases = aliases
        """Ids that stand for the handle in fields that could not hold it."""
        self.ended_at: float | None = None
        """When the response was complete, for an entry that lingers."""
        self.calls = 0
        """Outbound attempts so far."""
        self.transaction: Credential | None = None
        """The transaction token that the request came with, verified; only beside a credential."""
        self.deadline = inf
        """Until when the caller waits, in seconds of the monotonic clock."""
        self.requested: dict[TokenRequest, Any] = NOTHING_REQUESTED
        """Transaction tokens that were asked for in its name: their source's business."""
        self.decision = ""
        """Id of the decision that let the request in, by which logs name the request."""
        self.live = True

    def __repr__(self) -> str:
        return f"Entry(route={self.route!r}, live={self.live})"


NOTHING_REQUESTED: Final[dict[TokenRequest, Any]] = {}
"""Of all entries in whose name nothing was asked for, which are most; nobody writes to it."""


class Gone(Enum):
    """The handle was ours, and its request has ended."""

    DEAD = "dead"


Method = Literal[
    "header", "placeholder", "relayed", "baggage", "tracestate", "request_id", "trace_id", "none"
]
_SWAPPED: Final = frozenset(("request_id", "trace_id"))
"""Fields that apps fill themselves, too: an id that we did not mint says nothing."""
_WHERE: Final[Mapping[Method, str]] = {
    "header": "the context header",
    "placeholder": "the placeholder in Authorization",
    "baggage": "our member of baggage",
    "tracestate": "our member of tracestate",
    "request_id": "the request id",
    "trace_id": "the trace id",
}


@dataclass(init=False, slots=True)
class Claim:
    """One thing that names an entry."""

    method: Final[Method]
    key: Final[bytes]

    def __init__(self, method: Method, key: bytes) -> None:
        self.method = method
        self.key = key


@dataclass(init=False, slots=True)
class Evidence:
    """Everything an outbound request says about the request that caused it, as received."""

    context: Final[tuple[bytes, ...]]
    """Values of the dedicated header."""
    carrier: Final[tuple[bytes, ...]]
    """Values of the carrier's self-report."""
    claims: Final[tuple[Claim, ...]]
    """What everything else carries."""
    statement: Final[bytes | None]
    """The token in the app's own Authorization, empty where that holds something else."""
    fault: Final[str]
    """Why what was sent can be read in more than one way."""

    def __init__(
        self,
        context: tuple[bytes, ...] = (),
        carrier: tuple[bytes, ...] = (),
        claims: tuple[Claim, ...] = (),
        statement: bytes | None = None,
        fault: str = "",
    ) -> None:
        self.context = context
        self.carrier = carrier
        self.claims = claims
        self.statement = statement
        self.fault = fault


NO_EVIDENCE: Final = Evidence()


@dataclass(frozen=True, slots=True)
class AttributionRules:
    """What the pod and the destination demand."""

    destination: str
    min_grade: Grade
    max_grade: Grade
    """The best grade the pod's carrier can have; a report above it is not believed."""
    max_calls: int


@dataclass(init=False, slots=True)
class Attributed:
    """The one live entry that all evidence names. Its credential may be absent (anonymous)."""

    entry: Final[Entry]
    method: Final[Method]
    grade: Final[Grade]

    def __init__(self, entry: Entry, method: Method, grade: Grade) -> None:
        self.entry = entry
        self.method = method
        self.grade = grade


@dataclass(frozen=True, slots=True)
class Unattributed:
    """No entry, and why."""

    denial: Denial
    method: Method
    grade: Grade
    causes: tuple[str, ...] = ()
    """Decision ids of the live requests that the evidence names all the same."""


class Lookup(Protocol):
    """The ledger, as far as attribution asks it."""

    def find(self, key: bytes) -> Entry | Gone | None:
        """The entry that a handle or an alias stands for."""
        ...

    def find_token(self, token: bytes) -> Iterable[Entry]:
        """The live entries with this very token, the newest first."""
        ...


Attribute = Callable[[Evidence, AttributionRules, Lookup, float, float], Attributed | Unattributed]
"""Evidence, rules, ledger, monotonic now, wall-clock now (both in seconds)."""


def is_handle(value: bytes) -> bool:
    """Whether *value* has the form of a handle."""
    return _HANDLE.fullmatch(value) is not None


def attribute(
    evidence: Evidence, rules: AttributionRules, lookup: Lookup, now: float, wall_now: float
) -> Attributed | Unattributed:
    """Resolve *evidence* to one live entry or to a refusal; never to a guess."""
    found = _named(evidence, rules, lookup)
    if evidence.statement is not None:
        stated = tuple(lookup.find_token(evidence.statement))
        one = next(
            (e for e in stated if check(e, Grade.STATED, rules, now, wall_now) is None),
            next(iter(stated), None),
        )
        found = _stated(found, evidence.statement, one)
    if isinstance(found, Unattributed):
        return found
    denial = check(found.entry, found.grade, rules, now, wall_now)
    if denial is None and found.grade < rules.min_grade:
        denial = _too_weak(found.grade, rules)
    if denial is None:
        return found
    return Unattributed(denial, found.method, found.grade, (found.entry.decision,))


def _named(
    evidence: Evidence, rules: AttributionRules, lookup: Lookup
) -> Attributed | Unattributed:
    """Find the one entry that everything names which stands for an entry.

    What cannot be read outweighs what is not known, and that what contradicts: the first reason
    is the one to look into first. All of them refuse.
    """
    claims = evidence.claims
    reported = grade_of(evidence.carrier, rules.max_grade)
    if evidence.context:
        claims = (*(Claim("header", value) for value in evidence.context), *claims)
    if evidence.fault or len(evidence.context) > 1:
        fault = evidence.fault or "the context header was sent twice"
        return _refuse(Reason.ATTRIBUTION_AMBIGUOUS, fault, claims, reported)
    for claim in claims:
        if claim.method not in _SWAPPED and not is_handle(claim.key):
            detail = f"{_WHERE[claim.method]} is not a handle"
            return _refuse(Reason.ATTRIBUTION_AMBIGUOUS, detail, claims, reported)
    answers: list[tuple[Claim, Entry | Gone]] = []
    for claim in claims:
        answer = lookup.find(claim.key)
        if answer is not None:
            answers.append((claim, answer))
        elif claim.method not in _SWAPPED:
            detail = f"{_WHERE[claim.method]} is not of this sidecar process, or ended long ago"
            return _refuse(Reason.ATTRIBUTION_UNKNOWN, detail, claims, reported)
    if not answers:
        return Unattributed(
            Denial(Reason.ATTRIBUTION_MISSING, _missing_detail(evidence)), "none", reported
        )
    first_claim, entry = answers[0]
    for claim, other in answers[1:]:
        if other is not entry:
            detail = f"{_WHERE[first_claim.method]} and {_WHERE[claim.method]} name two requests"
            named = tuple(each.decision for each in (entry, other) if isinstance(each, Entry))
            return _refuse(Reason.ATTRIBUTION_AMBIGUOUS, detail, claims, reported, named)
    if isinstance(entry, Gone):
        detail = "the call came after the response of its request, or after its caller had left"
        return _refuse(Reason.ATTRIBUTION_DEAD, detail, claims, reported)
    method = first_claim.method
    grade = _grade_by(method, reported, entry.terms)
    for claim, _ in answers[1:]:
        other_grade = _grade_by(claim.method, reported, entry.terms)
        if other_grade > grade:
            method, grade = claim.method, other_grade
    return Attributed(entry, method, grade)


def _stated(
    found: Attributed | Unattributed, token: bytes, stated: Entry | None
) -> Attributed | Unattributed:
    """Weigh the credential that the app sent of its own accord.

    A token of a live request is the app's statement whom it speaks for (a Feign interceptor's,
    say): it needs no further proof, and it may not contradict what else is known. Any other
    credential is the app's own. *stated* is one of the live requests that came with *token*:
    which one does not matter, for all of them carry the same credential.
    """
    if isinstance(found, Unattributed):
        if found.denial.reason is not Reason.ATTRIBUTION_MISSING:
            return found
        if stated is not None:
            return Attributed(stated, "relayed", Grade.STATED)
    else:
        credential = found.entry.credential
        if credential is not None and credential.token == token:
            return Attributed(found.entry, "relayed", Grade.STATED)
        if stated is not None:
            detail = (
                f"{_WHERE[found.method]} names one request, and Authorization has the token of "
                "another"
            )
            return Unattributed(
                Denial(Reason.ATTRIBUTION_AMBIGUOUS, detail),
                found.method,
                found.grade,
                (found.entry.decision, stated.decision),
            )
    return Unattributed(
        Denial(
            Reason.FOREIGN_CREDENTIAL,
            "the app sent an Authorization that is no live request's token; "
            "`app_credentials: keep` lets it pass",
        ),
        found.method,
        found.grade,
    )


def check(
    entry: Entry, grade: Grade, rules: AttributionRules, now: float, wall_now: float
) -> Denial | None:
    """Return why *entry* may cause no call at this moment, or ``None``.

    Asked when the call is attributed and again just before its head is written: between the two
    the caller may have left, or the token expired.
    """
    if not entry.live:
        return Denial(Reason.ATTRIBUTION_DEAD, "its request ended while the call was waiting")
    terms = entry.terms
    if entry.ended_at is not None and (
        grade < Grade.STANDARD or now - entry.ended_at > terms.linger_seconds
    ):
        return Denial(
            Reason.ATTRIBUTION_DEAD,
            f"its request had ended, and `linger` ({terms.linger_seconds:g} s) covers only "
            "standard and strict evidence for that long",
        )
    if now - entry.opened_at > terms.max_age_seconds:
        return Denial(
            Reason.ATTRIBUTION_MAX_AGE,
            f"the request is older than its max_age ({terms.max_age_seconds:g} s)",
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


def _grade_by(method: Method, reported: Grade, terms: CallTerms) -> Grade:
    grade = Grade.COMPAT
    if method == "header":
        grade = reported
    elif method == "placeholder":
        # Whoever relays it took it from the request in hand.
        grade = Grade.STANDARD
    return max(grade, Grade.STANDARD) if terms.alone else grade


def _refuse(
    reason: Reason,
    detail: str,
    claims: tuple[Claim, ...],
    reported: Grade,
    causes: tuple[str, ...] = (),
) -> Unattributed:
    method: Method = claims[0].method if claims else "none"
    grade = reported if method == "header" else Grade.COMPAT
    return Unattributed(Denial(reason, detail), method, grade, causes)


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
