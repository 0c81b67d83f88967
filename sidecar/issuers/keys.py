"""When an issuer's keys are asked for, and what may be answered meanwhile.

Owns the schedule: first load, background refresh, back-off, the one fetch that unknown ``kid``
values may cause per cool-down, and how long keys outlast an issuer that does not answer. Where the
document comes from is ``sources``; which key checks which token is ``sidecar.core``.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import Final, Literal, Protocol

from sidecar.config.model import Issuer
from sidecar.core.keyset import KeySet, KeySetError, VerificationKey, parse_jwks
from sidecar.core.outcome import Reason
from sidecar.core.profiles import profile_of
from sidecar.fetch.client import NO_FIELDS, AnswerFields, Document, Fetcher, FetchError
from sidecar.issuers.copies import CopyError, copy_of
from sidecar.issuers.freshness import clock_offset_seconds, fresh_seconds
from sidecar.issuers.saving import Saver
from sidecar.issuers.sources import Source, SourceError, source_of
from sidecar.issuers.telling import tell_changes, tell_clock
from sidecar.issuers.unknown_kids import UnknownKids
from sidecar.resilience.retry_after import wait_seconds

State = Literal["loading", "fresh", "stale", "blind"]
"""``loading``: no answer yet. ``fresh``: the last fetch brought the keys. ``stale``: keys are kept
though the last fetch failed, or they are a copy that was not confirmed yet. ``blind``: there are no
keys, because there never were any or the stale budget is spent."""

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
COOLDOWNS_UNKNOWN: Final = 3
"""For how many cool-downs a ``kid`` that was looked for in vain is not looked for again. More
would save fetches, and delay a key that an issuer signs with before every cache of it knows."""
LONGEST_WAIT_SECONDS: Final = 300.0
"""What an issuer may ask for with ``Retry-After``: it is down for us as long as we wait."""
_NO_KEYS_DOCUMENT: Final = b'{"keys": []}'
_NO_KEYS: Final = KeySet(())
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

    A set in use is only ever replaced by another usable set, never by an error. When the issuer
    could not be asked for as long as the stale budget says, there is none in use.
    """

    def __init__(
        self,
        issuer: Issuer,
        *,
        fetch: Fetcher,
        install: Callable[[KeySet], int],
        clock: Callable[[], float],
        jitter: Callable[[], float],
        report: IssuerReport,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Keep *issuer*'s keys, giving each new set to *install*, the empty one included.

        *install* returns how many tokens it forgot that were good until then. *clock* returns
        seconds since the epoch, *jitter* a number from 0 up to 1, evenly spread; *sleep* waits
        for so many seconds.
        """
        self._name = issuer.name
        self._source: Source = source_of(issuer, fetch)
        self._use = profile_of(issuer.profile).key_use
        self._install = install
        self._clock = clock
        self._jitter = jitter
        self._report = report
        self._sleep = sleep
        self._copy = copy_of(issuer)
        self._has_recalled = False
        self._saver = None if self._copy is None else Saver(issuer.name, self._copy)
        self._interval_seconds = issuer.refresh_interval_seconds
        self._least_seconds = issuer.refresh_min_seconds
        self._most_seconds = issuer.refresh_max_seconds
        self._stale_for_seconds = issuer.stale_for_seconds
        self._leeway_seconds = issuer.leeway_seconds
        self._cooldown_seconds = max(issuer.refresh_cooldown_seconds, LEAST_COOLDOWN_SECONDS)
        self._unknown = UnknownKids(COOLDOWNS_UNKNOWN * self._cooldown_seconds)
        self._keys: KeySet | None = None
        self._flight: asyncio.Task[None] | None = None
        self._finished_at = -inf
        self._failures = 0
        self._asked_to_wait_seconds = 0.0
        self._due_in_seconds = 0.0
        self._state: State = "loading"
        self.last_error = ""
        """Why the last fetch failed, in one line; empty when it did not."""
        self.fetched_at: float | None = None
        """When the keys in force were fetched, in seconds since the epoch, if there are any."""
        self.clock_offset_seconds: float | None = None
        """How far the issuer's clock was ahead of ours in its last answer, to the second."""
        self.clock_compared_at: float | None = None
        """When that was, in seconds since the epoch."""
        self.clock_bound_seconds = 0.0
        """How far off it may be: ``Date`` has whole seconds, and the answer was on its way."""
        self._asked_at = 0.0
        report.state_changed(self._state)

    def hand_over(self, install: Callable[[KeySet], int]) -> None:
        """Give the keys in force, and every set from now on, to *install* instead."""
        self._install = install
        if self._keys is not None:
            install(self._keys)

    def tell_state(self) -> None:
        """Report the state again, where somebody else reported for this issuer meanwhile."""
        self._report.state_changed(self._state)

    @property
    def loaded(self) -> bool:
        """Whether there are keys, fresh or stale."""
        return self._keys is not None

    @property
    def state(self) -> State:
        return self._state

    @property
    def keys(self) -> Sequence[VerificationKey]:
        """The keys in force."""
        return () if self._keys is None else self._keys.keys

    @property
    def next_refresh_seconds(self) -> float:
        """How long until the background asks again; exact to the slices in which it rests."""
        return self._due_in_seconds

    def refusal(self, kid: str | None) -> Reason | None:
        """Return what to answer a token whose key is not in the set, or ``None``: ask first.

        ``None`` means that ``obtain()`` is worth awaiting. The cool-down is the issuer's and not
        the *kid*'s, so it holds however many are invented. One that the issuer was asked for and
        does not have costs no fetch for a while, unless the last fetch failed.
        """
        if self._is_cooling_down():
            return Reason.KEYS_UNAVAILABLE if self.last_error else Reason.KEY_UNKNOWN
        if not self.last_error and self._unknown.holds(kid, self._clock()):
            return Reason.KEY_UNKNOWN
        self._unknown.seek(kid)
        return None

    async def obtain(self) -> None:
        """Join the fetch that is under way or start one; return at once within the cool-down.

        Takes no longer than the bounds in ``sources`` allow. A caller who goes away neither
        ends the fetch nor holds it for others. Never raises for a failed fetch.
        """
        if not self._is_cooling_down():
            await asyncio.wait((self._under_way(),))

    async def run(self) -> None:
        """Load the keys, then keep them current, until cancelled.

        Begins with ``recall``. Raises what a fetch or *install* raised unexpectedly: a defect
        should be seen.
        """
        try:
            self.recall()
            while True:
                flight = self._under_way()
                await asyncio.wait((flight,))
                flight.result()
                await self._rest()
        finally:
            await self._abandon()

    def recall(self) -> None:
        """Take the keys from the copy on disk, where there are none yet and it is good."""
        if self._copy is None or self._has_recalled or self._keys is not None:
            return
        self._has_recalled = True
        try:
            copied = self._copy.read(now=self._clock(), max_age_seconds=self._stale_for_seconds)
        except CopyError as error:
            _log.warning("issuer %s: the copy of its keys %s", self._name, error)
            return
        if copied is None:
            return
        self._install(copied.keys)
        self._keys = copied.keys
        self.fetched_at = copied.fetched_at
        self._enter("stale")
        _log.info("issuer %s: stale, keys from the copy on disk: %d", self._name, len(copied.keys))

    def _is_cooling_down(self) -> bool:
        cooldown_seconds = max(self._cooldown_seconds, self._asked_to_wait_seconds)
        # A clock that was set back must not extend the cool-down.
        return 0.0 <= self._clock() - self._finished_at < cooldown_seconds

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
        if self._saver is not None:
            await self._saver.close()

    def _rest_for(self, seconds: float) -> None:
        self._due_in_seconds = max(seconds, _LEAST_REST_SECONDS)

    async def _rest(self) -> None:
        """Wait until the next fetch is due, or the source is seen to have changed.

        A fetch made for a request sets the time anew, hence the slices.
        """
        while self._due_in_seconds > 0:
            slice_seconds = min(
                self._due_in_seconds,
                self._source.poll_seconds,
                _SLICE_SECONDS,
                max(self._budget_seconds(), _LEAST_REST_SECONDS),
            )
            self._due_in_seconds -= slice_seconds
            await self._sleep(slice_seconds)
            self._give_up_old()
            if self._source.changed():
                return

    async def _refresh(self) -> None:
        self._asked_at = self._clock()
        try:
            document = await self._source.read()
            keys = parse_jwks(document.content, self._use)
        except FetchError as error:
            self._failed(error.kind, str(error), error.fields)
        except SourceError as error:
            self._failed(error.kind, str(error))
        except KeySetError as error:
            self._distrust(error.exposed)
            self._failed("invalid_document", f"the key set is not usable: {error}")
        else:
            self._succeeded(keys, document)

    def _succeeded(self, keys: KeySet, document: Document) -> None:
        before = self._keys
        is_new = keys != before
        forgotten = self._install(keys) if is_new else 0
        self._keys = keys
        now = self._finished_at = self.fetched_at = self._clock()
        self._failures = 0
        self._asked_to_wait_seconds = 0.0
        self.last_error = ""
        self._unknown.fetched(keys.kids, now, is_new=is_new)
        if self._saver is not None:
            self._saver.save(document.content, now)
        self._rest_for(self._fresh_for(document.fields) * (0.9 + 0.2 * self._jitter()))
        self._report.refreshed("success" if is_new else "unchanged")
        self._report.succeeded(now)
        self._compare_clocks(document.fields, now)
        if before is not None and is_new:
            tell_changes(self._name, before, keys, forgotten)
        if self._enter("fresh") or is_new:
            _log.info(
                "issuer %s: fresh, usable keys: %d, skipped: %d",
                self._name,
                len(keys),
                keys.skipped,
            )

    def _fresh_for(self, fields: AnswerFields) -> float:
        """Return when to ask again: the issuer says it, the operator says within what bounds."""
        said = fresh_seconds(fields)
        if said is None:
            return self._interval_seconds
        return min(max(said, self._least_seconds), self._most_seconds)

    def _failed(self, result: Result, cause: str, fields: AnswerFields = NO_FIELDS) -> None:
        now = self._finished_at = self._clock()
        self.last_error = cause
        limit = FIRST_RETRY_SECONDS * 2 ** min(self._failures, _MAX_DOUBLINGS)
        wanted = min(wait_seconds(fields, now), LONGEST_WAIT_SECONDS)
        self._asked_to_wait_seconds = wanted
        self._rest_for(max(min(limit, LONGEST_RETRY_SECONDS) * self._jitter(), wanted))
        self._failures += 1
        self._report.refreshed(result)
        self._compare_clocks(fields, now)
        if self._enter("stale" if self.loaded else "blind"):
            _log.warning(
                "issuer %s: %s, keys kept: %d: %s; next try in %.1f s",
                self._name,
                self._state,
                len(self.keys),
                cause,
                self._due_in_seconds,
            )
        self._give_up_old()

    def _budget_seconds(self) -> float:
        """Return how long the keys may still be used without being confirmed."""
        if self._state != "stale" or self.fetched_at is None:
            return inf
        # A clock that was set back makes the keys new and not younger than that.
        self.fetched_at = min(self.fetched_at, self._clock())
        return self._stale_for_seconds - (self._clock() - self.fetched_at)

    def _give_up_old(self) -> None:
        """Be without keys once they were not confirmed for as long as the budget says."""
        if self._budget_seconds() > 0:
            return
        forgotten = self._install(_NO_KEYS)
        self._keys = self.fetched_at = None
        self._enter("blind")
        _log.error(
            "issuer %s: blind, its keys could not be confirmed for %.0f s; verified tokens "
            "refused from now on: %d; %s",
            self._name,
            self._stale_for_seconds,
            forgotten,
            self.last_error or "not asked yet",
        )

    def _distrust(self, exposed: frozenset[bytes]) -> None:
        """Give up keys whose private half the issuer published, whatever else it answered."""
        before = self.keys
        left = [key for key in before if key.fingerprint not in exposed]
        if len(left) == len(before):
            return
        self._keys = KeySet(left) if left else None
        if not left:
            self.fetched_at = None
        forgotten = self._install(self._keys or _NO_KEYS)
        if self._saver is not None:
            # Else they would be believed again after a restart.
            self._saver.save(_NO_KEYS_DOCUMENT, self._clock())
        _log.error(
            "issuer %s: its answer holds the private half of keys in force, so that anybody can "
            "sign with them: given up: %d, verified tokens refused from now on: %d",
            self._name,
            len(before) - len(left),
            forgotten,
        )

    def _compare_clocks(self, fields: AnswerFields, now: float) -> None:
        offset = clock_offset_seconds(fields, now)
        if offset is not None:
            before, self.clock_offset_seconds = self.clock_offset_seconds, offset
            self.clock_compared_at = now
            self.clock_bound_seconds = 1.0 + max(0.0, now - self._asked_at)
            tell_clock(self._name, before, offset, leeway_seconds=self._leeway_seconds)

    def _enter(self, state: State) -> bool:
        """Move to *state*; tell whether that is a change."""
        if state == self._state:
            return False
        self._state = state
        self._report.state_changed(state)
        return True
