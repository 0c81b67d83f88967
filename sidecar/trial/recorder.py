"""The destination of a trial: looks at every call that arrives, and answers as real ones do.

Real ones are slow at times, fail at times and close connections at times, and that is when apps
and pools mix up their callers. It stands directly behind the sidecar on trial, with no second
sidecar in between: what judges a sidecar must not share its code, and a connection closed here
must be met by the connections of the one that is judged.
"""

import asyncio
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from aiohttp import ClientError, web
from aiohttp.http import HttpProcessingError

from sidecar.trial.arrivals import Arrival
from sidecar.trial.cast import Cast, without_names
from sidecar.trial.plan import USER

_HOST: Final = "127.0.0.1"
_MAX_LINE_BYTES: Final = 64 * 1024
_LOOKED_AT_BYTES: Final = 1 << 20
"""Of a body; what follows is read and not looked at."""
_MAX_SHAPES: Final = 1_000
_SLOW_SHARE: Final = 0.02
_SLOW_FACTOR: Final = 10
_CREDENTIALS: Final = frozenset({"authorization", "proxy-authorization"})


@dataclass(frozen=True, slots=True)
class Manner:
    """How the destination answers; see :class:`sidecar.trial.plan.Plan`."""

    answer: str
    latency_seconds: float = 0.0
    faults: float = 0.0
    hold_seconds: float = 3.0


@dataclass(slots=True)
class _Held:
    shape: str
    released: asyncio.Event


class Holds:
    """Calls of chosen users that are kept unanswered, so that their requests stay open.

    Of each user the first call of each shape is kept, and none longer than *seconds* after that
    user's first. A call's shape is what it looks like without the user's name.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._chosen: set[str] = set()
        self._ends_at: dict[str, float] = {}
        self._kept: set[tuple[str, str]] = set()
        self._seen: set[str] = set()
        self._open: list[_Held] = []

    def choose(self, users: Iterable[str]) -> None:
        """Hold calls that name one of *users* from now on."""
        self._chosen.update(users)

    @property
    def is_holding(self) -> bool:
        """Whether a call is held now."""
        return bool(self._open)

    @property
    def is_awaiting(self) -> bool:
        """Whether one of the chosen users has not called yet."""
        return not self._chosen <= self._ends_at.keys()

    async def keep(self, users: frozenset[str], shape: str) -> None:
        """Return at once, or when the call of one of *users* has been held long enough."""
        user = min(self._chosen & users, default=None)
        if user is None:
            if self._open and len(self._seen) < _MAX_SHAPES:
                self._seen.add(shape)
            return
        now = asyncio.get_running_loop().time()
        ends_at = self._ends_at.setdefault(user, now + self._seconds)
        if (user, shape) in self._kept or now >= ends_at:
            return
        self._kept.add((user, shape))
        held = _Held(shape, asyncio.Event())
        self._open.append(held)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(ends_at):
                    await held.released.wait()
        finally:
            self._open.remove(held)

    def release_one(self) -> None:
        """Let the call go that nobody else gets past.

        That is one of a shape which the others have not managed to make since: it occupies the
        worker that would make it for them. Where all shapes got through, it is the newest.
        """
        waiting = [held for held in self._open if not held.released.is_set()]
        blocking = [held for held in waiting if held.shape not in self._seen]
        for held in (blocking or waiting)[-1:]:
            held.released.set()

    def release_all(self) -> None:
        """Let every call go, and hold none any more."""
        for forgotten in (self._chosen, self._ends_at, self._kept, self._seen):
            forgotten.clear()
        for held in self._open:
            held.released.set()


class Recorder:
    """Serves from ``async with`` to its end, on one port for each destination."""

    def __init__(
        self,
        destinations: Iterable[str],
        cast: Cast,
        manner: Manner,
        *,
        record: Callable[[Arrival], object],
        rng: random.Random,
    ) -> None:
        """*record* is given every call when all of it has arrived, before it is answered."""
        self.holds = Holds(manner.hold_seconds)
        self.arrived = 0
        """How many calls have come."""
        self._names = tuple(destinations)
        self._cast = cast
        self._manner = manner
        self._record = record
        self._rng = rng
        self._destinations: dict[int, str] = {}
        self._runner = web.ServerRunner(
            web.Server(
                self._handle,
                access_log=None,
                max_line_size=_MAX_LINE_BYTES,
                max_field_size=_MAX_LINE_BYTES,
            )
        )

    @property
    def ports(self) -> Mapping[str, int]:
        """Where each destination is reached, by its name; known once it serves."""
        return {name: port for port, name in self._destinations.items()}

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        for name in self._names:
            site = web.TCPSite(self._runner, _HOST, 0)
            await site.start()
            self._destinations[self._runner.addresses[-1][1]] = name
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.holds.release_all()
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await _read(request)
        arrival = self._arrival(request, body)
        self.arrived += 1
        self._record(arrival)
        fault = self._rng.random()
        await self.holds.keep(arrival.named, f"{arrival.method} {without_names(arrival.path)}")
        await asyncio.sleep(self._delay())
        if fault < self._manner.faults / 2:
            return web.Response(status=503, text="the destination is busy\n")
        if fault < self._manner.faults and request.transport is not None:
            request.transport.abort()
        return self._answer(arrival)

    def _arrival(self, request: web.BaseRequest, body: str) -> Arrival:
        authorization = request.headers.get("Authorization")
        scheme, _, token = (authorization or "").partition(" ")
        subject = self._cast.subject_of(token.strip()) if scheme.lower() == "bearer" else None
        sockname = request.transport.get_extra_info("sockname") if request.transport else None
        return Arrival(
            destination=self._destinations.get(sockname[1], "") if sockname else "",
            method=request.method,
            path=request.raw_path.partition("?")[0],
            named=self._cast.named_in((*_texts(request), body)),
            has_credential=authorization is not None,
            subject=subject,
        )

    def _delay(self) -> float:
        usual = self._rng.random() * self._manner.latency_seconds
        slow = self._rng.random() < _SLOW_SHARE
        return self._manner.latency_seconds * _SLOW_FACTOR if slow else usual

    def _answer(self, arrival: Arrival) -> web.Response:
        user = min(arrival.named, default="")
        text = self._manner.answer.replace(USER, user)
        kind = "application/json" if text[:1] in ("{", "[", '"') else "text/plain"
        return web.Response(text=text, content_type=kind)


def _texts(request: web.BaseRequest) -> Iterator[str]:
    yield request.raw_path
    for name, value in request.headers.items():
        if name.lower() not in _CREDENTIALS:
            yield value


async def _read(request: web.BaseRequest) -> str:
    """Read the whole body and return the beginning of it, or as much as arrived."""
    looked_at = bytearray()
    # A caller who leaves, or an encoding that cannot be undone: what came is judged.
    with suppress(OSError, ClientError, web.RequestPayloadError, HttpProcessingError):
        async for chunk in request.content.iter_any():
            looked_at += chunk[: _LOOKED_AT_BYTES - len(looked_at)]
    return looked_at.decode("utf-8", "replace")
