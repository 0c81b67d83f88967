"""Obtained tokens that pods share through Redis, so that each does not ask for its own.

Owns that Redis is never needed: what is slow, gone or odd there is a token not found, within a
small timeout, and after some failures nobody asks for a while. What a value may be used for is
checked again after it was read, as if it had come from a server nobody trusts; its form is
``sidecar.credentials.sealed_tokens``'s.

There is no lock across pods: each asks once at most for what none has stored, which is as many
questions as pods, once per lifetime of a token. A lock would have every pod wait for one.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

from sidecar.config import model
from sidecar.core.obtained import ObtainedToken
from sidecar.core.principal import Credential
from sidecar.core.token_answer import TokenAnswerError, read_token
from sidecar.core.token_request import TokenRequest
from sidecar.credentials.sealed_tokens import MAX_VALUE_BYTES, Seal, SealError
from sidecar.credentials.withdrawals import MAX_SKEW_SECONDS, Withdrawals
from sidecar.resilience.circuit import Circuit, Ticket
from sidecar.telemetry.shared_tokens import Result, SharedTokenMetrics

if TYPE_CHECKING:
    from redis.asyncio import Redis

MAX_LOOKS: Final = 256
"""At once; what is over it is obtained without looking."""
MAX_WRITES: Final = 64
"""At once, deletions included; what is over it is not stored, or ends with its lifetime."""
MAX_CONNECTIONS: Final = 16
LEAST_LIFE_SECONDS: Final = 5.0
"""What ends sooner is not worth sharing."""
LONGEST_LIFE_SECONDS: Final = 7 * 86400.0
"""Nor what ends later, which says that somebody has counted in milliseconds, or never."""

_log = logging.getLogger("sidecar.tokens")


class SharedTokens:
    """Tokens in one Redis, for those who hold the same key."""

    def __init__(
        self,
        configured: model.SharedTokens,
        *,
        withdrawals: Withdrawals,
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        report: SharedTokenMetrics,
    ) -> None:
        """*clock* is monotonic, *wall_clock* says seconds since the epoch."""
        self._timeout_seconds = configured.timeout_seconds
        self._withdrawals = withdrawals
        self._wall_clock = wall_clock
        self._report = report
        self._seal = Seal(configured.keys, configured.prefix)
        self._redis = _client(configured)
        self._circuit = Circuit(clock=clock, changed=report.circuit_changed)
        self._looks = 0
        self._writes: set[asyncio.Task[None]] = set()
        self._is_down = False
        self._told_odd: set[str] = set()

    async def find(
        self, key: bytes, request: TokenRequest, subject: Credential | None
    ) -> ObtainedToken | None:
        """Return the token of *key*, where one is there that may be used for *subject*."""
        if self._looks >= MAX_LOOKS:
            self._report.came_to("limited")
            return None
        self._looks += 1
        try:
            names = self._seal.names(key)
            values = await self._ask(lambda redis: _values(redis, names))
        finally:
            self._looks -= 1
        if values is None:
            return None
        for name, value in zip(names, values, strict=True):
            if value is not None:
                return self._judged(key, name, value, request, subject)
        self._report.came_to("absent")
        return None

    def keep(self, key: bytes, subject: Credential | None, token: ObtainedToken) -> None:
        """Store *token* for other pods, in the background."""
        life = token.expires_at - self._wall_clock()
        if LEAST_LIFE_SECONDS <= life <= LONGEST_LIFE_SECONDS:
            self._write(self._store(key, subject, token, int(life * 1000)))

    def forget(self, key: bytes, token: ObtainedToken) -> None:
        """Delete *token*, unless another one is stored in its place, in the background."""
        self._write(self._delete_this(key, token))

    def delete(self, keys: set[bytes]) -> None:
        """Delete what is stored of *keys*, in the background.

        For tidiness: a Redis that is down keeps its values to their end, and they are not read.
        """
        self._write(self._delete([name for key in keys for name in self._seal.names(key)]))

    async def close(self) -> None:
        """Give up what is under way, and every connection."""
        for task in self._writes:
            task.cancel()
        if self._writes:
            await asyncio.wait(self._writes)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._redis.aclose(close_connection_pool=True)
        except Exception as error:  # whatever the library makes of a peer that is gone
            _log.debug("shared tokens: closing: %s", type(error).__name__)

    # --- what was read ---

    def _judged(
        self,
        key: bytes,
        name: bytes,
        value: bytes,
        request: TokenRequest,
        subject: Credential | None,
    ) -> ObtainedToken | None:
        try:
            token = self._seal.open(key, name, value)
        except SealError as error:
            self._odd("unreadable", str(error))
            return None
        now = self._wall_clock()
        if token.asked_at > now + MAX_SKEW_SECONDS:
            self._odd("too_new", "was obtained in the future; do the pods' clocks agree?")
            return None
        if now >= token.expires_at:
            self._report.came_to("expired")
            return None
        if subject is not None and self._withdrawals.covers(subject.digest, token.asked_at):
            self._report.came_to("withdrawn")
            return None
        if not _fits(token, request, subject):
            self._odd("mismatch", "does not say what was asked for")
            return None
        self._report.came_to("found")
        return token

    def _odd(self, result: Result, cause: str) -> None:
        self._report.came_to(result)
        if result not in self._told_odd:  # once per kind: Redis may hold any number of them
            self._told_odd.add(result)
            _log.warning("shared tokens: a value in Redis %s; it is not used", cause)

    # --- what is written ---

    def _write(self, work: Coroutine[Any, Any, None]) -> None:
        if len(self._writes) >= MAX_WRITES:
            work.close()
            self._report.came_to("limited")
            return
        task = asyncio.get_running_loop().create_task(work, name="shared tokens")
        self._writes.add(task)
        task.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        self._writes.discard(task)
        if not task.cancelled() and (defect := task.exception()) is not None:
            _log.error("shared tokens: writing broke", exc_info=defect)

    async def _store(
        self, key: bytes, subject: Credential | None, token: ObtainedToken, milliseconds: int
    ) -> None:
        name, value = self._seal.close(key, token)
        if len(value) > MAX_VALUE_BYTES or self._is_withdrawn(subject, token):
            return
        if await self._ask(lambda redis: redis.set(name, value, px=milliseconds)) is None:
            return
        self._report.came_to("stored")
        if self._is_withdrawn(subject, token):  # and deleted before it was there
            await self._delete([name])

    def _is_withdrawn(self, subject: Credential | None, token: ObtainedToken) -> bool:
        return subject is not None and self._withdrawals.covers(subject.digest, token.asked_at)

    async def _delete(self, names: list[bytes]) -> None:
        if await self._ask(lambda redis: redis.delete(*names)) is not None:
            self._report.came_to("deleted")

    async def _delete_this(self, key: bytes, token: ObtainedToken) -> None:
        names = self._seal.names(key)
        values = await self._ask(lambda redis: _values(redis, names)) or []
        same = [
            name
            for name, value in zip(names, values, strict=False)
            if value is not None and self._is(token, key, name, value)
        ]
        if same:
            await self._delete(same)

    def _is(self, token: ObtainedToken, key: bytes, name: bytes, value: bytes) -> bool:
        try:
            return self._seal.open(key, name, value).digest == token.digest
        except SealError:
            return False

    # --- Redis ---

    async def _ask(self, command: "Callable[[Redis], Any]") -> Any:
        """Return what *command* gives, ``None`` if Redis gives nothing in time."""
        ticket = self._circuit.admit()
        if ticket is None:
            self._report.came_to("circuit_open")
            return None
        try:
            async with asyncio.timeout(self._timeout_seconds):
                answer = await command(self._redis)
        except asyncio.CancelledError:
            self._circuit.abandoned(ticket)
            raise
        except Exception as error:  # whatever the library makes of what a peer says
            self._failed(error, ticket)
            return None
        self._circuit.succeeded(ticket)
        if self._is_down:
            self._is_down = False
            _log.info("shared tokens: Redis answers again")
        return answer

    def _failed(self, error: Exception, ticket: Ticket) -> None:
        self._circuit.failed(ticket)
        self._report.came_to("unavailable")
        if not self._is_down:
            self._is_down = True
            _log.warning(
                "shared tokens: Redis does not answer as it should (%s); tokens are obtained "
                "without it meanwhile",
                _cause(error),
            )


def _client(configured: model.SharedTokens) -> "Redis":
    """Return a client that connects when it is first asked, and tries nothing twice."""
    # 0.15 s and 8 MiB, which only those pay who share.
    from redis.asyncio import (
        BlockingConnectionPool,
        Connection,
        Redis,
        SSLConnection,
        UnixDomainSocketConnection,
    )
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    server = configured.redis
    kind: type[Any] = Connection
    where: dict[str, Any] = {"host": server.host, "port": server.port}
    if server.path:
        kind, where = UnixDomainSocketConnection, {"path": server.path}
    elif server.is_tls:
        kind = SSLConnection
        where |= {
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "ssl_ca_certs": configured.ca,
        }
    pool: Any = BlockingConnectionPool(
        connection_class=kind,
        max_connections=MAX_CONNECTIONS,
        timeout=configured.timeout_seconds,
        username=configured.username or None,
        password=configured.password or None,
        db=server.database,
        protocol=2,
        socket_timeout=configured.timeout_seconds,
        socket_connect_timeout=configured.timeout_seconds,
        retry=Retry(NoBackoff(), 0),
        driver_info=None,  # or an ACL would have to allow CLIENT
        **where,
    )
    return Redis(connection_pool=pool)


async def _values(redis: "Redis", names: list[bytes]) -> list[bytes | None]:
    """Return what lies under each of *names*, no more of it than a value of ours may have."""
    async with redis.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.getrange(name, 0, MAX_VALUE_BYTES)
        found = await pipeline.execute(raise_on_error=False)
    # Another type of value (WRONGTYPE) is none of ours; other errors are those of the server.
    for each in found:
        if isinstance(each, Exception) and not str(each).startswith("WRONGTYPE"):
            raise each
    return [each if isinstance(each, bytes) and each else None for each in found]


def _cause(error: Exception) -> str:
    """Name what went wrong; the words of a server could hold anything."""
    return type(error).__name__


def _fits(token: ObtainedToken, request: TokenRequest, subject: Credential | None) -> bool:
    """Whether *token* is what *request* asked for, judged as the answer that it came in was."""
    answer = {
        "access_token": token.token.decode("ascii"),
        "token_type": "Bearer",
        "issued_token_type": token.issued_type,
        "expires_in": token.expires_at - token.asked_at,
    }
    name = None if subject is None else subject.principal.subject
    try:
        again = read_token(
            json.dumps(answer).encode(), request, subject=name, asked_at=token.asked_at
        )
    except TokenAnswerError:
        return False
    return (
        (again.subject, again.actor, again.issued_type)
        == (token.subject, token.actor, token.issued_type)
        # It is written as a difference, and what an end says it says in seconds.
        and abs(again.expires_at - token.expires_at) < 1
    )
