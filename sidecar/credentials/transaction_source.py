"""Transaction tokens that are asked for: one for each inbound request that causes calls.

A transaction token is of one transaction (draft-ietf-oauth-transaction-tokens), so that none is
kept beyond its request or shared with another one, though it came with the same access token.
Asking is ``sidecar.credentials.token_endpoint``'s.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from sidecar.core.attribution import Entry
from sidecar.core.digests import sha256
from sidecar.core.encoding import EncodingError, base64url_decode, is_plain, json_object
from sidecar.core.jose import media_type
from sidecar.core.names import TRANSACTION_TYPE
from sidecar.core.obtained import Failure, ObtainedToken
from sidecar.core.principal import Credential, Principal
from sidecar.core.token_request import TokenRequest
from sidecar.credentials.obtained_tokens import Key, ObtainedTokens, Obtaining
from sidecar.credentials.token_source import LONGEST_QUESTION_SECONDS, SUBJECT_EXPIRED, Ask
from sidecar.telemetry.token_exchanges import TokenExchangeMetrics

_STANDS: Final = frozenset({"misconfigured", "refused", "invalid_answer"})
"""Failures that asking again for the same request does not mend."""

_log = logging.getLogger("sidecar.tokens")


class TransactionSource:
    """The transaction tokens of one request for such; whose they are is kept with the entry."""

    def __init__(
        self,
        request: TokenRequest,
        *,
        tokens: ObtainedTokens,
        ask: Ask,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        report: TokenExchangeMetrics,
    ) -> None:
        """*tokens* has what is under way, and ends it with the token of its subject. *clock* is
        monotonic, *wall_clock* says seconds since the epoch.
        """
        self._request = request
        self._name = sha256(repr(request).encode())
        self._tokens = tokens
        self._ask = ask
        self._clock = clock
        self._wall_clock = wall_clock
        self._report = report

    def get(self, entry: Entry) -> "Credential | Failure | TransactionQuestion":
        """Return the transaction token of *entry*, why there is none, or what to wait for.

        One that has expired is returned as it is, for a transaction has no second one.
        """
        known = entry.requested.get(self._request)
        if isinstance(known, TransactionQuestion):
            if not known.is_over:
                self._report.came_to("joined")
                return known
            found = known.found()
            if isinstance(found, Credential):
                self._report.cached += 1
                return found
            if found.kind in _STANDS:
                self._report.came_to("known_failure")
                return found
        subject = entry.credential
        if subject is None or self._wall_clock() >= subject.expires_at:
            self._report.came_to("subject_expired")
            return SUBJECT_EXPIRED
        question = self._begin(subject, b"transaction %b%b" % (entry.handle, self._name))
        entry.requested = {**entry.requested, self._request: question}
        return question

    def _begin(self, subject: Credential, key: Key) -> "TransactionQuestion":
        question = TransactionQuestion(subject)
        task = asyncio.create_task(
            self._asked(subject), name=f"transaction for {self._report.name}"
        )
        question.begin(task)
        under_way = self._tokens.under_way
        under_way[key] = question

        def ended(_task: asyncio.Task[ObtainedToken | Failure]) -> None:
            if under_way.get(key) is question:
                del under_way[key]

        task.add_done_callback(ended)
        return question

    async def _asked(self, subject: Credential) -> ObtainedToken | Failure:
        began = self._clock()
        try:
            async with asyncio.timeout(LONGEST_QUESTION_SECONDS):
                outcome = await self._ask(self._request, subject)
        except TimeoutError:
            outcome = Failure("unavailable", f"no answer within {LONGEST_QUESTION_SECONDS:.0f}s")
        except Exception:
            # Whoever waits is refused; that something is wrong with us must be seen.
            _log.exception("transaction for %s: asking broke", self._report.name)
            outcome = Failure("unavailable", "asking for a transaction token broke")
        self._report.took(self._clock() - began)
        if isinstance(outcome, ObtainedToken) and (wrong := _wrong_with(outcome)):
            outcome = Failure("invalid_answer", wrong)
        self._report.came_to(outcome.kind if isinstance(outcome, Failure) else "obtained")
        return outcome


class TransactionQuestion(Obtaining):
    """What is asked for one inbound request, and what came of it, for as long as that lives."""

    def __init__(self, subject: Credential) -> None:
        super().__init__(subject)
        self._found: Credential | None = None

    @property
    def is_over(self) -> bool:
        """Whether somebody has answered."""
        return self._task is not None and self._task.done()

    def found(self) -> Credential | Failure:
        """Return what came of it, once it is over."""
        if self._found is not None:
            return self._found
        outcome = self.outcome
        if isinstance(outcome, Failure):
            return outcome
        self._found = _credential(outcome)
        return self._found


def _wrong_with(token: ObtainedToken) -> str:
    """Say what makes *token* no transaction token; empty if nothing does."""
    try:
        header, claims = _read(token)
    except (EncodingError, ValueError):
        return "the transaction token is no signed JWT"
    typ = header.get("typ")
    if not isinstance(typ, str) or media_type(typ) != TRANSACTION_TYPE:
        return f"the token's header typ is not {TRANSACTION_TYPE}"
    txn = claims.get("txn")
    return "" if is_plain(txn) and txn else "the transaction token has no txn"


def _credential(token: ObtainedToken) -> Credential:
    """Return *token* as what goes with calls."""
    _, claims = _read(token)
    return Credential(
        Principal("", "", token.subject, claims=claims),
        token.token,
        token.digest,
        token.expires_at,
        token.asked_at,
    )


def _read(token: ObtainedToken) -> tuple[dict[str, object], dict[str, object]]:
    header, claims, _ = token.token.split(b".")
    return json_object(base64url_decode(header)), json_object(base64url_decode(claims))
