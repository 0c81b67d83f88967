"""A decision and its steps as lines for a person, at 80 columns."""

import textwrap
from collections.abc import Iterable, Iterator
from typing import Final

from sidecar.config.problems import printable
from sidecar.core.outcome import REASONS_BY_CODE
from sidecar.explain.rows import NOT_REACHED, AttachedRow, DecisionRow, Explanation, StepRow

WIDTH: Final = 80
_MARKS: Final = {
    "ok": "ok",
    "refused": "REFUSED",
    "observed": "OBSERVED",
    "skipped": "-",
    "unknown": "?",
}
_INDENT: Final = 23
_LABEL: Final = 8


def lines(found: Explanation) -> Iterator[str]:
    """Yield the lines, each of which a terminal can show."""
    return map(printable, _lines(found))


def _lines(found: Explanation) -> Iterator[str]:
    yield from _wrapped(_headline(found), 2)
    yield from _wrapped(_request(found), 2)
    if who := _who(found):
        yield from _wrapped(who, 2)
    if found.attached is not None:
        yield from _wrapped(_attached(found.attached), 2)
    if found.transaction:
        yield from _wrapped(f"transaction: {found.transaction}", 2)
    yield ""
    yield from step_lines(found.steps)
    if found.advice:
        yield ""
        yield "Who can fix it, and how:"
        for each in found.advice:
            yield from _wrapped(f"  {each}", 4)


def step_lines(steps: Iterable[StepRow]) -> Iterator[str]:
    """Yield the lines of *steps*; of those that passed, what was found."""
    for step in steps:
        first = f"  {_MARKS[step.outcome]:<9} {step.step:<11}"
        parts = [("wanted", step.wanted), ("found", step.found), ("", step.note)]
        if step.outcome == "ok":
            parts = [("", step.found), ("", step.note)]
        elif step.outcome == "skipped" and step.note == NOT_REACHED:
            parts = [("", step.note)]
        told = [(label, text) for label, text in parts if text] or [("", "")]
        for label, text in told:
            lead = f"{label + ':':<{_LABEL}}" if label else ""
            for line in textwrap.wrap(
                f"{lead}{text}",
                WIDTH - _INDENT,
                subsequent_indent=" " * len(lead),
                break_on_hyphens=False,
            ) or [""]:
                yield f"{first:<{_INDENT}}{line}".rstrip()
                first = ""


def _headline(found: DecisionRow) -> str:
    if not found.reason:
        return f"permitted: {found.status}"
    title = REASONS_BY_CODE[found.reason].facts.title if found.reason in REASONS_BY_CODE else ""
    if found.allowed:
        return f"permitted, only observed: {found.status}; {found.reason} ({title})"
    return f"refused: {found.status} {found.reason} ({title})"


def _request(found: DecisionRow) -> str:
    what = f"{found.method} {found.path}" if found.method else "no request that can be read"
    when = f", {found.time}" if found.time else ""
    decision = f", decision {found.id}" if found.id else ""
    where = f" to {found.destination}" if found.destination else ""
    return f"{found.direction}{where}: {what}{when}{decision}"


def _who(found: DecisionRow) -> str:
    if not found.issuer:
        return ""
    token = f", token {found.token}" if found.token else ""
    used = f", used by {_actors(found.actors)}" if found.actors else ""
    return f"caller: {found.subject}, of issuer {found.issuer}{token}{used}"


def _actors(actors: Iterable[str]) -> str:
    """Return the chain of ``act``, the outermost first."""
    return ", before it ".join(each or "somebody without a name" for each in actors)


def _attached(attached: AttachedRow) -> str:
    audience = f", for {attached.audience}" if attached.audience else ""
    subject = f", of {attached.subject}" if attached.subject else ""
    used = f", used by {attached.actor}" if attached.actor else ""
    return f"attached: token {attached.token} ({attached.kind}){audience}{subject}{used}"


def table(rows: Iterable[DecisionRow]) -> Iterator[str]:
    """Yield one line for each of *rows*, under a heading."""
    yield f"{'time':<12}  {'id':<16}  {'':<3}  {'status':<6}  reason, and request"
    for row in rows:
        way = "in" if row.direction == "inbound" else "out"
        reason = row.reason or "permitted"
        line = (
            f"{row.time[11:23]:<12}  {row.id:<16}  {way:<3}  {row.status:<6}  {reason}: "
            f"{row.method} {row.path}"
        )
        yield printable(line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…")


def _wrapped(text: str, indent: int) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=" " * indent, break_on_hyphens=False)
