"""Asking an authorization server for a token, and when not to.

Owns the request: how many at once, how often again, and when the server is left alone. What is
sent and what an answer means is ``sidecar.core``'s; what came is remembered by
``sidecar.credentials.token_source``.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf
from typing import Final, Protocol

from sidecar.config.model import Client
from sidecar.core.obtained import Failure, FailureKind, ObtainedToken
from sidecar.core.principal import Credential
from sidecar.core.token_answer import (
    ErrorAnswer,
    TokenAnswerError,
    read_error,
    read_token,
)
from sidecar.core.token_form import token_form
from sidecar.core.token_request import TokenRequest
from sidecar.credentials.actor_tokens import ActorTokens
from sidecar.credentials.client_authentication import AuthenticationError, ClientAuthentication
from sidecar.credentials.token_endpoint_log import TokenEndpointLog
from sidecar.fetch.client import ClientCertificate, Fetcher, FetchError, FormAnswer
from sidecar.resilience.backoff import pause_seconds
from sidecar.resilience.budget import RetryBudget
from sidecar.resilience.circuit import Circuit, State, Ticket
from sidecar.resilience.retry_after import wait_seconds
from sidecar.telemetry.token_endpoint import Result

MAX_ANSWER_BYTES: Final = 64 * 1024
MAX_ERROR_BYTES: Final = 8 * 1024
LONGEST_WAIT_SECONDS: Final = 60.0
"""However long a server asks to be left alone."""
RATE_LIMITED_SECONDS: Final = 1.0
"""How long it is after 429 if it does not ask for more."""

_log: Final = logging.getLogger("sidecar.credentials")

_AGAIN: Final = frozenset({502, 503, 504})


class EndpointUnknownError(Exception):
    """Nothing says where tokens are asked for. The message is one line."""

    def __init__(self, message: str, *, misconfigured: bool) -> None:
        super().__init__(message)
        self.misconfigured = misconfigured


class Whereabouts(Protocol):
    """Finds the URL of the token endpoint."""

    @property
    def named_by(self) -> str | None:
        """The URL of the document that names it, if any."""

    async def url(self) -> str:
        """Return the URL. Raises ``FetchError`` or ``EndpointUnknownError``."""
        ...


class TokenEndpointReport(Protocol):
    """Where attempts and the state of the circuit are counted."""

    def came_to(self, result: Result) -> None: ...
    def began(self) -> None: ...
    def ended(self, seconds: float) -> None: ...
    def circuit_changed(self, state: State) -> None: ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an endpoint is given to work with."""

    fetch: Fetcher
    clock: Callable[[], float]
    """Monotonic."""
    wall_clock: Callable[[], float]
    """Seconds since the epoch."""
    random: Callable[[], float]
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True, slots=True)
class _Attempt:
    """What came of one: a failure that another one may mend, or not."""

    outcome: ObtainedToken | Failure
    again: bool = False


