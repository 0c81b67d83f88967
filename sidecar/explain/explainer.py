"""Answers the operator's questions about what a running sidecar decided."""

from collections.abc import Callable
from typing import Any

from sidecar.core.actors import actor_chain
from sidecar.core.principal import Principal
from sidecar.core.reason_texts import remedies
from sidecar.core.transactions import transaction_id
from sidecar.explain.case import Case, read_said
from sidecar.explain.inbound import inbound_steps
from sidecar.explain.known import Known
from sidecar.explain.outbound import outbound_steps
from sidecar.explain.redaction import REDACTED, Redactor, Veil
from sidecar.explain.rows import (
    AttachedRow,
    AttributionRow,
    DecisionList,
    DecisionRow,
    Explanation,
    StepRow,
)
from sidecar.explain.words import instant, shown
from sidecar.telemetry.decisions import Decision, Decisions

MAX_LISTED = 1_000
"""Decisions in one answer."""


class Explainer:
    """Puts decisions into words, with what is known now of keys, clocks and the ledger."""

    def __init__(self, decisions: Decisions, known: Callable[[], Known]) -> None:
        """*known* is asked for each explanation; its ``cause`` is this one's ``cause``."""
        self._decisions = decisions
        self._known = known

    def latest(
        self, *, limit: int, before: int | None = None, refused: bool = False, reason: str = ""
    ) -> DecisionList:
        """Return at most *limit* decisions, the newest first, older than number *before*."""
        redactor = self._known().redactor
        found = self._decisions.newest(
            min(limit, MAX_LISTED), before=before, refused=refused, reason=reason
        )
        return DecisionList(
            decisions=tuple(DecisionRow(**_row(each, redactor)) for each in found),
            recorded=self._decisions.recorded,
        )

    def explain(self, decision: str) -> Explanation | None:
        """Return everything about one decision; nothing where it is not kept any more."""
        found = self._decisions.find(decision)
        if found is None:
            return None
        known = self._known()
        case = case_of(found)
        steps, advice = explained(case, known)
        return Explanation(**_row(found, known.redactor), steps=steps, advice=advice)

    def cause(self, decision: str) -> str:
        """Say what is known of the inbound request with this id."""
        found = self._decisions.find(decision)
        if found is None:
            # Kept when it ends, so most probably it has not.
            return f"decision {decision}, in progress or not kept any more"
        path = shown(found.path.decode("latin-1"))
        return f"decision {decision}, {found.method.decode('latin-1')} {path}, rule {found.route}"


def explained(case: Case, known: Known) -> tuple[tuple[StepRow, ...], tuple[str, ...]]:
    """Return steps and advice for *case*, without what may not be shown."""
    subject = case.principal.subject if case.principal is not None else ""
    full = case.principal.claims if case.principal is not None else case.claims
    veil = known.redactor.over(full, subject)
    steps, near = (inbound_steps if case.direction == "inbound" else outbound_steps)(case, known)
    advice = near
    if case.denial is not None:
        advice += remedies(case.denial.reason)
    shown_steps = tuple(
        StepRow(step.step, step.outcome, veil(step.wanted), veil(step.found), veil(step.note))
        for step in steps
    )
    return shown_steps, tuple(dict.fromkeys(map(veil, advice)))


def case_of(decision: Decision) -> Case:
    """Return what was kept as what is explained."""
    header, said = read_said(decision.said)
    principal = decision.principal
    if principal is not None:
        said = principal.claims
    attribution = decision.attribution
    return Case(
        direction=decision.direction,
        method=decision.method,
        path=decision.path,
        host=decision.host,
        at=decision.at - decision.duration_seconds,
        rule=decision.rule,
        route=decision.route,
        denial=decision.denial,
        enforced=decision.enforced,
        status=decision.status,
        source="" if decision.source is None else str(decision.source),
        header=header,
        claims=said,
        principal=principal,
        key=decision.key,
        transaction=decision.transaction,
        destination=decision.destination,
        method_of="" if attribution is None else attribution.method,
        grade="" if attribution is None else attribution.grade,
        evidence=decision.evidence,
        causes=decision.causes,
        attached=decision.attached,
    )


def _row(decision: Decision, redactor: Redactor) -> dict[str, Any]:
    principal, denial = decision.principal, decision.denial
    veil = _veil(decision, redactor)
    attribution = decision.attribution
    return {
        "seq": decision.seq,
        "id": decision.id,
        "time": instant(decision.at),
        "direction": decision.direction,
        "method": decision.method.decode("latin-1"),
        "path": veil(decision.path.decode("latin-1")),
        "route": decision.route,
        "status": decision.status,
        "allowed": denial is None or not decision.enforced,
        "reason": "" if denial is None else denial.reason.code,
        "detail": "" if denial is None else veil(denial.detail),
        "enforced": decision.enforced,
        "issuer": "" if principal is None else principal.issuer_name,
        "subject": "" if principal is None else _subject(principal.subject, redactor),
        "token": decision.token,
        "actors": () if principal is None else actors_shown(principal, redactor),
        "duration_ms": round(decision.duration_seconds * 1000, 3),
        "overhead_ms": round(decision.overhead_seconds * 1000, 3),
        "destination": decision.destination,
        "attribution": None
        if attribution is None
        else AttributionRow(attribution.method, attribution.grade, attribution.outcome),
        "attached": _attached(decision, redactor),
        "transaction": _transaction(decision.transaction, redactor),
    }


def _veil(decision: Decision, redactor: Redactor) -> Veil:
    principal = decision.principal
    if principal is not None:
        return redactor.over(principal.claims, principal.subject)
    return redactor.over(read_said(decision.said)[1])


def actors_shown(principal: Principal, redactor: Redactor) -> tuple[str, ...]:
    """Return who uses the token for its subject, the outermost first."""
    chain = actor_chain(principal.claims)
    return tuple(REDACTED if redactor.hides("act") else _text(each) for each in chain)


def _attached(decision: Decision, redactor: Redactor) -> AttachedRow | None:
    attached = decision.attached
    if attached is None:
        return None
    subject, actor = attached.subject, attached.actor
    return AttachedRow(
        attached.kind,
        attached.token,
        _subject(subject, redactor) if subject else "",
        REDACTED if actor and redactor.hides("act") else _text(actor),
        _text(attached.audience),
    )


def _transaction(transaction: Principal | None, redactor: Redactor) -> str:
    if transaction is None:
        return ""
    return REDACTED if redactor.hides("txn") else _text(transaction_id(transaction))


def _text(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _subject(subject: str, redactor: Redactor) -> str:
    return REDACTED if redactor.hides("sub") else _text(subject)
