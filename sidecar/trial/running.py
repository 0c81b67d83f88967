"""One trial from start to end: the first requests, the rounds, the late calls, the report.

The order matters. What an app starts lazily, its first request starts, and identity is confused
where that request is still open while the others are served: so the first request of every
endpoint is kept open by the destination, and so is one of each later round.
"""

import asyncio
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import aiohttp

from sidecar.testbed.processes import SIDECAR
from sidecar.trial.callers import Callers
from sidecar.trial.cast import Member
from sidecar.trial.findings import failures, notes
from sidecar.trial.plan import Plan
from sidecar.trial.report import Finding, Report, Round, total_of
from sidecar.trial.stage import Stage, stage

FIRST_ROUND: Final = "first requests stay open"
SETTLING: Final = "afterwards"
_FIRST_SHARE: Final = 0.15
"""Of the calls: they are made in the first round."""
_FIRST_CONCURRENCY: Final = 10
_STUCK_SECONDS: Final = 0.5
"""Nobody gets through while a call is held: the app cannot serve others meanwhile."""
_HELD_WITHIN_SECONDS: Final = 1.0
_GLANCE_SECONDS: Final = 0.05
_QUIET_SECONDS: Final = 0.5
_SETTLE_SECONDS: Final = 3.0
_LAST_LINES: Final = 3


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a trial has come. *done* of *planned* requests of the round; sums of all rounds."""

    round: str
    done: int
    planned: int
    is_over: bool
    """Whether the round is."""
    ok: int
    wrong: int
    refused: int


def ignore(progress: Progress) -> None:
    """Tell nobody."""


async def run_trial(
    plan: Plan,
    *,
    progress: Callable[[Progress], None] = ignore,
    sidecar_command: Sequence[str] = SIDECAR,
) -> Report:
    """Carry out *plan* and return what came of it; everything started is stopped by then.

    *progress* is called at the end of each request and of each round. *sidecar_command* lets
    another sidecar be tried. Raises ``TrialError`` when the trial cannot start.
    """
    rng = random.Random(plan.seed)  # noqa: S311 - delays and turns, no secrets
    began = time.monotonic()
    async with stage(plan, rng=rng, sidecar_command=sidecar_command) as running:
        run = _Run(plan, running, rng, progress)
        await run.rounds()
        stopped = run.stopped()
        await run.settle()
        # With the sidecar's end, its access log is complete.
        await running.sidecar.process.stop()
    rows = running.tally.rows()
    failed = tuple(failures(rows, min_assurance=plan.min_assurance))
    return Report(
        endpoints=rows,
        findings=(*stopped.findings, *failed),
        notes=(*stopped.notes, *notes(rows, total_of(rows))),
        examples=running.tally.examples,
        rounds=tuple(run.done),
        seed=plan.seed,
        seconds=time.monotonic() - began,
    )


@dataclass(frozen=True, slots=True)
class _Stopped:
    """Why the load ended before all requests were made."""

    findings: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()


class _Run:
    """The load on one stage."""

    def __init__(
        self,
        plan: Plan,
        running: Stage,
        rng: random.Random,
        progress: Callable[[Progress], None],
    ) -> None:
        self.done: list[Round] = []
        self._plan = plan
        self._stage = running
        self._rng = rng
        self._progress = progress
        self._deadline = time.monotonic() + plan.timeout_seconds
        self._app_is_gone = False

    async def rounds(self) -> None:
        """Make all requests, round after round, until they are made or there is no use."""
        plan = self._plan
        levels = plan.concurrency
        async with _client(max(levels) + len(plan.endpoints)) as client:
            callers = Callers(
                client,
                self._stage.url,
                self._stage.tally,
                rng=self._rng,
                aborts=plan.aborts,
                call_timeout_seconds=plan.call_timeout_seconds,
                is_over=self._is_over,
            )
            first = max(1, round(plan.calls * _FIRST_SHARE))
            openers = [self._stage.cast.of(endpoint)[0] for endpoint in plan.endpoints]
            together = min(_FIRST_CONCURRENCY, max(levels))
            await self._round(callers, FIRST_ROUND, together, first, openers)
            for level, calls in zip(levels, _shares(plan.calls - first, levels), strict=True):
                if self._is_over() or callers.app_is_gone:
                    break
                chosen = [self._rng.choice(self._stage.cast.of(each)) for each in plan.endpoints]
                openers = chosen if level > 1 else []
                await self._round(callers, f"{level} at a time", level, calls, openers)
            self._app_is_gone = callers.app_is_gone
        self._stage.sidecar.process.check()

    async def _round(
        self,
        callers: Callers,
        name: str,
        concurrency: int,
        count: int,
        openers: Sequence[Member],
    ) -> None:
        """Have *openers* kept waiting by the destination while *count* others are served."""
        tally, holds = self._stage.tally, self._stage.recorder.holds
        tally.round = name
        began, before = time.monotonic(), tally.requests
        holds.choose(opener.name for opener in openers)
        async with asyncio.TaskGroup() as group:
            opening = [group.create_task(callers.ask(opener)) for opener in openers]
            await self._until_held(opening)
            guard = group.create_task(self._let_go_when_stuck())
            await callers.make(self._members(name, count), concurrency)
            guard.cancel()
            holds.release_all()
        requests = tally.requests - before
        self.done.append(Round(name, concurrency, requests, time.monotonic() - began))
        self._tell(name, count, count, is_over=True)

    async def _until_held(self, opening: Sequence[asyncio.Task[bool]]) -> None:
        """Wait for the first calls of the openers; an app may make none, or refuse them all."""
        holds = self._stage.recorder.holds
        with suppress(TimeoutError):
            async with asyncio.timeout(_HELD_WITHIN_SECONDS):
                for task in opening:
                    while holds.is_awaiting and not task.done():
                        await asyncio.wait((task,), timeout=_GLANCE_SECONDS)

    async def _let_go_when_stuck(self) -> None:
        """End a hold behind which nobody else gets through."""
        holds = self._stage.recorder.holds
        seen, since = self._moved(), time.monotonic()
        while True:
            await asyncio.sleep(_GLANCE_SECONDS)
            if seen != self._moved():
                seen, since = self._moved(), time.monotonic()
            elif holds.is_holding and time.monotonic() - since > _STUCK_SECONDS:
                holds.release_one()
                since = time.monotonic()

    def _moved(self) -> tuple[int, int]:
        return self._stage.recorder.arrived, self._stage.tally.requests

    def _members(self, name: str, count: int) -> Iterator[Member]:
        members = self._stage.cast.members
        for done in range(count):
            self._tell(name, done, count, is_over=False)
            yield self._rng.choice(members)

    def _tell(self, name: str, done: int, planned: int, *, is_over: bool) -> None:
        tally = self._stage.tally
        self._progress(Progress(name, done, planned, is_over, tally.ok, tally.wrong, tally.refused))

    async def settle(self) -> None:
        """Wait for calls that come after the responses, until it is quiet for a while."""
        self._stage.tally.round = SETTLING
        ends_at = time.monotonic() + _SETTLE_SECONDS
        seen, since = self._heard(), time.monotonic()
        while time.monotonic() < ends_at and time.monotonic() - since < _QUIET_SECONDS:
            await asyncio.sleep(_GLANCE_SECONDS)
            if seen != self._heard():
                seen, since = self._heard(), time.monotonic()

    def _heard(self) -> tuple[int, int]:
        return self._stage.recorder.arrived, self._stage.tally.refused

    def _is_over(self) -> bool:
        is_late = time.monotonic() >= self._deadline
        return is_late or self._app_has_ended or self._stage.sidecar.process.exit_code is not None

    @property
    def _app_has_ended(self) -> bool:
        app = self._stage.app
        return app is not None and app.exit_code is not None

    def stopped(self) -> _Stopped:
        """Say why not all requests were made; nothing if they were."""
        app, requests = self._stage.app, self._stage.tally.requests
        if app is not None and self._app_has_ended:
            said = "; ".join(app.last_lines(_LAST_LINES))
            text = f"the app ended with exit code {app.exit_code} after {requests} requests"
            advice = f"its last lines: {said}" if said else "it wrote nothing"
            return _Stopped(findings=(Finding("app_ended", text, advice),))
        if self._app_is_gone:
            text = f"the app stopped answering on {self._plan.app} after {requests} requests"
            return _Stopped(findings=(Finding("app_ended", text, "look at what it wrote"),))
        notes: tuple[Finding, ...] = ()
        if app is None:
            text = "the app was running already, so what its very first request starts was not seen"
            notes = (Finding("already_running", text, "have it started anew by --start"),)
        if time.monotonic() >= self._deadline:
            text = f"the time was over after {requests} requests of {self._plan.calls}"
            notes = (*notes, Finding("time_over", text, "raise --timeout"))
        return _Stopped(notes=notes)


def _client(connections: int) -> aiohttp.ClientSession:
    # Connections are shared between users on purpose: identity belongs to a request, and what
    # ties it to a connection must be seen to fail.
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )


def _shares(calls: int, levels: Sequence[int]) -> list[int]:
    """Share *calls* out among rounds: more to those with more at once, where mistakes happen."""
    weights = [math.sqrt(level) for level in levels]
    shares = [int(calls * weight / sum(weights)) for weight in weights]
    shares[-1] += calls - sum(shares)
    return shares
