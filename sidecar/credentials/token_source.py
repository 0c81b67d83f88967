"""The token of one destination for one subject after the other: at hand, or asked for once.

Owns when somebody is asked: one question per key at a time, again before a token ends, and not at
once after a failure. Asking is ``sidecar.credentials.token_endpoint``'s, keeping and withdrawal
``sidecar.credentials.obtained_tokens``'s.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from hashlib import sha256
from math import inf
from typing import Final, TypeAlias

from sidecar.config import model
from sidecar.core.obtained import Failure, ObtainedToken
from sidecar.core.principal import Credential
from sidecar.core.token_request import TokenRequest
from sidecar.credentials.obtained_tokens import (
    RENEWAL_SECONDS,
    WITHDRAWN,
    Held,
    Key,
    ObtainedTokens,
    Obtaining,
    Shared,
)
from sidecar.resilience.rate import Rate
from sidecar.telemetry.token_exchanges import TokenExchangeMetrics

REFRESH_AT: Final = 0.75
"""The share of its lifetime from which on a token in use is replaced."""
REFRESH_SPREAD: Final = 0.1
"""So much earlier or later."""
MARGIN_OF_LIFETIME: Final = 0.1
"""What of its lifetime a token is at most not used for: some live for seconds."""
UNAVAILABLE_SECONDS: Final = 1.0
"""How long a server that did not answer is not asked for this again. That it is left alone for
longer is for its circuit to decide, which knows of more than one key."""
LONGEST_PAUSE_SECONDS: Final = 60.0
"""Whatever a server says of when to ask again, and between attempts to refresh."""
FIRST_PAUSE_SECONDS: Final = 5.0
"""Between the first attempt to refresh a token that failed and the next."""
MAX_REFRESHING: Final = 8
"""Refreshes at once: somebody waits for other questions."""
MAX_RENEWALS_PER_SECOND: Final = 10
"""How often one destination's 401 may have tokens renewed that are not past their end."""
LONGEST_QUESTION_SECONDS: Final = 60.0
"""Whoever asks has timeouts of its own, which are shorter."""

Ask: TypeAlias = Callable[[TokenRequest, Credential | None], Awaitable[ObtainedToken | Failure]]

SUBJECT_EXPIRED: Final = Failure(
    "subject_expired", "the caller's token has expired, so no other can be asked for with it"
)

_log = logging.getLogger("sidecar.tokens")


def generation_of(*identity: object) -> bytes:
    """Return a digest of who asks and where: equal configurations share tokens, others do not.

    By ``repr``, in which secrets do not appear: a client with a new secret is the same client,
    and what it obtained with the old one is good.
    """
    return sha256("\n".join(map(repr, identity)).encode()).digest()


