"""The documents of ``GET /decisions`` and ``GET /decisions/ID``: one type for both ends.

Scripts read them too, so fields are added and never renamed.
"""

from typing import Final, Literal

from msgspec import Struct

DECISIONS_PATH: Final = "/decisions"

NOT_REACHED: Final = "not reached"
"""Note of a step after the one that ended the decision, which it would have passed."""

Outcome = Literal["ok", "refused", "observed", "skipped", "unknown"]
"""``observed``: it would have been refused. ``skipped``: there was nothing to look at, or the
request did not come so far. ``unknown``: what would tell is not known any more."""


class AttributionRow(Struct, frozen=True):
    """How an outbound call found the request that caused it."""

    method: str
    grade: str
    outcome: str


class AttachedRow(Struct, frozen=True):
    """Which token went with an outbound call, where it was not the caller's own."""

    kind: str
    token: str = ""
    """First 16 hex digits of its SHA-256."""
    subject: str = ""
    actor: str = ""
    audience: str = ""


class DecisionRow(Struct, frozen=True, kw_only=True):
    """One decision."""

    seq: int
    id: str
    """What the access log calls ``decision``."""
    time: str
    direction: str
    method: str
    path: str
    route: str
    status: int
    allowed: bool
    reason: str = ""
    """Empty when permitted."""
    detail: str = ""
    enforced: bool = True
    issuer: str = ""
    subject: str = ""
    token: str = ""
    """First 16 hex digits of the token's SHA-256."""
    actors: tuple[str, ...] = ()
    """Who uses the token for its subject, the outermost of ``act`` first; empty: no name."""
    duration_ms: float = 0.0
    overhead_ms: float = 0.0
    destination: str = ""
    attribution: AttributionRow | None = None
    attached: AttachedRow | None = None
    transaction: str = ""
    """``txn`` of the transaction token that came with the request, or went with the call."""


class DecisionList(Struct, frozen=True, kw_only=True):
    """The latest decisions."""

    decisions: tuple[DecisionRow, ...]
    recorded: int
    """Since the start, whether they are still kept or not."""


class StepRow(Struct, frozen=True):
    """One step of a decision: what had to be, and what was."""

    step: str
    outcome: Outcome
    wanted: str = ""
    found: str = ""
    note: str = ""


class Explanation(DecisionRow, frozen=True, kw_only=True):
    """One decision with its steps, and what can be done about it."""

    steps: tuple[StepRow, ...] = ()
    advice: tuple[str, ...] = ()
