"""What the embedded identity provider does wrong on purpose, and what it was asked.

Owns the switches and the counters. A test switches a fault on, and all off with ``clear``.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from sidecar.testbed.grants import Asked

_KEPT_REQUESTS: Final = 1000


@dataclass(frozen=True, slots=True)
class Status:
    """Answers *code* to everything; *retry_after* as it stands in the field of that name."""

    code: int
    retry_after: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """Answers a page of HTML with status 200, as a portal in between does."""


@dataclass(frozen=True, slots=True)
class Cut:
    """Ends the connection without an answer."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Answers an error of RFC 6749, section 5.2, whatever was asked."""

    code: str
    status: int = 400


Instead = Status | Page | Cut | Refusal


@dataclass
class Faults:
    """The faults that are on; all are off at first."""

    delay_seconds: float = 0.0
    """How long each token request waits."""
    hold: asyncio.Event | None = None
    """Token requests wait until it is set."""
    instead: Instead | None = None
    """What is answered instead of a decision."""
    everywhere: bool = False
    """Whether these three concern keys, discovery and introspection too."""
    answer: Mapping[str, object] = field(default_factory=dict)
    """Members of the answer that are replaced or, with ``token_mint.ABSENT``, missing."""
    claims: Mapping[str, object] = field(default_factory=dict)
    """Claims of the token, likewise."""

    def clear(self) -> None:
        """Switch all off; what is held goes on."""
        if self.hold is not None:
            self.hold.set()
        vars(self).update(vars(Faults()))

    async def wait(self) -> None:
        """Wait as long as the faults say."""
        if self.delay_seconds:
            await asyncio.sleep(self.delay_seconds)
        if self.hold is not None:
            await self.hold.wait()


@dataclass
class TokenRequests:
    """Counts of what came to the token endpoint, answered in whatever way."""

    per_grant: Counter[str] = field(default_factory=Counter)
    """By ``grant_type``."""
    in_flight: int = 0
    most_at_once: int = 0
    latest: deque[Asked] = field(default_factory=lambda: deque(maxlen=_KEPT_REQUESTS), repr=False)
    """What was asked, the last of it."""

    @property
    def total(self) -> int:
        """All of them."""
        return self.per_grant.total()

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count one request as in flight."""
        self.in_flight += 1
        self.most_at_once = max(self.most_at_once, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    def add(self, asked: Asked) -> None:
        """Count what was *asked*."""
        self.per_grant[asked.grant_type] += 1
        self.latest.append(asked)
