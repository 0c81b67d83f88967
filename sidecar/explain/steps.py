"""The steps of a decision in their order, each with what came of it.

Owns what *ok*, *refused*, *observed* and *skipped* mean. What a step has to say is looked up by
those who know its direction.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sidecar.core.outcome import Denial, Reason
from sidecar.core.reason_texts import TEXTS, Step
from sidecar.explain.rows import NOT_REACHED, Outcome, StepRow


@dataclass(frozen=True, slots=True)
class Look:
    """What one step shows."""

    wanted: str = ""
    found: str = ""
    note: str = ""
    fits: bool | None = True
    """Whether it passes by itself; ``None``: not known, or there is nothing to look at."""
    outcome: Outcome | None = None
    """Instead of what follows from where the decision ended."""
    why: str = ""
    """Why it would be refused, for a decision that ended before."""


def ends_at(denial: Denial | None, order: Sequence[Step], *, verified: bool) -> Step | None:
    """Return the step at which *denial* ended the decision, among those of *order*."""
    if denial is None:
        return None
    reason = denial.reason
    step = TEXTS[reason].step
    if verified and reason in (Reason.ISSUER_MISMATCH, Reason.AUDIENCE_MISMATCH):
        step = "rights"  # the token was good: it is the rule that wants another
    if verified and reason is Reason.KEYS_UNAVAILABLE and "transaction" in order:
        step = "transaction"  # the access token had its keys
    if step == "times" and step not in order:
        step = "entry"  # the caller's token, looked at when one of its calls goes out
    return step if step in order else order[-1]


def answered_here(denial: Denial | None, enforced: bool) -> bool:
    """Whether it ended before anything was sent on."""
    return denial is not None and enforced and TEXTS[denial.reason].step != "forward"


def told(
    order: Sequence[Step],
    looks: Mapping[Step, Callable[[], Look]],
    denial: Denial | None,
    *,
    end: Step | None,
    enforced: bool,
) -> tuple[StepRow, ...]:
    """Return all steps. Those after the *end* are shown, too: there may be more to correct."""
    rows: list[StepRow] = []
    is_over = False
    for step in order:
        look = looks[step]()
        if step == end:
            assert denial is not None
            note = "; ".join(filter(None, (denial.detail, look.note)))
            rows.append(
                StepRow(step, "refused" if enforced else "observed", look.wanted, look.found, note)
            )
            is_over = enforced
        elif is_over:
            also = "would be refused, too" if look.fits is False else NOT_REACHED
            more = (look.why, look.note) if look.fits is False else ()
            note = "; ".join(filter(None, (also, *more)))
            rows.append(StepRow(step, "skipped", look.wanted, look.found, note))
        else:
            # Whatever comes before the end was passed: steps are in the order of the checks.
            passed = look.fits is not None or end is not None
            outcome = look.outcome or ("ok" if passed else "unknown")
            rows.append(StepRow(step, outcome, look.wanted, look.found, look.note))
    return tuple(rows)
