"""Many calls at once over kept-alive connections, each judged when its answer is complete.

Owns the pace and the counting. What makes an answer right or wrong is the caller's *judge*.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace

import aiohttp

_CALL_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Call:
    """One GET, and whom it is made for."""

    user: str
    url: str
    headers: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Right:
    """The answer is about the user who asked."""


@dataclass(frozen=True, slots=True)
class Wrong:
    """The answer speaks for somebody else: the one thing that must never happen."""

    seen: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A sidecar refused, here or further on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Broken:
    """Neither an answer nor a refusal."""

    cause: str


Verdict = Right | Wrong | Refused | Broken
Judge = Callable[[Call, int, Mapping[str, str], bytes], Verdict]
"""Judges one call by the status, header fields and body of its answer."""


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load came to. ``calls`` is the sum of the four outcomes."""

    calls: int
    wrong: int
    refused: int
    broken: int
    in_flight_floor: int
    """Fewest calls open at any moment while there were still calls to start."""
    in_flight_peak: int
    connections: int
    """Connections opened; far below ``calls`` when they are kept alive."""
    seconds: float
    details: Mapping[str, int]
    """How often each wrong subject, refusal reason or failure was seen, most frequent first."""


class _Tally:
    def __init__(self) -> None:
        self.outcomes: Counter[type[Verdict]] = Counter()
        self.details: Counter[str] = Counter()
        self.connections = 0
        self.in_flight = 0
        self.floor: int | None = None
        self.peak = 0

    def started(self) -> None:
        self.in_flight += 1
        self.peak = max(self.peak, self.in_flight)

    def finished(self, verdict: Verdict) -> None:
        self.in_flight -= 1
        self.outcomes[type(verdict)] += 1
        match verdict:
            case Wrong(seen):
                self.details[f"seen as {seen}"] += 1
            case Refused(reason):
                self.details[reason] += 1
            case Broken(cause):
                self.details[cause] += 1
            case Right():
                pass

    def more_to_start(self) -> None:
        """Note how many are open at the lowest point: one has ended, the next is not open yet."""
        self.floor = self.in_flight if self.floor is None else min(self.floor, self.in_flight)

    def report(self, seconds: float) -> LoadReport:
        return LoadReport(
            calls=self.outcomes.total(),
            wrong=self.outcomes[Wrong],
            refused=self.outcomes[Refused],
            broken=self.outcomes[Broken],
            in_flight_floor=self.peak if self.floor is None else self.floor,
            in_flight_peak=self.peak,
            connections=self.connections,
            seconds=seconds,
            details=dict(self.details.most_common()),
        )


async def run_load(calls: Iterable[Call], judge: Judge, *, in_flight: int) -> LoadReport:
    """Make all *calls*, *in_flight* of them at a time, and judge each answer.

    Connections are shared between users on purpose: identity belongs to a request, and a proxy
    that ties it to a connection must be seen to fail. A call that takes over 10 s is broken.
    """
    tally = _Tally()
    queue = iter(calls)
    began = time.monotonic()
    async with (
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=in_flight),
            timeout=aiohttp.ClientTimeout(total=_CALL_SECONDS),
            trace_configs=[_counting_connections(tally)],
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as client,
        asyncio.TaskGroup() as workers,
    ):
        for _ in range(in_flight):
            workers.create_task(_work(client, queue, judge, tally))
    return tally.report(time.monotonic() - began)


async def _work(
    client: aiohttp.ClientSession, queue: Iterator[Call], judge: Judge, tally: _Tally
) -> None:
    first = True
    for call in queue:
        if not first:
            tally.more_to_start()
        first = False
        tally.started()
        tally.finished(await _make(client, call, judge))


async def _make(client: aiohttp.ClientSession, call: Call, judge: Judge) -> Verdict:
    try:
        async with client.get(call.url, headers=call.headers) as answer:
            body = await answer.read()
            return judge(call, answer.status, answer.headers, body)
    except (aiohttp.ClientError, TimeoutError) as error:
        return Broken(type(error).__name__)


def _counting_connections(tally: _Tally) -> aiohttp.TraceConfig:
    async def opened(
        _session: aiohttp.ClientSession,
        _context: SimpleNamespace,
        _parameters: aiohttp.TraceConnectionCreateEndParams,
    ) -> None:
        tally.connections += 1

    trace = aiohttp.TraceConfig()
    trace.on_connection_create_end.append(opened)
    return trace
