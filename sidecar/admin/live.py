"""What the live page draws: counters, histograms and the status, as of now, in one document.

Owns the document. Counters are totals since the start, and whoever reads two of them computes the
rate; ``sidecar.admin.history`` has the minutes before. Asked by a page every two seconds; nothing
is computed without one, and many pages cost no more than two in a second do.
"""

from collections.abc import Callable, Mapping
from typing import Final

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response
from msgspec import Raw, Struct
from msgspec.json import encode

from sidecar.admin.history import DIRECTIONS, STEP_SECONDS, STEPS, Counts, History, Step
from sidecar.admin.serving import Route, response
from sidecar.admin.status import Status
from sidecar.core.outcome import REASONS_BY_CODE
from sidecar.telemetry.metrics import DURATION_BOUNDS, OVERHEAD_BOUNDS, Direction, Metrics

LIVE_PATH: Final = "/live"
FRESH_SECONDS: Final = 0.5
"""For so long a document is good for everybody who asks."""
_MAX_DIGITS: Final = 15


class RouteLive(Struct, frozen=True, kw_only=True):
    """One rule or destination that has had requests."""

    name: str
    codes: dict[str, int]
    """By class of the status: ``2xx`` and so on, or ``other``."""
    duration: tuple[int, ...]


class DirectionLive(Struct, frozen=True, kw_only=True):
    """One direction since the start."""

    requests: int
    errors: int
    in_flight: int
    duration: tuple[int, ...]
    """Exchanges by bucket of ``duration_bounds``, the last one above them all."""
    overhead: tuple[int, ...]
    routes: tuple[RouteLive, ...]
    refusals: Counts
    """By reason, route and whether it was enforced (``true`` or ``false``)."""


class ReasonLive(Struct, frozen=True, kw_only=True):
    """What a reason that occurred means."""

    title: str
    status: int
    fault: str
    """Who has to act: ``caller``, ``app``, ``peer``, ``sidecar`` or ``issuer``."""


class Live(Struct, frozen=True, kw_only=True):
    """Everything at one instant."""

    started: float
    """Tells one run from the next: after a restart all counters begin again."""
    time: float
    uptime_seconds: float
    duration_bounds: tuple[float, ...] = DURATION_BOUNDS
    overhead_bounds: tuple[float, ...] = OVERHEAD_BOUNDS
    step_seconds: float = STEP_SECONDS
    steps: int = STEPS
    inbound: DirectionLive
    outbound: DirectionLive
    attributions: Counts
    """By method, grade and outcome."""
    reasons: dict[str, ReasonLive]
    status: Status


class Answer(Struct, frozen=True, kw_only=True):
    """What ``GET /live`` says: the document, and the steps that the page does not have yet."""

    live: Raw
    history: list[Step]


class LiveSource:
    """Collects the document from the metrics and the status."""

    def __init__(
        self,
        metrics: Metrics,
        status: Callable[[], Status],
        history: History,
        *,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        """*clock* is monotonic, *wall_clock* in seconds since the epoch."""
        self._metrics = metrics
        self._status = status
        self._history = history
        self._clock = clock
        self._wall_clock = wall_clock
        self._started = wall_clock()
        self._made_at: float | None = None
        self._made = Raw()

    def routes(self) -> Mapping[str, Route]:
        """Return what the control socket serves of it."""
        return {LIVE_PATH: Route(self._tell)}

    def answer(self, since: int = 0) -> bytes:
        """Return the answer to a page that has every step before number *since*."""
        now = self._clock()
        if self._made_at is None or not 0 <= now - self._made_at < FRESH_SECONDS:
            self._made = Raw(encode(self.now()))
            self._made_at = now
        return encode(Answer(live=self._made, history=self._history.since(since)))

    def now(self) -> Live:
        """Return the document as of now."""
        status = self._status()
        inbound, outbound = (self._metrics.direction(name, ()) for name in DIRECTIONS)
        return Live(
            started=round(self._started, 3),
            time=round(self._wall_clock(), 3),
            uptime_seconds=status.uptime_seconds,
            inbound=_direction(inbound),
            outbound=_direction(outbound),
            attributions=tuple(self._metrics.attributions()),
            reasons=_reasons(inbound, outbound),
            status=status,
        )

    async def _tell(self, request: BaseRequest) -> Response:
        asked = request.query.get("since", "0")
        if not (asked.isascii() and asked.isdigit() and len(asked) <= _MAX_DIGITS):
            return response(400, b'{"error":"since must be a number"}', "application/json")
        return response(200, self.answer(int(asked)), "application/json")


def _direction(direction: Direction) -> DirectionLive:
    requests = errors = 0
    durations = [0] * (len(DURATION_BOUNDS) + 1)
    routes = []
    for route in direction.routes():
        counted, failed = route.totals()
        if not counted:
            continue
        requests += counted
        errors += failed
        counts = route.duration.counts()
        durations = [total + count for total, count in zip(durations, counts, strict=True)]
        codes: dict[str, int] = {}
        for _method, code, count in route.requests():
            kind = f"{code[0]}xx" if code.isdigit() else code
            codes[kind] = codes.get(kind, 0) + count
        routes.append(RouteLive(name=route.name, codes=codes, duration=tuple(counts)))
    return DirectionLive(
        requests=requests,
        errors=errors,
        in_flight=direction.in_flight,
        duration=tuple(durations),
        overhead=tuple(direction.overhead.counts()),
        routes=tuple(routes),
        refusals=tuple(
            ((reason, route, "true" if enforced else "false"), count)
            for (reason, route, enforced), count in direction.refusals()
        ),
    )


def _reasons(*directions: Direction) -> dict[str, ReasonLive]:
    codes = {reason for each in directions for (reason, _, _), _ in each.refusals()}
    found = {}
    for code in sorted(codes):
        facts = REASONS_BY_CODE[code].facts
        found[code] = ReasonLive(title=facts.title, status=facts.status, fault=facts.fault)
    return found