class TokenEndpoint:
    """Asks for the tokens of one client.

    Every request for a token is safe to repeat, so that it is, a few times, where nothing was
    answered. What many callers together can do to the server is bounded: ``max_concurrent``
    requests under way, ``max_waiting`` for their turn, a fifth of all repeated, none while the
    circuit is open or the server asked to be left alone.
    """

    def __init__(
        self,
        client: Client,
        whereabouts: Whereabouts,
        around: Surroundings,
        *,
        issuer: str = "",
        allow_plaintext: bool = False,
        ca: str | None = None,
        report: TokenEndpointReport,
    ) -> None:
        """*issuer* is the URL of the client's issuer; *allow_plaintext* and *ca* are as it says,
        or the client."""
        self._client = client
        self._whereabouts = whereabouts
        self._fetch = around.fetch
        self._clock = around.clock
        self._wall_clock = around.wall_clock
        self._random = around.random
        self._sleep = around.sleep
        self._allow_plaintext = allow_plaintext
        self._ca = ca
        self._certificate = (
            None
            if client.tls is None
            else ClientCertificate(client.tls.certificate, client.tls.key)
        )
        self._authentication = ClientAuthentication(
            client, issuer=issuer, wall_clock=around.wall_clock
        )
        self._report = report
        self._told = TokenEndpointLog(client, around.clock)
        self._last_cause = ""
        self._circuit = Circuit(clock=around.clock, changed=self._circuit_changed)
        self._turns = asyncio.Semaphore(client.max_concurrent)
        self._waiting = 0
        self._budget = RetryBudget()
        self._alone_until = -inf
        self._actors = ActorTokens(
            client.name, self.ask, clock=around.clock, wall_clock=around.wall_clock
        )
        self._closed = False

    async def ask(
        self, request: TokenRequest, subject: Credential | None, *, ends_at: float = inf
    ) -> ObtainedToken | Failure:
        """Return a token for *request* on behalf of *subject*, or why there is none.

        *ends_at* is monotonic; by then there is an answer. Nothing is raised; whoever is cancelled
        here leaves nothing behind.
        """
        # A turn and every attempt may take all of its time.
        most = self._client.timeout_seconds * (self._client.retries + 2)
        try:
            return await self._obtain(request, subject, min(ends_at, self._clock() + most))
        except Exception:
            # Whoever waits is refused; that something is wrong with us must be seen.
            _log.exception("client %s: asking for a token broke", self._client.name)
            return self._failure("unavailable", "asking for a token broke")

    @property
    def circuit(self) -> State:
        return self._circuit.state

    @property
    def troubles(self) -> tuple[str, ...]:
        """What cannot be had at present, and why, one line each."""
        return self._told.troubles

    async def close(self) -> None:
        """Ask for nothing any more."""
        self._closed = True
        await self._actors.close()

    async def _obtain(
        self, request: TokenRequest, subject: Credential | None, ends_at: float
    ) -> ObtainedToken | Failure:
        try:
            actor_token = await self._actors.token_for(request, ends_at)
        except AuthenticationError as error:
            return self._misconfigured(request, str(error))
        if isinstance(actor_token, Failure):
            return actor_token
        self._budget.called()
        number = 1
        while True:
            attempt = await self._attempt(request, subject, actor_token, ends_at)
            pause = pause_seconds(number, self._random)
            if (
                not attempt.again
                or self._circuit.state == "open"
                or number > self._client.retries
                or self._clock() + pause >= ends_at
                or not self._budget.take()
            ):
                return attempt.outcome
            number += 1
            await self._sleep(pause)

    async def _attempt(
        self, request: TokenRequest, subject: Credential | None, actor_token: str, ends_at: float
    ) -> _Attempt:
        if (failure := self._not_asked(request, subject, ends_at)) is not None:
            return _Attempt(failure)
        # Before the circuit: leave for a probe must not be taken and then not used.
        if self._turns.locked() and self._waiting >= self._client.max_waiting:
            self._report.came_to("limited")
            return _Attempt(self._failure("limited", "too many wait for a token (max_waiting)"))
        ticket = self._circuit.admit()
        if ticket is None:
            return _Attempt(self._circuit_open())
        try:
            if not await self._turn(ends_at):
                self._report.came_to("limited")
                cause = "no turn came in time (max_concurrent)"
                return _Attempt(self._failure("limited", cause))
            try:
                if not self._circuit.holds(ticket):  # it opened meanwhile
                    return _Attempt(self._circuit_open())
                if (failure := self._not_asked(request, subject, ends_at)) is not None:
                    return _Attempt(failure)
                return await self._put(request, subject, actor_token, ends_at, ticket)
            finally:
                self._turns.release()
        finally:
            self._circuit.abandoned(ticket)  # says nothing after a result

    async def _turn(self, ends_at: float) -> bool:
        self._waiting += 1
        try:
            async with asyncio.timeout(self._left(ends_at)):
                await self._turns.acquire()
        except TimeoutError:
            return False
        finally:
            self._waiting -= 1
        return True

    def _left(self, ends_at: float) -> float:
        return min(self._client.timeout_seconds, max(0.0, ends_at - self._clock()))

    def _not_asked(
        self, request: TokenRequest, subject: Credential | None, ends_at: float
    ) -> Failure | None:
        """Say why nobody is asked just now, whatever the circuit says."""
        if self._closed:
            return self._unasked("unavailable", "this configuration is not in force any more")
        if request.grant != "client_credentials":
            if subject is None:
                return self._unasked("subject_expired", "there is no token to ask with")
            if subject.expires_at <= self._wall_clock():
                return self._unasked("subject_expired", "the token to ask with has expired")
        now = self._clock()
        if now >= ends_at:
            return self._unasked("unavailable", "there is no time left to ask for a token")
        if now < self._alone_until:
            self._report.came_to("left_alone")
            cause = "the token endpoint asked to be left alone for a while"
            return self._failure("unavailable", cause, retry_after=self._alone_until - now)
        return None

    async def _put(
        self,
        request: TokenRequest,
        subject: Credential | None,
        actor_token: str,
        ends_at: float,
        ticket: Ticket,
    ) -> _Attempt:
        asked_at, began = self._wall_clock(), self._clock()
        timeout_seconds = self._left(ends_at)
        self._report.began()
        try:
            answer = await self._answer(request, subject, actor_token, began + timeout_seconds)
        except AuthenticationError as error:
            return _Attempt(self._misconfigured(request, str(error)))
        except EndpointUnknownError as error:
            if error.misconfigured:
                return _Attempt(self._misconfigured(request, str(error)))
            return self._failed("http_error", str(error), ticket)
        except FetchError as error:
            if error.kind == "refused_address":
                return _Attempt(self._misconfigured(request, str(error), "refused_address"))
            # Who is given less than half of the usual time says nothing of the server.
            counts = timeout_seconds * 2 >= self._client.timeout_seconds
            return self._failed(
                error.kind, str(error), ticket, again=error.unanswered, counts=counts
            )
        finally:
            self._report.ended(self._clock() - began)
        if answer.status == 200:
            return self._read(answer, request, subject, asked_at, ticket)
        return self._refused(answer, request, subject, actor_token, ticket)

    async def _answer(
        self, request: TokenRequest, subject: Credential | None, actor_token: str, ends_at: float
    ) -> FormAnswer:
        try:
            async with asyncio.timeout(ends_at - self._clock()):
                url = await self._whereabouts.url()
        except TimeoutError:
            cause = "nothing said in time where its token endpoint is"
            raise FetchError(cause, "network_error") from None
        form = token_form(
            request,
            subject_token="" if subject is None else subject.token.decode("ascii"),
            actor_token=actor_token,
        )
        authorization = self._authentication.add_to(form, url)
        return await self._fetch.post_form(
            url,
            form,
            authorization=authorization,
            max_bytes=MAX_ANSWER_BYTES,
            max_error_bytes=MAX_ERROR_BYTES,
            timeout_seconds=max(0.0, ends_at - self._clock()),
            allow_plaintext=self._allow_plaintext,
            named_by=self._whereabouts.named_by,
            ca=self._ca,
            certificate=self._certificate,
        )

    def _read(
        self,
        answer: FormAnswer,
        request: TokenRequest,
        subject: Credential | None,
        asked_at: float,
        ticket: Ticket,
    ) -> _Attempt:
        name = None if subject is None else subject.principal.subject
        try:
            token = read_token(answer.content, request, subject=name, asked_at=asked_at)
        except TokenAnswerError as error:
            self._report.came_to("invalid_answer")
            if error.is_garbage:  # a portal in between, most often, which goes away again
                self._last_cause = str(error)
                self._circuit.failed(ticket)
                return _Attempt(self._failure("unavailable", str(error)))
            self._circuit.succeeded(ticket)
            self._told.invalid(request, str(error))
            return _Attempt(self._failure("invalid_answer", str(error)))
        self._circuit.succeeded(ticket)
        self._report.came_to("success")
        self._told.works(request)
        if request.actor != "none" and token.subject and not token.actor:
            self._told.lacks_actor(request)
        return _Attempt(token)

    def _refused(
        self,
        answer: FormAnswer,
        request: TokenRequest,
        subject: Credential | None,
        actor_token: str,
        ticket: Ticket,
    ) -> _Attempt:
        status = answer.status
        wait = min(wait_seconds(answer.fields, self._wall_clock()), LONGEST_WAIT_SECONDS)
        if status == 429 or (status == 503 and wait > 0):
            return _Attempt(self._leave_alone(status, wait or RATE_LIMITED_SECONDS))
        sent = (
            "" if subject is None else subject.token.decode("ascii"),
            actor_token,
            self._client.client_secret,
        )
        said = read_error(status, answer.content, request, sent=sent)
        if said is None or said.kind == "unavailable":
            cause = f"the token endpoint answered with status {status}"
            # What a 400 dislikes may be the token, which its sender chose: no reason to leave
            # the server alone.
            return self._failed(
                "http_error", cause, ticket, again=status in _AGAIN, counts=status != 400
            )
        self._circuit.succeeded(ticket)
        if said.kind == "misconfigured":
            cause = f"the token endpoint answered {said.code}"
            failure = self._misconfigured(
                request,
                cause,
                code=said.code,
                description=said.description,
                is_about_client=status == 401,
            )
            return _Attempt(failure)
        return _Attempt(self._not_for(request, said))

    def _not_for(self, request: TokenRequest, said: ErrorAnswer) -> Failure:
        self._report.came_to("refused")
        self._told.refused(request, said.code, said.description)
        self._actors.doubt(request)
        return self._failure("refused", f"the token endpoint answered {said.code}", code=said.code)

    def _leave_alone(self, status: int, seconds: float) -> Failure:
        self._alone_until = max(self._alone_until, self._clock() + seconds)
        self._report.came_to("rate_limited")
        cause = f"the token endpoint answered with status {status}"
        self._told.left_alone(cause, seconds)
        return self._failure("unavailable", cause, retry_after=seconds)

    def _failed(
        self,
        result: Result,
        cause: str,
        ticket: Ticket,
        *,
        again: bool = False,
        counts: bool = True,
    ) -> _Attempt:
        self._last_cause = cause
        if counts:
            self._circuit.failed(ticket)
        self._report.came_to(result)
        return _Attempt(self._failure("unavailable", cause), again)

    def _misconfigured(
        self,
        request: TokenRequest,
        cause: str,
        result: Result = "misconfigured",
        *,
        code: str = "",
        description: str = "",
        is_about_client: bool = False,
    ) -> Failure:
        self._report.came_to(result)
        # Keycloak says 400 and invalid_client of an audience that it does not know.
        is_doubtful = code == "invalid_client" and not is_about_client
        self._told.misconfigured(request, cause, code, description, is_doubtful=is_doubtful)
        return self._failure("misconfigured", cause, code=code, is_about_client=is_about_client)

    def _circuit_open(self) -> Failure:
        self._report.came_to("circuit_open")
        cause = "the token endpoint failed too often just now, and is asked again soon"
        return self._failure("circuit_open", cause, retry_after=self._circuit.pause_left() or None)

    def _unasked(self, kind: FailureKind, cause: str) -> Failure:
        self._report.came_to("not_asked")
        return self._failure(kind, cause)

    def _failure(
        self,
        kind: FailureKind,
        cause: str,
        *,
        code: str = "",
        retry_after: float | None = None,
        is_about_client: bool = False,
    ) -> Failure:
        detail = f"client {self._client.name}: {cause}"
        return Failure(kind, detail, retry_after, code, is_about_client)

    def _circuit_changed(self, state: State) -> None:
        self._report.circuit_changed(state)
        if state == "open":
            self._told.failing(self._last_cause)
        elif state == "closed":
            self._told.answers()