class TokenSource:
    """The tokens of one request, for every subject.

    A token is used until a margin before its end, and refreshed in the background from about
    three quarters of its life on, if it is in use then. Both moments vary from token to token, so
    that pods that started together do not ask together.
    """

    def __init__(
        self,
        request: TokenRequest,
        *,
        generation: bytes,
        tokens: ObtainedTokens,
        ask: Ask,
        kept: model.ObtainedTokens,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        random: Callable[[], float],
        report: TokenExchangeMetrics,
        is_bound: bool = False,
    ) -> None:
        """*generation* stands for the client's configuration (``generation_of``).

        *clock* is monotonic, *wall_clock* says seconds since the epoch; *random* gives numbers
        from 0 to 1. *is_bound*: the server may bind its tokens to this pod's own certificate
        (RFC 8705), so that they are of no use to other pods.
        """
        self._request = request
        self._prefix: Key = sha256(generation + repr(request).encode()).digest()
        self._client: Key = b"client " + generation
        """Where it stands that the server does not know the client, whatever it asks for."""
        self._tokens = tokens
        self._ask = ask
        self._kept = kept
        self._clock = clock
        self._wall_clock = wall_clock
        self._random = random
        self._report = report
        self._is_bound = is_bound
        self._renewals = Rate(MAX_RENEWALS_PER_SECOND, clock=clock)

    @property
    def _shared(self) -> Shared | None:
        return None if self._is_bound else self._tokens.shared

    def get(self, subject: Credential | None) -> ObtainedToken | Failure | Obtaining:
        """Return the token for *subject*, why there is none, or the question to wait for."""
        key = self._prefix if subject is None else self._prefix + subject.digest
        held = self._tokens.find(key)
        now = self._wall_clock()
        if held is None or now >= held.usable_until:
            return self._obtain(key, subject, now)
        if now >= held.refresh_at:
            self._refresh(key, held, subject, now)
        self._report.cached += 1
        return held.token

    def still_good(self, token: ObtainedToken) -> bool:
        """Whether *token* may be sent now: it has not ended, nor been withdrawn or let go.

        If not, ``get`` says what may be.
        """
        return token.hold.live and self._wall_clock() < token.expires_at

    def refused(self, token: ObtainedToken, subject: Credential | None) -> bool:
        """Forget *token*, which its destination answered with 401; say whether that helps.

        ``False``: the next ``get`` gives the same again, for it has just been renewed. A
        destination that refuses every token must not have us ask for one at each call.
        """
        key = self._prefix if subject is None else self._prefix + subject.digest
        held = self._tokens.peek(key)
        if held is None or held.token.digest != token.digest:
            return True  # a newer one is there, or will be
        now = self._clock()
        if self._tokens.renewed.get(key, now=now) is not None or not self._renewals.take():
            return False
        self._tokens.discard(key)
        self._tokens.renewed.add(key, token.digest, until=now + RENEWAL_SECONDS)
        if (shared := self._shared) is not None:
            shared.forget(key, token)
        return True

    def _obtain(
        self, key: Key, subject: Credential | None, now: float
    ) -> ObtainedToken | Failure | Obtaining:
        under_way = self._tokens.under_way.get(key)
        if under_way is not None:
            self._report.came_to("joined")
            return under_way
        failure = self._failed_lately(key)
        if failure is not None:
            self._report.came_to("known_failure")
            return failure
        if subject is not None and now >= subject.expires_at:
            self._report.came_to("subject_expired")
            return SUBJECT_EXPIRED
        return self._begin(key, subject, None)

    def _failed_lately(self, key: Key) -> Failure | None:
        failures, now = self._tokens.failures, self._clock()
        return failures.get(key, now=now) or failures.get(self._client, now=now)

    def _refresh(self, key: Key, held: Held, subject: Credential | None, now: float) -> None:
        if subject is not None and now >= subject.expires_at:
            held.refresh_at = inf  # it serves to its end, and none comes after it
        elif key not in self._tokens.under_way and self._tokens.refreshing < MAX_REFRESHING:
            self._begin(key, subject, held)

    def _begin(self, key: Key, subject: Credential | None, ahead_of: Held | None) -> Obtaining:
        question = Obtaining(subject)
        task = asyncio.create_task(
            self._settle(key, question, ahead_of), name=f"token for {self._report.name}"
        )
        question.begin(task)
        self._tokens.under_way[key] = question
        if ahead_of is not None:
            self._tokens.refreshing += 1
        task.add_done_callback(lambda task: self._ended(key, question, ahead_of, task))
        return question

    def _ended(
        self,
        key: Key,
        question: Obtaining,
        ahead_of: Held | None,
        task: asyncio.Task[ObtainedToken | Failure],
    ) -> None:
        if self._tokens.under_way.get(key) is question:
            del self._tokens.under_way[key]
        if ahead_of is not None:
            self._tokens.refreshing -= 1
        if question.withdrawn:
            self._report.came_to("withdrawn")
        if not task.cancelled() and (defect := task.exception()) is not None:
            # Whoever waits is refused; that something is wrong with us must be seen.
            _log.error("token for %s: asking broke", self._report.name, exc_info=defect)
            self._put_off(ahead_of, None)

    async def _settle(
        self, key: Key, question: Obtaining, ahead_of: Held | None
    ) -> ObtainedToken | Failure:
        found = await self._found_elsewhere(key, question.subject, ahead_of)
        outcome = await self._asked(question.subject) if found is None else found
        if question.withdrawn:
            return WITHDRAWN
        if isinstance(outcome, ObtainedToken) and self._wall_clock() >= outcome.expires_at:
            outcome = Failure("invalid_answer", "the token that came had ended already")
        if isinstance(outcome, Failure):
            self._failed(key, outcome, ahead_of)
            return outcome
        self._keep(key, question.subject, outcome)
        if found is not None:
            self._report.came_to("shared")
            return outcome
        self._report.came_to("obtained" if ahead_of is None else "refreshed")
        if (shared := self._shared) is not None:
            shared.keep(key, question.subject, outcome)
        return outcome

    async def _found_elsewhere(
        self, key: Key, subject: Credential | None, ahead_of: Held | None
    ) -> ObtainedToken | None:
        shared = self._shared
        if shared is None:
            return None
        found = await shared.find(key, self._request, subject)
        if found is None or found.digest == self._tokens.renewed.get(key, now=self._clock()):
            return None
        now = self._wall_clock()
        if now >= self._usable_until(found):
            return None
        if ahead_of is not None and (
            found.expires_at <= ahead_of.token.expires_at or now >= self._refresh_at(found)
        ):
            return None
        return found

    async def _asked(self, subject: Credential | None) -> ObtainedToken | Failure:
        began = self._clock()
        try:
            async with asyncio.timeout(LONGEST_QUESTION_SECONDS):
                return await self._ask(self._request, subject)
        except TimeoutError:
            return Failure("unavailable", f"no answer within {LONGEST_QUESTION_SECONDS:.0f}s")
        finally:
            self._report.took(self._clock() - began)

    def _keep(self, key: Key, subject: Credential | None, token: ObtainedToken) -> None:
        refresh_at = self._refresh_at(token)
        self._tokens.put(
            key,
            Held(token, subject, usable_until=self._usable_until(token), refresh_at=refresh_at),
        )
        self._tokens.failures.discard(key)

    def _usable_until(self, token: ObtainedToken) -> float:
        lifetime = max(token.expires_at - token.asked_at, 0.0)
        varied = self._kept.expiry_margin_seconds * (1 + self._random() / 2)
        return token.expires_at - min(varied, lifetime * MARGIN_OF_LIFETIME)

    def _refresh_at(self, token: ObtainedToken) -> float:
        if not self._kept.refresh_ahead or token.expires_at == inf:
            return inf
        lifetime = max(token.expires_at - token.asked_at, 0.0)
        share = REFRESH_AT + REFRESH_SPREAD * (2 * self._random() - 1)
        return token.asked_at + lifetime * share

    def _failed(self, key: Key, failure: Failure, ahead_of: Held | None) -> None:
        self._report.came_to(failure.kind if ahead_of is None else "refresh_failed")
        if (pause := self._pause_after(failure)) > 0:
            where = self._client if failure.is_about_client else key
            self._tokens.failures.add(where, failure, until=self._clock() + pause)
        self._put_off(ahead_of, failure.retry_after_seconds)

    def _pause_after(self, failure: Failure) -> float:
        match failure.kind:
            case "misconfigured" | "refused" | "invalid_answer":
                return self._kept.negative_seconds
            case "unavailable":
                said = failure.retry_after_seconds or 0.0
                return min(max(said, UNAVAILABLE_SECONDS), LONGEST_PAUSE_SECONDS)
            case "circuit_open":
                return min(failure.retry_after_seconds or 0.0, UNAVAILABLE_SECONDS)
            case _:  # it is only this caller's bad luck
                return 0.0

    def _put_off(self, held: Held | None, retry_after_seconds: float | None) -> None:
        """Do not refresh again at once; the token serves to its end meanwhile."""
        if held is None:
            return
        pause = FIRST_PAUSE_SECONDS * 2 ** min(held.failures, 4)
        held.failures += 1
        varied = min(pause, LONGEST_PAUSE_SECONDS) * (0.5 + self._random())
        wanted = min(retry_after_seconds or 0.0, LONGEST_PAUSE_SECONDS)
        held.refresh_at = self._wall_clock() + max(varied, wanted)
