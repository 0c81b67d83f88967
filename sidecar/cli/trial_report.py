"""A trial as text: a line that moves while it runs, and the table, verdict and advice after it."""

import json
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Self, TextIO

from sidecar.core.outcome import Reason
from sidecar.demo.story import Look, render_table
from sidecar.trial.report import EndpointReport, Finding, Misattribution, Report
from sidecar.trial.running import Progress

_SHOWN_WRONG = 3
_LEAST_SECONDS_BETWEEN = 0.1
_NO_ENDPOINT = "(tell no endpoint)"


class ProgressLine:
    """Shows progress on *output*: one line that changes on a terminal, one for each round else."""

    def __init__(self, output: TextIO) -> None:
        self._output = output
        self._changes = output.isatty()
        self._shown_at = 0.0
        self._is_open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()

    def show(self, progress: Progress) -> None:
        """Show *progress*, unless the last one was a moment ago."""
        now = time.monotonic()
        if not self._changes and not progress.is_over:
            return
        if not progress.is_over and now - self._shown_at < _LEAST_SECONDS_BETWEEN:
            return
        self._shown_at = now
        text = (
            f"{progress.round}: {progress.done} of {progress.planned} requests; so far "
            f"{progress.ok} calls right, {progress.wrong} wrong, {progress.refused} refused"
        )
        if self._changes:
            self._output.write(f"\r\x1b[K{text}")
            self._is_open = True
        else:
            self._output.write(f"{text}\n")
        self._output.flush()

    def end(self, *lines: str) -> None:
        """Take the line away and write *lines*."""
        if self._is_open:
            self._output.write("\r\x1b[K")
            self._is_open = False
        for line in lines:
            self._output.write(f"{line}\n")
        self._output.flush()


def document(report: Report) -> str:
    """The JSON form."""
    return json.dumps(report.as_document(), indent=2)


def lines(report: Report, look: Look | None = None) -> Iterator[str]:
    """The report for a person."""
    look = look or Look()
    rows = list(report.endpoints)
    if len(rows) > 1:
        rows.append(report.total)
    columns = ("endpoint", "requests", "calls", "ok", "wrong", "refused", "no token", "unjudged")
    cells = [_cells(row) for row in rows]
    yield from render_table(columns, cells, boxes=look.boxes, width=look.width)
    yield ""
    for row in report.endpoints:
        for reason, count in row.refused.items():
            is_expected = reason == Reason.ATTRIBUTION_DEAD.code and row.after_hang_up
            why = f" ({row.after_hang_up} after their caller had hung up)" if is_expected else ""
            yield f"refused: {_named(row)}: {count} x {reason}{why}"
    yield from map(_example, report.examples[:_SHOWN_WRONG])
    for finding in report.findings:
        yield f"FAILED: {finding.text}"
    yield from _verdict(report)
    for note in report.notes:
        if note.code not in report.total.refused:
            yield f"note: {note.text}"
    yield from _next_steps((*report.findings, *report.notes))


def _cells(row: EndpointReport) -> tuple[str, ...]:
    unjudged = sum(row.unjudged.values())
    counts = (row.requests, row.calls, row.ok, row.wrong, row.refusals, row.anonymous, unjudged)
    return (_named(row), *map(str, counts))


def _named(row: EndpointReport) -> str:
    return row.endpoint or _NO_ENDPOINT


def _example(wrong: Misattribution) -> str:
    return (
        f"wrong: {wrong.method} {wrong.path} at {wrong.destination} names {wrong.user} and carried "
        f"the token of {wrong.subject}, who asked {wrong.subject_endpoint} (round: {wrong.round})"
    )


def _verdict(report: Report) -> Iterator[str]:
    ok, bound = report.total.ok, report.wrong_rate_bound
    if report.passed and bound is not None:
        yield f"passed: {ok} calls carried the token of the user they named, and none another's"
        yield (
            f"With {ok} right and none wrong, the rate of wrong ones is below 3/{ok} = "
            f"{_percent(bound)} for calls like these (95 % confidence); more --calls prove more."
        )


def _percent(share: float) -> str:
    return f"{share * 100:.2g} %"


def _next_steps(findings: tuple[Finding, ...]) -> Iterator[str]:
    advice = {finding.advice: finding for finding in findings if finding.advice}
    if advice:
        yield ""
        yield "What to do next:"
    for text, finding in advice.items():
        yield f"  {finding.code}: {text}"
