"""When an issuer's keys are asked for, and what may be answered meanwhile.

Owns the schedule: first load, background refresh, back-off, and the one fetch that unknown
``kid`` values may cause per cool-down. Where the document comes from is ``sources``; which
key checks which token is ``sidecar.core``.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from math import inf
from typing import Final, Literal, Protocol

from sidecar.config.model import Issuer
from sidecar.core.keyset import KeySet, KeySetError, parse_jwks
from sidecar.core.outcome import Reason
from sidecar.core.profiles import profile_of
from sidecar.fetch.client import Fetcher, FetchError
from sidecar.issuers.sources import Source, SourceError, source_of

State = Literal["loading", "fresh", "stale", "failed"]
"""``loading``: no answer yet. ``stale``: keys are kept, the last refresh failed. ``failed``:
there never were keys, and the last try to get them failed."""

Result = Literal[
    "success",
    "unchanged",
    "network_error",
    "http_error",
    "invalid_document",
    "issuer_mismatch",
    "refused_address",
]

FIRST_RETRY_SECONDS: Final = 0.5
LONGEST_RETRY_SECONDS: Final = 30.0
LEAST_COOLDOWN_SECONDS: Final = 1.0
"""Holds whatever is configured: callers choose the ``kid``, so without a cool-down each of
them could make us ask the issuer as often as they like."""
_SLICE_SECONDS: Final = 2.0
"""Longest single sleep of the background: how late it notices what a request's fetch found."""
_LEAST_REST_SECONDS: Final = 0.05
_MAX_DOUBLINGS: Final = 6

_log = logging.getLogger("sidecar.issuers")


class IssuerReport(Protocol):
    """Where an issuer's state and the outcome of each fetch are counted."""

    def state_changed(self, state: str) -> None:
        """Take note that the issuer is now in *state*, one of ``State``."""

    def refreshed(self, result: str) -> None:
        """Count one finished fetch by its *result*, one of ``Result``."""

    def succeeded(self, at: float) -> None:
        """Take note of a usable answer *at* this time, in seconds since the epoch."""


