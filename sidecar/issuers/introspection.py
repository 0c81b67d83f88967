"""Asking an issuer about a token (RFC 7662, section 2.1), and when not to.

Owns the question: one per token at a time, how many at once, how often, and when the endpoint is
left alone. What an answer means is ``sidecar.core.introspection``; yeses are remembered by
``sidecar.core.verification``, noes here.
"""

import asyncio
import base64
import logging
from collections.abc import Callable
from typing import Final, Literal, Protocol
from urllib.parse import quote_plus

from sidecar.config.model import Discovery, Introspection, Issuer
from sidecar.core.introspection import Answer, AnswerError, read_answer
from sidecar.core.outcome import Denial, Reason
from sidecar.core.verification import Rejected, Verdict, Verified
from sidecar.fetch.client import Fetcher, FetchError, FormAnswer
from sidecar.issuers.endpoints import DiscoveredEndpoint, Endpoint, GivenEndpoint
from sidecar.issuers.refused_tokens import RefusedTokens
from sidecar.issuers.sources import SourceError
from sidecar.resilience.circuit import Circuit, State, Ticket
from sidecar.resilience.rate import Rate
from sidecar.telemetry.introspection import Result

MAX_ANSWER_BYTES: Final = 64 * 1024
"""Real answers have up to a few kilobytes."""

Condition = Literal["well", "unauthorized", "failing"]

_log = logging.getLogger("sidecar.issuers")


class IntrospectionReport(Protocol):
    """Where questions and the state of the circuit are counted."""

    def came_to(self, result: Result) -> None: ...
    def took(self, seconds: float) -> None: ...
    def circuit_changed(self, state: State) -> None: ...


class Judge(Protocol):
    """Says what an answer means for a token, and remembers a yes."""

    def __call__(self, token: bytes, answer: Answer, *, asked_at: float, now: float) -> Verdict: ...


class Inquiry:
    """One question, shared by everybody who waits for what the issuer says of one token."""

    def __init__(self, task: asyncio.Task[Verified | Rejected]) -> None:
        self._task = task

    async def settled(self) -> None:
        """Return when the verdict is there; whoever leaves early ends it for nobody."""
        await asyncio.wait((self._task,))

    @property
    def verdict(self) -> Verified | Rejected:
        """What came of it, once it is settled."""
        if self._task.cancelled() or self._task.exception() is not None:
            return _unavailable("the question was given up")
        return self._task.result()


class _NoAnswerError(Exception):
    """No usable answer came. *counts*: the endpoint is to blame, whatever the token is."""

    def __init__(self, result: Result, cause: str, *, counts: bool = True) -> None:
        super().__init__(cause)
        self.result: Result = result
        self.counts = counts


