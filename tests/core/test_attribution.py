"""Attribution: one live entry that all evidence names, or a refusal with its own reason."""

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from sidecar.core.attachment import (
    Attach,
    DestinationRules,
    Leave,
    Refuse,
    decide,
    decide_unattributed,
)
from sidecar.core.attribution import (
    Attributed,
    AttributionRules,
    CallTerms,
    Claim,
    Entry,
    Evidence,
    Gone,
    Grade,
    Method,
    Unattributed,
    attribute,
    check,
    grade_of,
)
from sidecar.core.outcome import Reason
from sidecar.core.principal import Credential, Principal

HANDLE = b"sdc1" + b"a" * 28
STRICT_REPORT = b"python/0.1; grade=strict"
OTHER = b"sdc1" + b"b" * 28
REQUEST_ID = b"6f1f1c1e-8a52-4c5b-9d7e-0123456789ab"
RELAY = DestinationRules(attributes=True)
TERMS = CallTerms(max_age_seconds=60.0)


def rules(
    *, minimum: Grade = Grade.STRICT, best: Grade = Grade.STRICT, calls: int = 10
) -> AttributionRules:
    """Make rules with round numbers."""
    return AttributionRules("profiles", minimum, best, calls)


def credential(subject: str = "alice", expires_at: float = 1_000.0) -> Credential:
    """Make a credential of *subject*."""
    principal = Principal("shop", "https://issuer.example", subject)
    return Credential(principal, subject.encode(), b"\0" * 32, expires_at, -math.inf)


def entry(
    subject: str | None = "alice",
    expires_at: float = 1_000.0,
    *,
    handle: bytes = HANDLE,
    terms: CallTerms = TERMS,
) -> Entry:
    """Make a live entry opened at 100."""
    owned = credential(subject, expires_at) if subject else None
    return Entry(handle, owned, "all", terms, 100.0)


class Known:
    """A ledger that holds what a test says."""

    def __init__(self, entries: Mapping[bytes, Entry | Gone]) -> None:
        self._entries = entries

    def find(self, key: bytes) -> Entry | Gone | None:
        return self._entries.get(key)

    def find_token(self, token: bytes) -> list[Entry]:
        return [
            entry
            for entry in self._entries.values()
            if isinstance(entry, Entry) and entry.credential and entry.credential.token == token
        ]


NOTHING = Known({})


def resolve(
    evidence: Evidence,
    known: Entry | Gone | Known | None,
    with_rules: AttributionRules | None = None,
    *,
    now: float = 101.0,
    wall: float = 500.0,
) -> Attributed | Unattributed:
    """Attribute *evidence* where *known* is the ledger, or what it holds under the handle."""
    if not isinstance(known, Known):
        known = Known({} if known is None else {HANDLE: known})
    return attribute(evidence, with_rules or rules(), known, now, wall)


def reason(result: Attributed | Unattributed) -> Reason:
    """Return the reason of a refusal."""
    assert isinstance(result, Unattributed), result
    return result.denial.reason


def sent(*values: bytes, report: bytes | None = STRICT_REPORT) -> Evidence:
    """Make the evidence of a call with these context headers."""
    return Evidence(values, (report,) if report is not None else ())


def test_a_live_handle_from_a_strict_carrier_is_attributed() -> None:
    """The entry that the handle names is the answer."""
    live = entry()
    result = resolve(sent(HANDLE), live)
    assert isinstance(result, Attributed)
    assert result.entry is live
    assert result.grade is Grade.STRICT


