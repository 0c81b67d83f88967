"""Attribution: one live entry that all evidence names, or a refusal with its own reason."""

import math

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
    Entry,
    Evidence,
    Gone,
    Grade,
    Unattributed,
    attribute,
    check,
    grade_of,
)
from sidecar.core.outcome import Reason
from sidecar.core.principal import Credential, Principal

HANDLE = b"sdc1" + b"a" * 28
STRICT_REPORT = b"python/0.1; grade=strict"
RELAY = DestinationRules(relay=True)


def rules(
    *, minimum: Grade = Grade.STRICT, best: Grade = Grade.STRICT, age: float = 60, calls: int = 10
) -> AttributionRules:
    """Make rules with round numbers."""
    return AttributionRules("profiles", minimum, best, age, calls)


def credential(subject: str = "alice", expires_at: float = 1_000.0) -> Credential:
    """Make a credential of *subject*."""
    principal = Principal("shop", "https://issuer.example", subject)
    return Credential(principal, subject.encode(), b"\0" * 32, expires_at, -math.inf)


def entry(subject: str | None = "alice", expires_at: float = 1_000.0) -> Entry:
    """Make a live entry opened at 100."""
    return Entry(HANDLE, credential(subject, expires_at) if subject else None, "all", 100.0)


def resolve(
    evidence: Evidence,
    known: Entry | Gone | None,
    with_rules: AttributionRules | None = None,
    *,
    now: float = 101.0,
    wall: float = 500.0,
) -> Attributed | Unattributed:
    """Attribute *evidence* where *known* is what the ledger holds under the handle."""

    def find(handle: bytes) -> Entry | Gone | None:
        return known if handle == HANDLE else None

    return attribute(evidence, with_rules or rules(), find, now, wall)


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
    assert check(live, rules(), 101.0, 500.0) is None
    live.live = False
    denial = check(live, rules(), 101.0, 500.0)
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


def test_an_anonymous_request_never_lends_an_identity() -> None:
    """Its calls are refused, or go out without any token where that is written."""
    result = resolve(sent(HANDLE), entry(None))
    refused = decide(RELAY, result, None)
    assert isinstance(refused, Refuse)
    assert refused.denial.reason is Reason.ANONYMOUS_ORIGIN
    allowed = DestinationRules(relay=True, anonymous_for_anonymous=True)
    assert decide(allowed, result, None) == Leave()


@pytest.mark.parametrize(
    ("evidence", "known"),
    [
        (sent(HANDLE), Gone.DEAD),
        (sent(HANDLE), None),
        (sent(HANDLE, HANDLE), entry()),
        (sent(HANDLE, report=None), entry()),
    ],
)
def test_only_a_missing_handle_may_go_out_anonymously(
    evidence: Evidence, known: Entry | Gone | None
) -> None:
    """Dead, unknown, ambiguous or weak evidence is refused whatever the destination says."""
    lenient = DestinationRules(
        relay=True, anonymous_without_context=True, anonymous_for_anonymous=True
    )
    assert isinstance(decide(lenient, resolve(evidence, known), None), Refuse)
    assert decide(lenient, resolve(sent(), None), None) == Leave()


def test_an_attributed_call_gets_the_entrys_credential() -> None:
    """The attachment names the entry, so that sending can check it again."""
    live = entry()
    assert decide(RELAY, resolve(sent(HANDLE), live), None) == Attach(live)


def test_a_credential_of_the_app_is_foreign_unless_it_is_the_very_same_token() -> None:
    """Only the token of the request that caused the call agrees with the handle."""
    live = resolve(sent(HANDLE), entry("alice"))
    assert isinstance(decide(RELAY, live, b"alice"), Attach)
    for app_token in (b"bob", b""):
        refused = decide(RELAY, live, app_token)
        assert isinstance(refused, Refuse)
        assert refused.denial.reason is Reason.FOREIGN_CREDENTIAL
    missing = decide(RELAY, resolve(sent(), None), b"alice")
    assert isinstance(missing, Refuse)
    assert missing.denial.reason is Reason.FOREIGN_CREDENTIAL


def test_keep_lets_the_apps_credential_pass_and_attaches_nothing() -> None:
    """Whoever keeps the app's credential gets no second one."""
    keep = DestinationRules(relay=True, keep_app_credentials=True)
    assert decide_unattributed(keep, b"key") == Leave(keep_app=True)
    assert decide_unattributed(keep, None) is None


def test_a_destination_without_token_needs_no_attribution() -> None:
    """Nothing is attached, and the app's own credential is refused."""
    nothing = DestinationRules(relay=False)
    assert decide_unattributed(nothing, None) == Leave()
    refused = decide_unattributed(nothing, b"x")
    assert isinstance(refused, Refuse)
    assert refused.denial.reason is Reason.FOREIGN_CREDENTIAL
