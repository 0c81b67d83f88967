"""A handler that permits everything, or does what the test says, and remembers what happened."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sidecar.core.outcome import Reason
from sidecar.wire.exchange import Action, Answer, Forward, Timing
from sidecar.wire.fields import FIRST_APPLICATION_MARK
from sidecar.wire.heads import RequestHead, ResponseHead
from sidecar.wire.pool import Pool

SECRET = FIRST_APPLICATION_MARK
"""Mark of the one field name that the fake application keeps to itself."""


def classify(lower_name: bytes) -> int:
    """``x-secret`` is removed on the way in and on the way back, whoever wrote it."""
    return SECRET if lower_name == b"x-secret" else 0


@dataclass(frozen=True)
class Finished:
    """What ``finish`` was told."""

    status: int
    fault: Reason | None
    timing: Timing


class FakeExchange:
    """Forwards, unless its handler says otherwise."""

    def __init__(self, handler: "FakeHandler", head: RequestHead) -> None:
        self.handler = handler
        self.head = head
        self.commits = 0
        self.agains: list[int] = []
        self.failures: list[Reason] = []
        self.details: list[str] = []
        self.finished: list[Finished] = []

    def start(self) -> Action:
        for mark, index, _ in self.head.marked:
            if mark == SECRET:
                self.head.lines[index] = b""
        return self.handler.decide(self)

    def resume(self) -> Action:
        return self.handler.decide_again(self)

    def forward(self) -> Forward:
        return Forward(self.handler.pool, self.head.target)

    def commit(self) -> bytes | Answer:
        self.commits += 1
        self.handler.before_commit()
        return self.handler.commit(self)

    def again(self, head: ResponseHead) -> Action | None:
        self.agains.append(head.status)
        return self.handler.again(self)

    def respond(self, head: ResponseHead) -> None:
        head.drop(SECRET)
        if self.handler.unwanted:
            head.lines[:] = [line for line in head.lines if self.handler.unwanted not in line]

    def fail(self, reason: Reason, detail: str) -> Answer:
        self.failures.append(reason)
        self.details.append(detail)
        return refusal(reason)

    def finish(self, status: int, timing: Timing, fault: Reason | None, *, whole: bool) -> None:
        self.finished.append(Finished(status, fault, timing))


class FakeHandler:
    """Every decision is an attribute that a test may replace."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.exchanges: list[FakeExchange] = []
        self.malformed_for: list[Reason] = []
        self.unwanted = b""
        """What no field of an answer may contain."""
        self.decide: Callable[[FakeExchange], Action] = FakeExchange.forward
        self.decide_again: Callable[[FakeExchange], Action] = FakeExchange.forward
        self.commit: Callable[[FakeExchange], bytes | Answer] = own_lines
        self.again: Callable[[FakeExchange], Action | None] = lambda _exchange: None
        self.before_commit: Callable[[], None] = lambda: None

    def begin(self, head: RequestHead, peer: str) -> FakeExchange:
        exchange = FakeExchange(self, head)
        self.exchanges.append(exchange)
        return exchange

    def malformed(self, reason: Reason, detail: str) -> Answer:
        self.malformed_for.append(reason)
        return refusal(reason)

    @property
    def results(self) -> list[tuple[int, Reason | None]]:
        """Status and fault of every exchange that is over, in the order they began."""
        return [
            (finished.status, finished.fault)
            for exchange in self.exchanges
            for finished in exchange.finished
        ]

    def wrongly_finished(self) -> Iterable[FakeExchange]:
        """Exchanges that were not finished exactly once."""
        return [each for each in self.exchanges if len(each.finished) != 1]


def own_lines(exchange: FakeExchange) -> bytes:
    """One line of ours, and a Host for a request that has none."""
    host = b"" if exchange.head.host else b"host: origin\r\n"
    return b"x-permit: yes\r\n" + host


def refusal(reason: Reason) -> Answer:
    """An answer of our own whose field says why."""
    return Answer(
        reason.facts.status, b"x-reason: %b\r\n" % reason.code.encode(), reason.code.encode()
    )