@pytest.mark.parametrize(
    ("evidence", "known", "expected"),
    [
        (sent(), None, Reason.ATTRIBUTION_MISSING),
        (sent(report=None), None, Reason.ATTRIBUTION_MISSING),
        (sent(HANDLE, HANDLE), entry(), Reason.ATTRIBUTION_AMBIGUOUS),
        (sent(HANDLE, b"sdc1" + b"b" * 28), entry(), Reason.ATTRIBUTION_AMBIGUOUS),
        (sent(HANDLE[:-1]), entry(), Reason.ATTRIBUTION_AMBIGUOUS),
        (sent(HANDLE + b"a"), entry(), Reason.ATTRIBUTION_AMBIGUOUS),
        (sent(HANDLE.upper()), entry(), Reason.ATTRIBUTION_AMBIGUOUS),
        (sent(HANDLE + b", " + HANDLE), entry(), Reason.ATTRIBUTION_AMBIGUOUS),
        (sent(b""), entry(), Reason.ATTRIBUTION_AMBIGUOUS),
        (sent(b"sdc1" + b"b" * 28), entry(), Reason.ATTRIBUTION_UNKNOWN),
        (sent(HANDLE), Gone.DEAD, Reason.ATTRIBUTION_DEAD),
        (sent(HANDLE, report=None), entry(), Reason.ATTRIBUTION_ASSURANCE),
        (sent(HANDLE, report=b"python/0.1; grade=standard"), entry(), Reason.ATTRIBUTION_ASSURANCE),
    ],
)
def test_each_kind_of_bad_evidence_has_its_own_reason(
    evidence: Evidence, known: Entry | Gone | None, expected: Reason
) -> None:
    """Missing, dead, unknown, ambiguous and weak evidence are told apart."""
    assert reason(resolve(evidence, known)) is expected


def test_a_weak_refusal_names_the_line_to_write() -> None:
    """Whoever reads it knows which setting decides and where its risk is explained."""
    result = resolve(sent(HANDLE, report=None), entry())
    assert isinstance(result, Unattributed)
    assert "`min_assurance: compat` under outbound.destinations.profiles" in result.denial.detail
    assert "docs/attribution.md" in result.denial.detail


def test_a_closed_entry_is_dead_even_if_it_was_found() -> None:
    """Liveness is a property of the entry, not of the look-up."""
    closed = entry()
    closed.live = False
    assert reason(resolve(sent(HANDLE), closed)) is Reason.ATTRIBUTION_DEAD


@pytest.mark.parametrize(("now", "refused"), [(159.9, False), (160.0, False), (160.1, True)])
def test_an_entry_is_too_old_just_after_its_maximum_age(now: float, refused: bool) -> None:
    """Opened at 100 with 60 s: at 160 it still counts, after it no more."""
    result = resolve(sent(HANDLE), entry(), now=now)
    assert isinstance(result, Unattributed) is refused
    if refused:
        assert reason(result) is Reason.ATTRIBUTION_MAX_AGE


@pytest.mark.parametrize(("wall", "refused"), [(999.9, False), (1000.0, True), (1000.1, True)])
def test_a_token_is_not_sent_at_or_after_its_exp(wall: float, refused: bool) -> None:
    """No leeway outbound: whoever receives it may have none."""
    result = resolve(sent(HANDLE), entry(expires_at=1000.0), wall=wall)
    assert isinstance(result, Unattributed) is refused
    if refused:
        assert reason(result) is Reason.TOKEN_EXPIRED


@pytest.mark.parametrize(("calls", "refused"), [(9, False), (10, True)])
def test_an_entry_has_a_bounded_number_of_calls(calls: int, refused: bool) -> None:
    """The call after the last permitted one is refused."""
    used = entry()
    used.calls = calls
    result = resolve(sent(HANDLE), used)
    assert isinstance(result, Unattributed) is refused
    if refused:
        assert reason(result) is Reason.ATTRIBUTION_CALL_LIMIT


def test_check_asks_again_for_everything_that_can_change() -> None:
    """Between attribution and sending, liveness, age, calls and expiry may have changed."""
    live = entry()
    assert check(live, Grade.STRICT, rules(), 101.0, 500.0) is None
    live.live = False
    denial = check(live, Grade.STRICT, rules(), 101.0, 500.0)
    assert denial is not None
    assert denial.reason is Reason.ATTRIBUTION_DEAD


@pytest.mark.parametrize(
    ("reports", "best", "grade"),
    [
        ((), Grade.STRICT, Grade.COMPAT),
        ((STRICT_REPORT,), Grade.STRICT, Grade.STRICT),
        ((STRICT_REPORT,), Grade.STANDARD, Grade.STANDARD),
        ((STRICT_REPORT,), Grade.COMPAT, Grade.COMPAT),
        ((b"node/1; grade=standard",), Grade.STRICT, Grade.STANDARD),
        ((STRICT_REPORT, STRICT_REPORT), Grade.STRICT, Grade.COMPAT),
        ((b"grade=strict",), Grade.STRICT, Grade.COMPAT),
        ((b"python/1; grade=perfect",), Grade.STRICT, Grade.COMPAT),
    ],
)
def test_a_self_report_is_believed_up_to_what_the_pod_can_have(
    reports: tuple[bytes, ...], best: Grade, grade: Grade
) -> None:
    """Exactly one well-formed report earns its grade, capped; anything else the lowest."""
    assert grade_of(reports, best) is grade


