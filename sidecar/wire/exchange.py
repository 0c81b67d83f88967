"""What the wire asks of those who decide, and what they may answer.

The wire carries bytes between two connections; whether it may, and with which header lines, an
``Exchange`` says. One exchange is one request and its response.
"""

from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import Final, Protocol

from sidecar.core.outcome import Reason
from sidecar.wire.deadlines import NEVER
from sidecar.wire.heads import RequestHead, ResponseHead
from sidecar.wire.pool import Pool

CLIENT_GONE: Final = 499
"""Status in metrics and logs when the caller left before an answer was begun."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete response written by us."""

    status: int
    lines: bytes
    """Field lines, each with CRLF, without framing, ``Date`` and ``Connection``."""
    body: bytes = b""
    close: bool = False


@dataclass(init=False, slots=True)
class Forward:
    """Send the request on. Only an exchange that holds a permit makes one."""

    pool: Final[Pool]
    target: Final[bytes]
    ends_at: Final[float]
    """When the exchange must be over, whatever it is waiting for, in seconds of the monotonic
    clock; it may be ``deadlines.PUNCTUAL_SECONDS`` late. A tunnel lasts as long as it likes."""
    replay_bytes: Final[int]
    """How much of the content is kept after it was sent, for ``Exchange.again``."""

    def __init__(
        self, pool: Pool, target: bytes, ends_at: float = NEVER, replay_bytes: int = 0
    ) -> None:
        self.pool = pool
        self.target = target
        self.ends_at = ends_at
        self.replay_bytes = replay_bytes


@dataclass(frozen=True, slots=True)
class Pending:
    """The decision needs I/O: await this, then ask ``resume``."""

    wait: Awaitable[None] = field(repr=False)
    ends_at: float = NEVER
    """When the wait is over in any case, as in ``Forward``."""


Action = Answer | Forward | Pending


@dataclass(init=False, slots=True)
class Timing:
    """When things happened, in seconds of the monotonic clock; 0.0 means not yet."""

    started: float
    """The head was complete."""
    sent: float
    """The request's head was written upstream."""
    answered: float
    """The response's head arrived."""
    relayed: float
    """The response's head was written downstream."""
    ended: float

    def __init__(
        self,
        started: float,
        sent: float = 0.0,
        answered: float = 0.0,
        relayed: float = 0.0,
        ended: float = 0.0,
    ) -> None:
        self.started = started
        self.sent = sent
        self.answered = answered
        self.relayed = relayed
        self.ended = ended

    @property
    def duration(self) -> float:
        """From the complete request head to the end of the response, in seconds."""
        return self.ended - self.started

    @property
    def overhead(self) -> float:
        """What we added: until the head was sent, and from the answer's head to passing it on.

        Opening a connection and waiting for keys count as ours; an answer of our own is all ours.
        """
        if not self.sent:
            return self.ended - self.started
        return self.sent - self.started + self.relayed - self.answered


class Exchange(Protocol):
    """One request on its way through. Every method returns at once and never raises."""

    def start(self) -> Action:
        """Decide."""
        ...

    def resume(self) -> Action:
        """Decide again, after the wait of a ``Pending`` ended."""
        ...

    def commit(self) -> bytes | Answer:
        """Check once more and give our header lines, just before the head is written.

        Asked before every attempt: again, when a request is repeated (``sidecar.wire.delivery``).
        """
        ...

    def again(self, head: ResponseHead) -> Action | None:
        """A 401 came, of which the caller knows nothing yet: what to do instead of passing it on.

        Asked at most once, and only if the request was sent whole and can be sent once more: it
        has no content, or all of it is kept (``Forward.replay_bytes``).
        """
        ...

    def respond(self, head: ResponseHead) -> None:
        """Drop what must not go back to the caller, from interim answers and trailers too."""
        ...

    def fail(self, reason: Reason, detail: str) -> Answer:
        """Forwarding failed before a response was begun: say so."""
        ...

    def finish(self, status: int, timing: Timing, fault: Reason | None, *, whole: bool) -> None:
        """It is over; called exactly once. *fault*: the relay broke after the head was sent.

        *whole*: an answer was passed on to its end, and nobody left before.
        """
        ...


class Handler(Protocol):
    """Makes an exchange of each request that a listener receives."""

    def begin(self, head: RequestHead, peer: str) -> Exchange:
        """*peer* is the address of whoever is connected."""
        ...

    def malformed(self, reason: Reason, detail: str) -> Answer:
        """The bytes were not a request; the connection closes after this answer."""
        ...
