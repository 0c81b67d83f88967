"""A destination is broken: how much an app still gets done, with and without what bounds its calls.

One app on loopback, its sidecar, and two destinations: one that is well and one that is broken in
some way. The app has a pool of workers, as most servers have, and a worker waits for as long as
its call takes, whether its caller is still there or not. Callers ask for the one destination and
the other in turn, and leave after a second.

Without bounds every worker ends up waiting for the broken destination, and nobody is served: not
even those who ask for nothing but the good one. *Goodput* is answers that came while somebody
waited for them, a second.

Run as ``python -m bench.goodput``.
"""

import argparse
import asyncio
import json
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Final

from bench.report import progress
from sidecar.testbed.ports import free_ports
from sidecar.testbed.processes import sidecar

_CONFIGURATION: Final = """\
version: 1
drain_timeout: 0s
inbound:
  listen: 127.0.0.1:0
  app: http://127.0.0.1:{app}
{inbound}  rules:
    - paths: [/**]
      allow: anyone
admin:
  listen: 127.0.0.1:0
log:
  access: 'off'
  level: error
attribution:
  carrier: none
outbound:
  destinations:
    good:
      listen: 127.0.0.1:0
      upstream: http://127.0.0.1:{good}
      token: none
    broken:
      listen: 127.0.0.1:0
      upstream: http://127.0.0.1:{broken}
      token: none
{more}"""
_DEADLINE: Final = "  deadline_headers: [x-wait]\n"
_TOTAL: Final = "      limits: {total_timeout: 500ms}\n"
_BOUND: Final = "      limits: {max_concurrent: 4}\n"
_BOTH: Final = "      limits: {total_timeout: 500ms, max_concurrent: 4}\n"
_CIRCUIT: Final = "      circuit: {pause: 500ms, fair_time: 200ms}\n"
BOUNDS: Final[Mapping[str, tuple[str, str]]] = {
    "nothing": ("", ""),
    "deadline": (_DEADLINE, _TOTAL),
    "limit": ("", _BOUND),
    "deadline, circuit": (_DEADLINE, _TOTAL + _CIRCUIT),
    "all three": (_DEADLINE, _BOTH + _CIRCUIT),
}
"""What is added to ``inbound`` and to the broken destination. A circuit alone does nothing about
one that hangs: calls must end to have failed."""
WAYS: Final = ("hangs", "hangs for some", "refuses", "resets")
_OK: Final = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Terms:
    """How much of everything there is."""

    seconds: float = 4.0
    callers: int = 32
    workers: int = 16
    patience: float = 1.0
    """After so many seconds a caller leaves, and says so beforehand."""
    pause: float = 0.01
    """Between two requests of one caller."""


_TERMS: Final = Terms()


@dataclass
class Found:
    """What one run came to."""

    seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    """By the destination that was asked for and the status, or ``left``."""
    broken_calls: int = 0
    """Calls that reached the broken destination."""
    most_held: int = 0
    """Workers that waited for it at the same time, at most."""
    outlived: int = 0
    """Calls that were open there when every caller had gone."""

    def summary(self) -> dict[str, Any]:
        good, broken = self.outcomes["good 200"], self.outcomes["broken 200"]
        return {
            "goodput": round((good + broken) / self.seconds, 1),
            "good_answered": good,
            "broken_answered": broken,
            "left": self.outcomes["good left"] + self.outcomes["broken left"],
            "calls_to_broken": self.broken_calls,
            "workers_held": self.most_held,
            "outlived_callers": self.outlived,
        }


class Destination:
    """Answers every call, or does to it what *way* says."""

    def __init__(self, way: str) -> None:
        self._way = way
        self.calls = 0
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                self.calls += 1
                self.open += 1
                try:
                    if not await self._answer(reader, writer):
                        break
                finally:
                    self.open -= 1
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if self._way == "hangs" or (self._way == "hangs for some" and self.calls % 3 == 0):
            await reader.read()  # until the other side has had enough
            return False
        if self._way == "resets":
            writer.transport.abort()
            return False
        writer.write(_OK)
        return True