class IntrospectionClient:
    """Asks one issuer about tokens.

    Callers choose the tokens, so what they can make us do is bounded: one question per token at
    a time, ``max_concurrent`` questions under way and ``max_waiting`` for their turn,
    ``max_rate`` a second, none while the circuit is open. What is over a bound is 503 for the
    token in question; tokens that are known need no question and are not touched.
    """

    def __init__(
        self,
        issuer: Issuer,
        asked: Introspection,
        *,
        fetch: Fetcher,
        judge: Judge,
        withdrawn: Callable[[bytes], None],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        report: IntrospectionReport,
    ) -> None:
        """*judge* is given each answer; *withdrawn* each token that turned out not to be good.

        *clock* is monotonic, *wall_clock* says seconds since the epoch.
        """
        self._name = issuer.name
        self._asked = asked
        self._allow_plaintext = issuer.allow_plaintext
        self._ca = issuer.ca
        self._fetch = fetch
        self._judge = judge
        self._withdrawn = withdrawn
        self._clock = clock
        self._wall_clock = wall_clock
        self._report = report
        self._condition: Condition = "well"
        self._last_cause = ""
        self._endpoint = _endpoint_of(issuer, asked, fetch, clock)
        self._refused = RefusedTokens(
            max_entries=asked.cache.max_entries, seconds=asked.cache.negative_seconds
        )
        self._circuit = Circuit(clock=clock, changed=self._circuit_changed)
        self._rate = Rate(asked.max_rate, clock=clock)
        self._turns = asyncio.Semaphore(asked.max_concurrent)
        self._under_way: dict[bytes, asyncio.Task[Verified | Rejected]] = {}

    def ask(self, token: bytes) -> Inquiry | Denial:
        """Join the question about *token* or start one; a denial says that none is asked."""
        known = self._refused.get(token, now=self._clock())
        if known is not None:
            self._report.came_to("known_inactive")
            return known
        task = self._under_way.get(token)
        if task is None:
            started = self._start(token)
            if isinstance(started, Denial):
                return started
            task = started
        return Inquiry(task)

    async def close(self) -> None:
        """Give up every question; whoever waits for one is answered."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _start(self, token: bytes) -> asyncio.Task[Verified | Rejected] | Denial:
        most = self._asked.max_concurrent + self._asked.max_waiting
        if len(self._under_way) >= most:
            return self._limited(f"{most} questions are under way (max_waiting)").denial
        # Before the circuit: leave for a probe must not be taken and then not used.
        if not self._rate.take():
            return self._limited(f"over {self._asked.max_rate} a second (max_rate)").denial
        ticket = self._circuit.admit()
        if ticket is None:
            return self._left_alone().denial
        task = asyncio.create_task(self._settle(token, ticket), name=f"token of {self._name}")
        self._under_way[token] = task
        task.add_done_callback(lambda task: self._ended(token, task))
        return task

    def _ended(self, token: bytes, task: asyncio.Task[Verified | Rejected]) -> None:
        del self._under_way[token]
        if not task.cancelled() and (defect := task.exception()) is not None:
            # Whoever waits is refused; that something is wrong with us must be seen.
            _log.error("issuer %s: introspection broke", self._name, exc_info=defect)

    async def _settle(self, token: bytes, ticket: Ticket) -> Verified | Rejected:
        try:
            try:
                async with asyncio.timeout(self._asked.timeout_seconds):
                    await self._turns.acquire()
            except TimeoutError:
                return self._limited("no turn came within `timeout` (max_concurrent)")
            try:
                if not self._circuit.holds(ticket):  # it opened meanwhile
                    return self._left_alone()
                return await self._put(token, ticket)
            finally:
                self._turns.release()
        finally:
            self._circuit.abandoned(ticket)  # says nothing after a result

    async def _put(self, token: bytes, ticket: Ticket) -> Verified | Rejected:
        asked_at, began = self._wall_clock(), self._clock()
        try:
            answer = await self._answer(token)
        except _NoAnswerError as error:
            self._report.took(self._clock() - began)
            return self._failed(error, ticket)
        self._report.took(self._clock() - began)
        self._circuit.succeeded(ticket)
        if self._condition == "unauthorized":
            self._enter("well")
        return self._decide(token, answer, asked_at)

    async def _answer(self, token: bytes) -> Answer:
        try:
            url = await self._endpoint.url()
            answer = await self._fetch.post_form(
                url,
                self._form(token),
                authorization=self._authorization(),
                max_bytes=MAX_ANSWER_BYTES,
                timeout_seconds=self._asked.timeout_seconds,
                allow_plaintext=self._allow_plaintext,
                named_by=self._endpoint.named_by,
                ca=self._ca,
            )
            return read_answer(_usable(answer))
        except FetchError as error:
            raise _NoAnswerError(error.kind, str(error)) from None
        except (SourceError, AnswerError) as error:
            raise _NoAnswerError("invalid_answer", str(error)) from None

    def _form(self, token: bytes) -> list[tuple[str, str]]:
        form = [("token", token.decode("ascii")), ("token_type_hint", "access_token")]
        if self._asked.auth == "client_secret_post":
            form += [
                ("client_id", self._asked.client_id),
                ("client_secret", self._asked.client_secret),
            ]
        return form

    def _authorization(self) -> str | None:
        if self._asked.auth != "client_secret_basic":
            return None
        # Both halves are form-encoded before they are joined (RFC 6749, section 2.3.1).
        pair = f"{quote_plus(self._asked.client_id)}:{quote_plus(self._asked.client_secret)}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def _decide(self, token: bytes, answer: Answer, asked_at: float) -> Verified | Rejected:
        match self._judge(token, answer, asked_at=asked_at, now=self._wall_clock()):
            case Verified() as verified:
                self._report.came_to("active")
                return verified
            case Rejected() as rejected:
                pass
            case _:  # its key left the set while its issuer was asked
                rejected = Rejected(Denial(Reason.KEY_UNKNOWN, "its key was withdrawn meanwhile"))
        self._report.came_to("inactive" if not answer.active else "refused")
        self._refused.add(token, rejected.denial, now=self._clock())
        self._withdrawn(token)
        return rejected

    def _failed(self, error: _NoAnswerError, ticket: Ticket) -> Rejected:
        self._last_cause = str(error)
        if error.result == "unauthorized":
            self._enter("unauthorized", str(error))
        if error.counts:
            self._circuit.failed(ticket)
        self._report.came_to(error.result)
        return self._rejected(str(error))

    def _limited(self, cause: str) -> Rejected:
        self._report.came_to("limited")
        return self._rejected(cause)

    def _left_alone(self) -> Rejected:
        self._report.came_to("circuit_open")
        return self._rejected("it failed too often just now, and is asked again soon")

    def _rejected(self, cause: str) -> Rejected:
        return _unavailable(f"issuer {self._name}: introspection: {cause}")

    def _circuit_changed(self, state: State) -> None:
        self._report.circuit_changed(state)
        if state == "open" and self._condition == "well":
            self._enter("failing", "it failed several times in a row, last: " + self._last_cause)
        elif state == "closed":
            self._enter("well")

    def _enter(self, condition: Condition, cause: str = "") -> None:
        """Say once what the operator should know, when it changes."""
        if condition == self._condition:
            return
        self._condition = condition
        match condition:
            case "well":
                _log.info("issuer %s: introspection works again", self._name)
            case "unauthorized":
                _log.error(
                    "issuer %s: the introspection endpoint does not accept our client (%s):"
                    " check client_id, client_secret and auth under introspection, and whether"
                    " this client may introspect; unknown tokens are refused with 503",
                    self._name,
                    cause,
                )
            case "failing":
                _log.warning(
                    "issuer %s: introspection: %s; unknown tokens are refused with 503",
                    self._name,
                    cause,
                )


def _endpoint_of(
    issuer: Issuer, asked: Introspection, fetch: Fetcher, clock: Callable[[], float]
) -> Endpoint:
    if asked.url is not None:
        return GivenEndpoint(asked.url)
    assert isinstance(issuer.keys, Discovery)  # else the configuration is refused
    return DiscoveredEndpoint(
        issuer.keys.url,
        fetch,
        issuer=issuer.issuer,
        allow_plaintext=issuer.allow_plaintext,
        ca=issuer.ca,
        clock=clock,
    )


def _usable(answer: FormAnswer) -> bytes:
    """Return the content of an answer about a token. Raises ``_NoAnswerError``."""
    status = answer.status
    if status == 200:
        return answer.content
    cause = f"the endpoint answered with status {status}"
    if status in (401, 403):
        raise _NoAnswerError("unauthorized", cause)
    # What it dislikes may be the token, which its sender chose: no reason to leave it alone.
    raise _NoAnswerError("http_error", cause, counts=status != 400)


def _unavailable(cause: str) -> Rejected:
    return Rejected(Denial(Reason.INTROSPECTION_UNAVAILABLE, cause))
