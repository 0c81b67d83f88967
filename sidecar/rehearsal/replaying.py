"""Replay a log of decisions: which of the requests another configuration would decide otherwise."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sidecar.rehearsal.judging import Judge, Verdict
from sidecar.rehearsal.recordings import Counts, read
from sidecar.rehearsal.rejudging import Callers, Undecidable, recorded_verdict, rejudge
from sidecar.rehearsal.tallies import TopTally

MAX_EXAMPLES: Final = 3
MAX_GROUPS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Flip:
    """One kind of change: what the requests were, and what they would be."""

    before: str
    """``allowed`` or ``refused``."""
    rule_before: str
    reason_before: str
    after: str
    rule: str
    reason: str


@dataclass(slots=True)
class Group:
    """The requests of one kind of change."""

    count: int = 0
    examples: list[str] = field(default_factory=list)
    """Decision ids."""
    callers: TopTally[str] = field(default_factory=lambda: TopTally(1_000))


@dataclass(slots=True)
class Replay:
    """What came of a log."""

    counts: Counts = field(default_factory=Counts)
    judged: int = 0
    flips: int = 0
    groups: dict[Flip, Group] = field(default_factory=dict)
    ungrouped: int = 0
    """Flips past the bound on kinds of change."""
    undecidable: TopTally[Undecidable] = field(default_factory=lambda: TopTally(1_000))
    outbound: int = 0

    def ranked(self) -> list[tuple[Flip, Group]]:
        """Return the kinds of change, the most frequent first."""
        return sorted(self.groups.items(), key=lambda item: -item[1].count)


def replay(paths: Iterable[str], judge: Judge) -> Replay:
    """Judge every inbound request recorded in the files at *paths* again.

    Raises:
        RecordingError: a file cannot be read.
    """
    result = Replay()
    callers = Callers()
    for record in read(paths, result.counts):
        if record.direction != "inbound":
            result.outbound += 1
            continue
        known = None
        if record.presented == "verified":
            known = callers.read(bytes(record.caller))
        after = rejudge(record, known, judge)
        if isinstance(after, Undecidable):
            result.undecidable.add(after)
            continue
        result.judged += 1
        before = recorded_verdict(record)
        if before.allowed is not after.allowed:
            caller = "no token"
            if known is not None:
                caller = f"{known[0].subject} of {known[0].issuer}"
                if known[0].client:
                    caller += f" by {known[0].client}"
            elif record.presented != "none":
                caller = "unknown"
            _note(result, _flip(before, after), record.id, caller)
    return result


def _note(result: Replay, flip: Flip, decision: str, caller: str) -> None:
    result.flips += 1
    group = result.groups.get(flip)
    if group is None:
        if len(result.groups) >= MAX_GROUPS:
            result.ungrouped += 1
            return
        group = result.groups[flip] = Group()
    group.count += 1
    group.callers.add(caller)
    if len(group.examples) < MAX_EXAMPLES:
        group.examples.append(decision)


def _flip(before: Verdict, after: Verdict) -> Flip:
    return Flip(
        "allowed" if before.allowed else "refused", before.rule, before.reason,
        "allowed" if after.allowed else "refused", after.rule, after.reason,
    )  # fmt: skip