class App:
    """Asks the destination that its path names, for which it needs a worker."""

    def __init__(self, workers: int, found: Found) -> None:
        self._workers = asyncio.Semaphore(workers)
        self._found = found
        self._held = 0
        self.ports: dict[str, int] = {}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                name = head.split(b" ", 2)[1].strip(b"/").decode()
                context = [each for each in head.split(b"\r\n") if each[:9] == b"x-sidecar"]
                async with self._workers:
                    status = await self._call(name, b"\r\n".join(context))
                writer.write(b"HTTP/1.1 %b x\r\ncontent-length: 0\r\n\r\n" % status)
        writer.close()

    async def _call(self, name: str, context: bytes) -> bytes:
        self._held += name == "broken"
        self._found.most_held = max(self._found.most_held, self._held)
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[name])
            writer.write(
                b"GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n%b\r\n\r\n" % context
            )
            answer = await reader.read()
            writer.close()
            return answer[9:12] or b"502"
        except ConnectionError:
            return b"502"
        finally:
            self._held -= name == "broken"


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def _serving(serve: Serve) -> AsyncIterator[int]:
    """Serve until the end of the block, which ends whatever waits then."""
    tasks: set[asyncio.Task[None]] = set()

    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with suppress(asyncio.CancelledError):
            await serve(reader, writer)
        tasks.discard(task)

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


Until = Callable[[Found], bool]


async def measure(way: str, bound: str, terms: Terms, until: Until = lambda _found: False) -> Found:
    """Run one cell: a destination that is broken in this *way*, under these bounds.

    It lasts for the seconds of *terms*, or until enough is *found*.
    """
    found = Found()
    app, good, broken = App(terms.workers, found), Destination("answers"), Destination(way)
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="goodput-")))
        app_port = await stack.enter_async_context(_serving(app.serve))
        good_port = await stack.enter_async_context(_serving(good.serve))
        broken_port = (
            free_ports(1)[0]
            if way == "refuses"
            else await stack.enter_async_context(_serving(broken.serve))
        )
        inbound, more = BOUNDS[bound]
        path = directory / "sidecar.yaml"
        path.write_text(
            _CONFIGURATION.format(
                app=app_port, good=good_port, broken=broken_port, inbound=inbound, more=more
            )
        )
        running = await stack.enter_async_context(sidecar("sidecar", path))
        app.ports = {
            name: int(running.listener("outbound", name).rpartition(":")[2])
            for name in ("good", "broken")
        }
        host, _, port = running.listener("inbound").rpartition(":")
        began = time.monotonic()
        ends_at = began + terms.seconds

        def is_over() -> bool:
            return time.monotonic() >= ends_at or until(found)

        await asyncio.gather(
            *(
                _caller((host, int(port)), is_over, found, terms, first=number)
                for number in range(terms.callers)
            )
        )
        found.seconds = time.monotonic() - began
        found.outlived = await _left_open(broken)
        found.broken_calls = broken.calls
    return found


async def _left_open(broken: Destination) -> int:
    """Return how many calls stay open there although nobody waits for any of them."""
    with suppress(TimeoutError):
        async with asyncio.timeout(1.0):
            while broken.open:  # noqa: ASYNC110 - another process closes them
                await asyncio.sleep(0.01)
    return broken.open


async def _caller(
    address: tuple[str, int],
    is_over: Callable[[], bool],
    found: Found,
    terms: Terms,
    *,
    first: int,
) -> None:
    for number in count(first):
        if is_over():
            return
        name = ("good", "broken")[number % 2]
        found.outcomes[f"{name} {await _ask(address, name, terms.patience)}"] += 1
        await asyncio.sleep(terms.pause)


async def _ask(address: tuple[str, int], name: str, patience: float) -> str:
    reader, writer = await asyncio.open_connection(*address)
    try:
        async with asyncio.timeout(patience):
            writer.write(
                f"GET /{name} HTTP/1.1\r\nhost: app\r\nx-wait: {patience}\r\n\r\n".encode()
            )
            return (await reader.readuntil(b"\r\n"))[9:12].decode()
    except TimeoutError:
        return "left"
    except (ConnectionError, asyncio.IncompleteReadError):
        return "lost"
    finally:
        writer.close()


async def table(terms: Terms) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for way in WAYS:
        found[way] = {}
        for bound in BOUNDS:
            found[way][bound] = (await measure(way, bound, terms)).summary()
            progress(f"{way}, {bound}: {found[way][bound]}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.goodput", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--seconds", type=float, default=_TERMS.seconds, help="of each cell")
    parser.add_argument("--callers", type=int, default=_TERMS.callers)
    parser.add_argument("--workers", type=int, default=_TERMS.workers)
    given = parser.parse_args()
    terms = Terms(seconds=given.seconds, callers=given.callers, workers=given.workers)
    print(json.dumps(asyncio.run(table(terms)), indent=2))


if __name__ == "__main__":
    main()