def test_a_lower_minimum_lets_weaker_evidence_pass() -> None:
    """Compat evidence is enough where the destination says so."""
    result = resolve(sent(HANDLE, report=None), entry(), rules(minimum=Grade.COMPAT))
    assert isinstance(result, Attributed)


# --- evidence is a set ---


def carried(*claims: tuple[Method, bytes]) -> Evidence:
    """Make the evidence of a call without our carrier."""
    return Evidence(claims=tuple(Claim(method, key) for method, key in claims))


@pytest.mark.parametrize(
    ("method", "key", "grade"),
    [
        ("placeholder", HANDLE, Grade.STANDARD),
        ("baggage", HANDLE, Grade.COMPAT),
        ("tracestate", HANDLE, Grade.COMPAT),
        ("request_id", REQUEST_ID, Grade.COMPAT),
        ("trace_id", b"trace-id 0123456789abcdef", Grade.COMPAT),
    ],
)
def test_each_method_has_its_grade(method: Method, key: bytes, grade: Grade) -> None:
    """Exactly at its grade a destination takes it, just above it does not."""
    live = entry()
    known = Known({key: live})
    result = resolve(carried((method, key)), known, rules(minimum=grade))
    assert result == Attributed(live, method, grade)
    above = resolve(carried((method, key)), known, rules(minimum=Grade(grade + 1)))
    assert reason(above) is Reason.ATTRIBUTION_ASSURANCE


def test_evidence_that_agrees_counts_as_its_best() -> None:
    """Our carrier beside a tracer that carries the same handle: strict, and by the header."""
    live = entry()
    evidence = Evidence(
        (HANDLE,), (STRICT_REPORT,), (Claim("baggage", HANDLE), Claim("request_id", REQUEST_ID))
    )
    known = Known({HANDLE: live, REQUEST_ID: live})
    assert resolve(evidence, known) == Attributed(live, "header", Grade.STRICT)


LIVE, RIVAL = entry(), entry("bob", handle=OTHER)
BOTH = Known({HANDLE: LIVE, OTHER: RIVAL, REQUEST_ID: RIVAL})


@pytest.mark.parametrize(
    ("evidence", "expected"),
    [
        # Another live request in any carrier: no grade outranks another.
        (Evidence((HANDLE,), (STRICT_REPORT,), (Claim("baggage", OTHER),)), "ambiguous"),
        (Evidence((HANDLE,), (STRICT_REPORT,), (Claim("request_id", REQUEST_ID),)), "ambiguous"),
        (carried(("baggage", HANDLE), ("tracestate", OTHER)), "ambiguous"),
        (carried(("placeholder", HANDLE), ("baggage", OTHER)), "ambiguous"),
        # One that cannot be read, beside one that can.
        (Evidence((HANDLE,), (STRICT_REPORT,), (Claim("baggage", b"sdc1"),)), "ambiguous"),
        (Evidence((HANDLE,), (STRICT_REPORT,), (), None, "twice"), "ambiguous"),
        # One of our own keys that leads nowhere, beside one that does.
        (carried(("baggage", HANDLE), ("tracestate", b"sdc1" + b"z" * 28)), "unknown"),
        (Evidence((HANDLE,), (), (Claim("placeholder", b"sdc1" + b"z" * 28),)), "unknown"),
        # An id that we did not mint says nothing.
        (carried(("request_id", b"the-apps-own")), "missing"),
        (carried(("trace_id", b"trace-id 00000000000000aa")), "missing"),
    ],
)
def test_evidence_that_disagrees_is_refused(evidence: Evidence, expected: str) -> None:
    """All of it must name the same entry."""
    result = resolve(evidence, BOTH, rules(minimum=Grade.COMPAT))
    assert reason(result).code == f"attribution_{expected}"