class IssuerKeys:
    """Keeps the keys of one issuer current.

    Two goods conflict: a new key should work at once, and callers who invent ``kid`` values
    must not make us flood the issuer. So an unknown ``kid`` is worth one fetch per cool-down,
    shared by everybody who waits; after that the answer is known without asking.

    A set in use is only ever replaced by another usable set, never by an error.
    """

    def __init__(
        self,
        issuer: Issuer,
        *,
        fetch: Fetcher,
        install: Callable[[KeySet], None],
        clock: Callable[[], float],
        jitter: Callable[[], float],
        report: IssuerReport,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Keep *issuer*'s keys, giving each new set to *install*.

        *clock* returns seconds since the epoch, *jitter* a number from 0 up to 1, evenly
        spread; *sleep* waits for so many seconds.
        """
        self._name = issuer.name
        self._source: Source = source_of(issuer, fetch)
        self._use = profile_of(issuer.profile).key_use
        self._install = install
        self._clock = clock
        self._jitter = jitter
        self._report = report
        self._sleep = sleep
        self._interval_seconds = issuer.refresh_interval_seconds
        self._cooldown_seconds = max(issuer.refresh_cooldown_seconds, LEAST_COOLDOWN_SECONDS)
        self._keys: KeySet | None = None
        self._flight: asyncio.Task[None] | None = None
        self._finished_at = -inf
        self._failures = 0
        self._due_in_seconds = 0.0
        self._state: State = "loading"
        self.last_error = ""
        """Why the last fetch failed, in one line; empty when it did not."""
        self.fetched_at: float | None = None
        """When the last usable answer came, in seconds since the epoch."""
        report.state_changed(self._state)

    @property
    def loaded(self) -> bool:
        """Whether there are keys, fresh or stale."""
        return self._keys is not None

    @property
    def state(self) -> State:
        return self._state

    def refusal(self, kid: str | None) -> Reason | None:  # noqa: ARG002 - see below
        """Return what to answer a token whose key is not in the set, or ``None``: ask first.

        ``None`` means that ``obtain()`` is worth awaiting. The cool-down is the issuer's and
        not the *kid*'s: a table of kids already asked for would be the callers' to fill.
        """
        if not self._is_cooling_down():
            return None
        return Reason.KEYS_UNAVAILABLE if self.last_error else Reason.KEY_UNKNOWN

    async def obtain(self) -> None:
        """Join the fetch that is under way or start one; return at once within the cool-down.

        Takes no longer than the bounds in ``sources`` allow. A caller who goes away neither
        ends the fetch nor holds it for others. Never raises for a failed fetch.
        """
        if not self._is_cooling_down():
            await asyncio.wait((self._under_way(),))

    async def run(self) -> None:
        """Load the keys, then keep them current, until cancelled.

        Raises what a fetch or *install* raised unexpectedly: a defect should be seen.
        """
        try:
            while True:
                flight = self._under_way()
                await asyncio.wait((flight,))
                flight.result()
                await self._rest()
        finally:
            await self._abandon()

    def _is_cooling_down(self) -> bool:
        # A clock that was set back must not extend the cool-down.
        return 0.0 <= self._clock() - self._finished_at < self._cooldown_seconds

    def _under_way(self) -> asyncio.Task[None]:
        """Return the one fetch, started now if there is none.

        It is a task of its own because the request that happens to need it first may be
        cancelled by its caller, which must not cost the others their answer.
        """
        if self._flight is None or self._flight.done():
            self._flight = asyncio.create_task(self._refresh(), name=f"keys of {self._name}")
        return self._flight

    async def _abandon(self) -> None:
        if self._flight is not None and not self._flight.done():
            self._flight.cancel()
            await asyncio.wait((self._flight,))

    def _rest_for(self, seconds: float) -> None:
        self._due_in_seconds = max(seconds, _LEAST_REST_SECONDS)

    async def _rest(self) -> None:
        """Wait until the next fetch is due, or the source is seen to have changed.

        A fetch made for a request sets the time anew, hence the slices.
        """
        while self._due_in_seconds > 0:
            slice_seconds = min(self._due_in_seconds, self._source.poll_seconds, _SLICE_SECONDS)
            self._due_in_seconds -= slice_seconds
            await self._sleep(slice_seconds)
            if self._source.changed():
                return

    async def _refresh(self) -> None:
        try:
            keys = parse_jwks(await self._source.read(), self._use)
        except (FetchError, SourceError) as error:
            self._failed(error.kind, str(error))
        except KeySetError as error:
            self._failed("invalid_document", f"the key set is not usable: {error}")
        else:
            self._succeeded(keys)

    def _succeeded(self, keys: KeySet) -> None:
        is_new = keys != self._keys
        if is_new:
            self._install(keys)
        self._keys = keys
        self._finished_at = self.fetched_at = self._clock()
        self._failures = 0
        self.last_error = ""
        self._rest_for(self._interval_seconds * (0.9 + 0.2 * self._jitter()))
        self._report.refreshed("success" if is_new else "unchanged")
        self._report.succeeded(self._finished_at)
        if self._enter("fresh") or is_new:
            _log.info(
                "issuer %s: fresh, usable keys: %d, skipped: %d",
                self._name,
                len(keys),
                keys.skipped,
            )

    def _failed(self, result: Result, cause: str) -> None:
        self._finished_at = self._clock()
        self.last_error = cause
        limit = FIRST_RETRY_SECONDS * 2 ** min(self._failures, _MAX_DOUBLINGS)
        self._rest_for(min(limit, LONGEST_RETRY_SECONDS) * self._jitter())
        self._failures += 1
        self._report.refreshed(result)
        if self._enter("stale" if self.loaded else "failed"):
            _log.warning(
                "issuer %s: %s, keys kept: %d: %s; next try in %.1f s",
                self._name,
                self._state,
                len(self._keys) if self._keys is not None else 0,
                cause,
                self._due_in_seconds,
            )

    def _enter(self, state: State) -> bool:
        """Move to *state*; tell whether that is a change."""
        if state == self._state:
            return False
        self._state = state
        self._report.state_changed(state)
        return True
