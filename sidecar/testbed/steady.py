"""Callers who go on calling until they are told to stop, and forgive nothing.

Where ``sidecar.testbed.load`` makes so many calls, this one keeps calling while something else
happens, to show that nobody noticed. Connections are kept alive for as long as the server wants;
no request is repeated, whatever happened to it.
"""

import asyncio
import ssl
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

LIMIT_SECONDS = 10.0
"""For one call, or to connect."""
_PATIENCE_SECONDS = 60.0
WRONG = "wrong"
"""An answer, but not to whoever asked."""
_MAX_HEAD_BYTES = 65536
_MOST_KEPT = 1_000_000


@dataclass(frozen=True, slots=True)
class Call:
    """One call: what is sent, and what is in the answer if it is the right one."""

    request: bytes = field(repr=False)
    """A whole one, without content."""
    expected: bytes = b""


@dataclass(slots=True)
class Tally:
    """What the calls came to so far."""

    outcomes: Counter[str] = field(default_factory=Counter)
    """By status code, ``WRONG``, or the name of what went wrong instead of an answer."""
    connections: int = 0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=_MOST_KEPT))
    """How long the latest calls took that were answered."""
    _awaited: int = 0
    _reached: asyncio.Event = field(default_factory=asyncio.Event)

    def came_to(self, outcome: str) -> None:
        """Count one call, or one connection that was not made."""
        self.outcomes[outcome] += 1
        if self.calls >= self._awaited:
            self._reached.set()

    @property
    def calls(self) -> int:
        return self.outcomes.total()

    def other_than(self, *statuses: int) -> dict[str, int]:
        """Return what came of calls that were not answered with one of *statuses*."""
        good = {str(each) for each in statuses}
        return {outcome: count for outcome, count in self.outcomes.items() if outcome not in good}

    async def until(self, calls: int) -> None:
        """Wait until so many more calls have ended. Raises ``TimeoutError``."""
        self._awaited = self.calls + calls
        self._reached.clear()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await self._reached.wait()


@asynccontextmanager
async def calling(
    address: Callable[[], tuple[str, int]],
    requests: Sequence[Call],
    *,
    callers: int = 4,
    context: ssl.SSLContext | None = None,
    pause_seconds: float = 0.0,
) -> AsyncIterator[Tally]:
    """Make the calls *requests* in turn, over and over, by so many *callers*, until the block ends.

    *address* is asked for each new connection. A caller rests for *pause_seconds* between two.
    """
    tally = Tally()
    stop = asyncio.Event()

    async def call(first: int) -> None:
        number = first
        while not stop.is_set():
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    reader, writer = await asyncio.open_connection(
                        *address(), ssl=context, limit=_MAX_HEAD_BYTES
                    )
            except (OSError, TimeoutError) as error:
                tally.came_to(f"connect: {type(error).__name__}")
                await asyncio.sleep(0.01)
                continue
            tally.connections += 1
            goes_on = True
            while goes_on and not stop.is_set():
                goes_on = await _exchange(reader, writer, requests[number % len(requests)], tally)
                number += 1
                if pause_seconds:
                    await asyncio.sleep(pause_seconds)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async with asyncio.TaskGroup() as group:
        for number in range(callers):
            group.create_task(call(number))
        try:
            yield tally
        finally:
            stop.set()


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, call: Call, tally: Tally
) -> bool:
    """Make one call; return whether the connection can have another one."""
    began = time.monotonic()
    try:
        async with asyncio.timeout(LIMIT_SECONDS):
            writer.write(call.request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0]
            content = await reader.readexactly(int(length or b"0"))
    except (OSError, EOFError, asyncio.LimitOverrunError, TimeoutError) as error:
        tally.came_to(type(error).__name__)
        return False
    status = head[9:12].decode("ascii", "replace")
    tally.came_to(WRONG if status == "200" and call.expected not in content else status)
    tally.seconds.append(time.monotonic() - began)
    return b"\r\nconnection: close" not in head