def test_a_live_and_an_ended_request_contradict_each_other() -> None:
    """Whichever of the two is right, the evidence as a whole is not."""
    known = Known({HANDLE: entry(), OTHER: Gone.DEAD})
    evidence = carried(("baggage", HANDLE), ("tracestate", OTHER))
    assert reason(resolve(evidence, known)) is Reason.ATTRIBUTION_AMBIGUOUS
    evidence = carried(("tracestate", OTHER))
    assert reason(resolve(evidence, known)) is Reason.ATTRIBUTION_DEAD


def test_an_id_of_the_apps_own_takes_nothing_from_other_evidence() -> None:
    """Apps fill request ids themselves; only one that we minted is evidence."""
    evidence = Evidence((HANDLE,), (STRICT_REPORT,), (Claim("request_id", b"the-apps-own"),))
    assert isinstance(resolve(evidence, entry()), Attributed)


def test_alone_in_the_app_weak_evidence_counts_as_standard_and_no_more() -> None:
    """Exclusive admission leaves one way to be wrong: work that somebody left behind."""
    live = entry(terms=CallTerms(60.0, alone=True))
    evidence = carried(("baggage", HANDLE))
    result = resolve(evidence, live, rules(minimum=Grade.STANDARD))
    assert result == Attributed(live, "baggage", Grade.STANDARD)
    assert reason(resolve(evidence, live)) is Reason.ATTRIBUTION_ASSURANCE


# --- lingering ---


@pytest.mark.parametrize(("now", "refused"), [(104.9, False), (105.0, False), (105.1, True)])
def test_a_request_lingers_just_as_long_as_its_rule_says(now: float, refused: bool) -> None:
    """Ended at 102 with 3 s: at 105 it still counts, after it no more."""
    ended = entry(terms=CallTerms(60.0, linger_seconds=3.0))
    ended.ended_at = 102.0
    result = resolve(sent(HANDLE), ended, now=now)
    assert isinstance(result, Unattributed) is refused
    if refused:
        assert reason(result) is Reason.ATTRIBUTION_DEAD


def test_weak_evidence_does_not_linger() -> None:
    """Every second of it would be one more in which context may belong to somebody else."""
    ended = entry(terms=CallTerms(60.0, linger_seconds=30.0))
    ended.ended_at = 102.0
    weak = resolve(carried(("baggage", HANDLE)), ended, rules(minimum=Grade.COMPAT), now=103.0)
    assert reason(weak) is Reason.ATTRIBUTION_DEAD
    standard = sent(HANDLE, report=b"python/0.1; grade=standard")
    assert isinstance(
        resolve(standard, ended, rules(minimum=Grade.STANDARD), now=103.0), Attributed
    )


# --- what the app sends itself ---


def stating(evidence: Evidence, token: bytes) -> Evidence:
    """Make the same call with an Authorization of the app's own."""
    return replace(evidence, statement=token)


def test_the_token_of_a_live_request_is_the_apps_own_statement() -> None:
    """It passes any minimum, with a handle that agrees or without any."""
    live = entry("alice")
    for evidence in (sent(HANDLE, report=None), sent(report=None)):
        result = resolve(stating(evidence, b"alice"), live)
        assert result == Attributed(live, "relayed", Grade.STATED)


def test_a_statement_stands_for_any_live_request_that_came_with_the_token() -> None:
    """It names a credential: one request out of calls, or gone, does not speak for the others."""
    spent, fresh = entry("alice"), entry("alice", handle=OTHER)
    spent.calls = rules().max_calls
    known = Known({HANDLE: spent, OTHER: fresh})
    assert resolve(stating(sent(), b"alice"), known) == Attributed(fresh, "relayed", Grade.STATED)
    fresh.calls = spent.calls
    assert reason(resolve(stating(sent(), b"alice"), known)) is Reason.ATTRIBUTION_CALL_LIMIT


def test_a_statement_that_contradicts_a_handle_is_ambiguous() -> None:
    """The token of another live request, however sure the carrier is."""
    result = resolve(stating(sent(HANDLE), b"bob"), BOTH)
    assert reason(result) is Reason.ATTRIBUTION_AMBIGUOUS


