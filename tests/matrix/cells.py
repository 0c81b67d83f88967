"""One cell: many users at once, each asking the app for a call, and what became of the calls."""

import asyncio
import itertools
import json
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import quote

import aiohttp
from multidict import CIMultiDict

from tests.matrix.pods import Grade, Pod, Terms

_number = itertools.count(1)
_OPEN_SECONDS: Final = 20.0
_FIRST_SECONDS: Final = 10.0
_LINGER_SECONDS: Final = 0.3
_LATE_SECONDS: Final = 1.0
"""Within which a late job, on a busy machine, has imported what it needs for its call."""
_TURN_SECONDS: Final = 0.02
_QUIET_SECONDS: Final = 0.2
_REQUEST_SECONDS: Final = 90.0


@dataclass(frozen=True, slots=True)
class Load:
    """How many users ask, how many of them at a time, and what goes wrong on the way."""

    users: int
    in_flight: int
    abort_share: float = 0.0
    error_share: float = 0.0
    pause_milliseconds: float = 4.0


@dataclass(frozen=True, slots=True)
class Errand:
    """What the app is asked to do."""

    style: str
    client: str
    grade: Grade
    first_stays_open: bool = False
    """The first request stays open until all others are answered."""
    fields: tuple[tuple[str, str], ...] = ()
    """What callers send besides their token."""
    terms: Terms = "usual"

    @property
    def name(self) -> str:
        return f"{self.style}, first request open" if self.first_stays_open else self.style

    @property
    def quiet_seconds(self) -> float:
        """After how long a silence no more calls will come: some come after the response."""
        comes_late = self.style.startswith(("detached", "timed_out", "background"))
        return _QUIET_SECONDS + (_LINGER_SECONDS + _LATE_SECONDS if comes_late else 0)


@dataclass(slots=True)
class Result:
    """What was seen. Calls are counted where they ended, requests where they were answered."""

    right: int = 0
    wrong: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    """What the app reported for each call of a request that was not given up."""
    aborted: int = 0
    unanswered: Counter[str] = field(default_factory=Counter)
    """Requests that neither succeeded nor were given up by us, by cause."""
    leaked: int = 0
    anonymous: int = 0

    @property
    def calls(self) -> int:
        return self.right + self.wrong + self.anonymous + self.refused.total()

    def __str__(self) -> str:
        refusals = ", ".join(f"{reason} {count}" for reason, count in self.refused.most_common())
        return (
            f"{self.right} right, {self.wrong} wrong, {refusals or 'none refused'}; "
            f"answers {dict(self.answers)}, {self.aborted} aborted, unanswered "
            f"{dict(self.unanswered)}"
        )


async def run(
    pod: Pod, errand: Errand, loads: Sequence[Load], *, rest_seconds: float = 0.0
) -> Result:
    """Run the cell under each load in turn, with a rest after each; the last call has come when
    this returns.
    """
    cell = f"cell{next(_number)}"
    before = await pod.refusals()
    result = Result()
    for load in loads:
        pod.destination.error_share = load.error_share
        await _Asking(pod, errand, load, cell, result).ask_all()
        await asyncio.sleep(rest_seconds)
    result.refused = await _settled(pod, cell, errand.quiet_seconds) - before
    seen = pod.destination.seen(cell)
    result.right, result.wrong = seen.right, seen.wrong.total()
    result.leaked, result.anonymous = seen.leaked, seen.anonymous
    pod.app.check()
    return result


async def _settled(pod: Pod, cell: str, quiet_seconds: float) -> Counter[str]:
    """Wait until no call has arrived or been refused for a while; return the refusals."""
    last, changed_at = await _ended(pod, cell), time.monotonic()
    while time.monotonic() - changed_at < quiet_seconds:
        await asyncio.sleep(_TURN_SECONDS)
        now = await _ended(pod, cell)
        if now != last:
            last, changed_at = now, time.monotonic()
    return last[1]


async def _ended(pod: Pod, cell: str) -> tuple[int, Counter[str]]:
    """How many calls of the cell have arrived, and how many of any were refused."""
    return pod.destination.seen(cell).calls, await pod.refusals()


class _Asking:
    """The callers of one cell."""

    def __init__(self, pod: Pod, errand: Errand, load: Load, cell: str, result: Result) -> None:
        self._pod = pod
        self._errand = errand
        self._load = load
        self._cell = cell
        self._fields = {
            user: CIMultiDict([("Authorization", f"Bearer {token}"), *errand.fields])
            for user, token in pod.users.tokens.items()
        }
        self.result = result

    async def ask_all(self) -> None:
        names = random.sample(list(self._fields), self._load.users)
        async with asyncio.TaskGroup() as group:
            if self._errand.first_stays_open:
                group.create_task(self._ask(names.pop(), f"&hold={_OPEN_SECONDS:g}"))
                await self._first_has_called()
            queue = iter(names)
            async with asyncio.TaskGroup() as callers:
                for _ in range(self._load.in_flight):
                    callers.create_task(self._ask_each(queue))
            await self._pod.release()

    async def _first_has_called(self) -> None:
        """Until the first caller's worker has made its call, or has been refused."""
        before = await _ended(self._pod, self._cell)
        async with asyncio.timeout(_FIRST_SECONDS):
            while await _ended(self._pod, self._cell) == before:
                await asyncio.sleep(_TURN_SECONDS)

    async def _ask_each(self, names: Iterator[str]) -> None:
        for name in names:
            if random.random() < self._load.abort_share:
                await self._give_up(name)
            else:
                await self._ask(name)

    def _url(self, user: str, more: str = "") -> str:
        errand = self._errand
        out = quote(f"{self._pod.outbound}/{self._cell}/{user}", safe="")
        return (
            f"{self._pod.inbound}/{errand.style}/{errand.client}?out={out}&key={self._cell}"
            f"&pause={self._load.pause_milliseconds:g}&linger={_LINGER_SECONDS:g}{more}"
        )

    async def _ask(self, user: str, more: str = "") -> None:
        try:
            async with asyncio.timeout(_REQUEST_SECONDS):
                async with self._pod.client.get(
                    self._url(user, more), headers=self._fields[user]
                ) as answer:
                    content = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            self.result.unanswered[type(error).__name__] += 1
            return
        if answer.status in (200, 500) and content.startswith(b"["):
            self.result.answers.update(json.loads(content))
        else:
            reason = answer.headers.get("x-sidecar-reason", "")
            self.result.unanswered[f"{answer.status} {reason}".strip()] += 1

    async def _give_up(self, user: str) -> None:
        """Ask, and hang up at a random moment: the connection is closed, not kept."""
        self.result.aborted += 1
        try:
            async with asyncio.timeout(random.uniform(0.001, 0.02)):
                async with self._pod.client.get(self._url(user), headers=self._fields[user]):
                    pass
        except (aiohttp.ClientError, TimeoutError):
            pass
