"""One request's way to the other side: connection, last check, head and content, and once more.

Owns the content that is held and when a request is repeated. Deciding belongs to an ``Exchange``,
what comes back and how an exchange ends to ``sidecar.wire.downstream``.

**A request is repeated once, on a fresh connection,** if the connection it was written to had been
idle before and ended before a byte of an answer (a server closes idle connections when it likes,
also while a request is on its way), and only if

- its method is idempotent (RFC 9110, 9.2.2: GET, HEAD, OPTIONS, PUT, DELETE), because the server
  may have carried it out; and
- all of its content that has arrived is still held: none of it was streamed on after the head.

Any other method (POST, PATCH, whatever an app invents) is never written twice. For those an idle
connection is looked at before it is used: one whose close has reached us, or that has anything to
be read, is passed over. What remains is a close that crosses with the request: 502, since nobody
can tell whether the request was carried out.

**A request is sent once more after a 401** if its exchange wants that (``Exchange.again``), its
method whatever it is: who answers 401 has not carried it out. That takes a request that was sent
whole, and all of whose content is still held: it may be streamed on after the head, and is kept
besides, up to ``Forward.replay_bytes``. The caller sees nothing of the first answer.

**A connection is tried again** up to ``connect_retries`` times, after a pause that is longer each
time and of which a random part is made (full jitter): where there is none, nothing was sent. One
that was not made in time is tried again only where ``Forward.ends_at`` bounds all of it.

Every attempt goes through ``Exchange.commit``: what has ended or expired meanwhile is not sent.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Final, cast

from sidecar.core.outcome import Reason
from sidecar.wire.connecting import is_lasting
from sidecar.wire.deadlines import NEVER
from sidecar.wire.exchange import Action, Answer, Exchange, Forward, Pending, Timing
from sidecar.wire.heads import RequestHead, ResponseHead
from sidecar.wire.pacing import COMPLETE, MAX_HELD_BYTES
from sidecar.wire.pool import Pool, PoolFullError
from sidecar.wire.reception import RequestReception
from sidecar.wire.upstream import Requester, UpstreamConnection

if TYPE_CHECKING:
    from sidecar.wire.listener import Listener

IDEMPOTENT: Final = frozenset((b"GET", b"HEAD", b"OPTIONS", b"PUT", b"DELETE"))
"""Methods that may be carried out twice (RFC 9110, 9.2.2); TRACE is not served."""

FIRST_PAUSE_SECONDS: Final = 0.05
"""At most so long before a connection is tried for the second time; then twice that, and so on."""
_EVERY_CONNECTION_BUSY: Final = "every connection to the app or destination is busy"


class Ending:
    """Ends the exchange of *delivery* at *deadline*, whatever it is doing then."""

    def __init__(self, delivery: "Delivery", deadline: float) -> None:
        self._delivery = delivery
        self.deadline = deadline

    def expire(self, now: float) -> None:  # noqa: ARG002
        self.deadline = NEVER
        self._delivery.end_overdue()


class Delivery(RequestReception):
    """Carries out what an exchange decides, as far as the other side is concerned.

    What is built on it is the ``Requester`` of the connection it chooses.
    """

    def __init__(self, listener: "Listener") -> None:
        super().__init__(listener)
        # of the exchange in progress
        self._exchange: Exchange | None = None
        self._head: RequestHead
        self._timing: Timing
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._pool: Pool
        self._target = b""
        self._last = False
        self._repeatable = False
        """Nothing would be lost or done wrongly by writing the request once more."""
        self._replay_bytes = 0
        """How much content may be held besides sending it; above 0, all that came is held."""
        self._was_refused = False
        self._instead: Action | None = None
        """The exchange was asked about a 401."""
        self._ending: Ending | None = None
        self._upstream: UpstreamConnection | None = None
        self._waiting: asyncio.Task[None] | None = None

    @abstractmethod
    def _answer(self, answer: Answer) -> None:
        """Write an answer of our own; that ends the exchange."""

    @abstractmethod
    def end_overdue(self) -> None:
        """The exchange may not last any longer."""

    def _hold(self, data: bytes) -> None:
        if data:
            self._held.append(data)
            self._held_bytes += len(data)
            if self._held_bytes > MAX_HELD_BYTES:
                self._pause()

    def _let_go(self) -> None:
        """What was held is not needed any more: the request cannot be repeated."""
        self._repeatable = False
        self._replay_bytes = 0
        if self._held:
            self._held.clear()
            self._held_bytes = 0

    def _stream(self, upstream: UpstreamConnection, data: bytes) -> None:
        """Send on what came after the head was sent."""
        if self._repeatable or self._replay_bytes:
            self._repeatable = False
            if self._held_bytes + len(data) > self._replay_bytes:
                self._let_go()
            else:
                self._held.append(data)
                self._held_bytes += len(data)
        upstream.write(data)

    def _act(self, action: Action) -> None:
        kind = action.__class__
        if kind is Forward:
            action = cast(Forward, action)
            if action.ends_at != NEVER or self._ending is not None:
                self._end_at(action.ends_at)
            self._replay_bytes = 0 if self._was_refused else action.replay_bytes
            pool = self._pool = action.pool
            head = self._head
            self._target = action.target
            self._last = head.has_content and not pool.reuse_after_content
            self._repeatable = head.method in IDEMPOTENT
            upstream = pool.take() if self._repeatable else pool.take_quiet()
            if upstream is not None:
                self._send(upstream)
            elif pool.is_full:
                self._fail(Reason.OVERLOADED, _EVERY_CONNECTION_BUSY)
            else:
                self._wait(self._connect(pool))
        elif kind is Answer:
            self._answer(cast(Answer, action))
        else:
            action = cast(Pending, action)
            self._end_at(action.ends_at)
            self._wait(self._await_decision(action))

    def _end_at(self, ends_at: float) -> None:
        deadlines = self._listener.deadlines
        if self._ending is not None:
            deadlines.discard_punctual(self._ending)
            self._ending = None
        if ends_at != NEVER:
            self._ending = Ending(self, ends_at)
            deadlines.add_punctual(self._ending)

    def _fail(self, reason: Reason, detail: str) -> None:
        if self._exchange is not None:
            self._answer(self._exchange.fail(reason, detail))

    def _wait(self, work: Coroutine[None, None, None]) -> None:
        self._waiting = asyncio.get_running_loop().create_task(self._guarded(work))

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Exception as error:
            # A fault of ours: nothing is forwarded, and the caller does not wait for ever.
            asyncio.get_running_loop().call_exception_handler(
                {"message": "waiting for a request's decision or connection", "exception": error}
            )
            self._transport.abort()

    async def _await_decision(self, pending: Pending) -> None:
        await pending.wait
        self._waiting = None
        if self._exchange is not None:
            self._act(self._exchange.resume())

    async def _connect(self, pool: Pool) -> None:
        retries = pool.limits.connect_retries
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            try:
                upstream = await pool.open()
            except PoolFullError:
                problem = Reason.OVERLOADED, _EVERY_CONNECTION_BUSY
                retries = 0
            except TimeoutError:
                problem = Reason.UPSTREAM_TIMEOUT, "no connection in time"
                if self._ending is None:
                    retries = 0
            except OSError as error:
                problem = Reason.UPSTREAM_UNREACHABLE, describe(error)
                if is_lasting(error):
                    retries = 0
            else:
                self._waiting = None
                self._send(upstream)
                return
            if retries <= 0:
                break
            retries -= 1
            await asyncio.sleep(pause_seconds * pool.jitter())
            pause_seconds *= 2
            pool.connect_retried()
        self._waiting = None
        self._fail(*problem)

    def _send(self, upstream: UpstreamConnection) -> None:
        """Check once more, then write head and held content in one piece."""
        exchange = self._exchange
        assert exchange is not None
        lines = exchange.commit()
        if isinstance(lines, Answer):
            upstream.release()
            self._answer(lines)
            return
        data = self._head.serialize(self._target, lines, close=self._last)
        if self._held:
            data += b"".join(self._held)
        self._repeatable = self._repeatable and upstream.was_idle
        if self._held_bytes > self._replay_bytes:
            self._replay_bytes = 0
            if not self._repeatable:
                self._let_go()
        self._upstream = upstream
        upstream.send(cast(Requester, self), data, last=self._last)
        now = self._listener.clock()
        self._timing.sent = now
        if self._reading == COMPLETE or self._expecting:
            upstream.expect_response(now)
        if self._paused and not upstream.is_blocked:
            self._unpause()

    def _send_again(self) -> None:
        """Repeat the request; only a fresh connection is surely not about to be closed."""
        self._wait(self._connect(self._pool))

    def asks_again(self, head: ResponseHead) -> bool:
        """Whether the exchange wants something else than the 401 whose *head* came."""
        if (
            self._was_refused
            or self._exchange is None
            or self._reading != COMPLETE
            or (self._head.has_content and not self._replay_bytes)
        ):
            return False
        self._was_refused = True
        self._instead = self._exchange.again(head)
        return self._instead is not None

    def ask_again(self) -> None:
        """The 401 is out of the way: do that instead."""
        action, self._instead = self._instead, None
        self._upstream = None
        if action is not None and self._exchange is not None:
            self._act(action)

    def _stop_work(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if self._upstream is not None:
            self._upstream.abort()
            self._upstream = None


def describe(error: OSError) -> str:
    """One line for the log: what the system said, without addresses of its own making."""
    return (error.strerror or str(error) or type(error).__name__)[:200]