def test_a_statement_does_not_mend_bad_evidence() -> None:
    """Dead, unknown and unreadable handles refuse whatever Authorization says."""
    for evidence, known, expected in (
        (sent(OTHER), Known({HANDLE: entry(), OTHER: Gone.DEAD}), Reason.ATTRIBUTION_DEAD),
        (sent(OTHER), Known({HANDLE: entry()}), Reason.ATTRIBUTION_UNKNOWN),
        (sent(HANDLE, HANDLE), Known({HANDLE: entry()}), Reason.ATTRIBUTION_AMBIGUOUS),
    ):
        assert reason(resolve(stating(evidence, b"alice"), known)) is expected


@pytest.mark.parametrize("token", [b"mallory", b""])
def test_any_other_credential_is_foreign(token: bytes) -> None:
    """With a live handle or without, of a bearer's form or not."""
    assert reason(resolve(stating(sent(HANDLE), token), entry())) is Reason.FOREIGN_CREDENTIAL
    assert reason(resolve(stating(sent(), token), entry())) is Reason.FOREIGN_CREDENTIAL


def test_an_anonymous_request_does_not_become_somebody_by_statement() -> None:
    """The handle says nobody, the token says alice: not the same request."""
    known = Known({HANDLE: entry(None), OTHER: entry("alice", handle=OTHER)})
    result = resolve(stating(sent(HANDLE), b"alice"), known)
    assert reason(result) is Reason.ATTRIBUTION_AMBIGUOUS


# --- from attribution to attachment ---


def test_an_anonymous_request_never_lends_an_identity() -> None:
    """Its calls are refused, or go out without any token where that is written."""
    result = resolve(sent(HANDLE), entry(None))
    refused = decide(RELAY, result)
    assert isinstance(refused, Refuse)
    assert refused.denial.reason is Reason.ANONYMOUS_ORIGIN
    allowed = DestinationRules(attributes=True, anonymous_for_anonymous=True)
    assert decide(allowed, result) == Leave()


@pytest.mark.parametrize(
    ("evidence", "known"),
    [
        (sent(HANDLE), Gone.DEAD),
        (sent(HANDLE), None),
        (sent(HANDLE, HANDLE), entry()),
        (sent(HANDLE, report=None), entry()),
        (stating(sent(), b"mallory"), entry()),
    ],
)
def test_only_a_missing_handle_may_go_out_anonymously(
    evidence: Evidence, known: Entry | Gone | None
) -> None:
    """Dead, unknown, ambiguous, weak or foreign evidence is refused whatever is configured."""
    lenient = DestinationRules(
        attributes=True, anonymous_without_context=True, anonymous_for_anonymous=True
    )
    assert isinstance(decide(lenient, resolve(evidence, known)), Refuse)
    assert decide(lenient, resolve(sent(), None)) == Leave()


def test_an_attributed_call_gets_the_entrys_credential() -> None:
    """The attachment names the entry and the grade, so that sending can check both again."""
    live = entry()
    assert decide(RELAY, resolve(sent(HANDLE), live)) == Attach(live, Grade.STRICT)


def test_keep_lets_the_apps_credential_pass_and_attaches_nothing() -> None:
    """Whoever keeps the app's credential gets no second one."""
    keep = DestinationRules(attributes=True, keep_app_credentials=True)
    assert decide_unattributed(keep, b"key", NOTHING) == Leave(keep_app=True)
    assert decide_unattributed(keep, None, NOTHING) is None


def test_keep_is_not_for_the_token_of_a_live_request() -> None:
    """That one is attributed, or removed where no rule sends it."""
    known = Known({HANDLE: entry("alice")})
    keep = DestinationRules(attributes=True, keep_app_credentials=True)
    assert decide_unattributed(keep, b"alice", known) is None
    none = DestinationRules(attributes=False, keep_app_credentials=True)
    assert decide_unattributed(none, b"alice", known) == Leave()
    assert decide_unattributed(DestinationRules(attributes=False), b"alice", known) == Leave()


def test_a_destination_without_token_needs_no_attribution() -> None:
    """Nothing is attached, and the app's own credential is refused."""
    nothing = DestinationRules(attributes=False)
    assert decide_unattributed(nothing, None, NOTHING) == Leave()
    refused = decide_unattributed(nothing, b"x", NOTHING)
    assert isinstance(refused, Refuse)
    assert refused.denial.reason is Reason.FOREIGN_CREDENTIAL
