"""Where an unlisted host really is, and whether the app may go there.

What is looked up is checked, address by address, and then used as it is: a name that means another
address a moment later (DNS rebinding) cannot lead anywhere else.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from sidecar.core.outcome import Denial, Reason
from sidecar.fetch import guard

FRESH_SECONDS: Final = 10.0
"""How long an answer is used again."""
MAX_NAMES: Final = 1_024
MAX_LOOKUPS: Final = 64
"""Begun and waiting; over it a request is refused."""
MAX_LOOKUPS_BEGUN: Final = 2
"""The resolver's threads are few, others need them too, and a slow name server keeps them."""
MAX_ADDRESSES: Final = 4

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves a host (for a port) to IP literals; raises ``OSError`` where it cannot."""


async def system_lookup(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver, on a thread that is not the loop's."""
    found = await asyncio.get_running_loop().getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG
    )
    return [str(address[0]) for *_, address in found]


def why_refused(address: str) -> str | None:
    """Return why the app may not reach *address* through us, or ``None``.

    Loopback and this pod's own addresses are where apps listen that trust whoever is local, and
    where our own listeners are.
    """
    if guard.is_loopback(address):
        return "loopback addresses are refused"
    cause = guard.why_address_refused(address)
    if cause is None and _is_own(address):
        cause = "the pod's own addresses are refused"
    return cause


def _is_own(address: str) -> bool:
    """Whether *address* is one of this machine's: what it would be reached from is then itself.

    Nothing is sent; connecting a datagram socket asks the routing table.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((address, 9))
        except OSError:
            return False  # no route: connecting will fail as well
        return bool(probe.getsockname()[0] == address)


@dataclass(frozen=True, slots=True)
class Found:
    """Addresses that may be connected to, in the order of the resolver."""

    addresses: tuple[str, ...]
    until: float


class Addresses:
    """Looks up hosts, each at most once at a time, and remembers what may be used for a while."""

    def __init__(
        self,
        *,
        lookup: Lookup,
        refuses: Callable[[str], str | None],
        timeout_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        """*refuses* says why an address may not be used."""
        self._lookup = lookup
        self._refuses = refuses
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._known: dict[tuple[str, int], Found] = {}
        self._under_way: dict[tuple[str, int], asyncio.Task[Found | Denial]] = {}
        self._asking: set[asyncio.Task[Sequence[str]]] = set()
        self._slots = asyncio.Semaphore(MAX_LOOKUPS_BEGUN)

    def known(self, host: str, port: int) -> tuple[str, ...] | None:
        """Return what was found lately."""
        found = self._known.get((host, port))
        return None if found is None or found.until <= self._clock() else found.addresses

    async def find(self, host: str, port: int) -> tuple[str, ...] | Denial:
        """Look *host* up, within the timeout, and check what it is. Never raises."""
        key = host, port
        task = self._under_way.get(key)
        if task is None:
            if max(len(self._under_way), len(self._asking)) >= MAX_LOOKUPS:
                return Denial(Reason.OVERLOADED, "too many names are being looked up")
            task = asyncio.get_running_loop().create_task(self._find(host, port))
            self._under_way[key] = task
            task.add_done_callback(lambda _task: self._under_way.pop(key, None))
        result = await asyncio.shield(task)  # whoever leaves does not take it from the others
        return result if isinstance(result, Denial) else result.addresses

    async def _find(self, host: str, port: int) -> Found | Denial:
        asking = asyncio.get_running_loop().create_task(self._ask(host, port))
        self._asking.add(asking)
        asking.add_done_callback(self._asked)
        # Not cancelled when the time is over: the resolver's thread is not free before it answers.
        await asyncio.wait((asking,), timeout=self._timeout_seconds)
        if not asking.done():
            return Denial(Reason.UPSTREAM_TIMEOUT, "the name was not resolved in time")
        try:
            addresses = asking.result()
        except (OSError, UnicodeError):
            return Denial(Reason.UPSTREAM_UNREACHABLE, "the name could not be resolved")
        if not addresses:
            return Denial(Reason.UPSTREAM_UNREACHABLE, "the name has no address")
        for address in addresses:
            cause = self._refuses(address)
            if cause is not None:
                return Denial(Reason.TARGET_FORBIDDEN, cause)
        found = Found(
            tuple(dict.fromkeys(addresses))[:MAX_ADDRESSES], self._clock() + FRESH_SECONDS
        )
        if len(self._known) >= MAX_NAMES:
            self._known.clear()
        self._known[host, port] = found
        return found

    async def _ask(self, host: str, port: int) -> Sequence[str]:
        async with self._slots:
            return await self._lookup(host, port)

    def _asked(self, asking: asyncio.Task[Sequence[str]]) -> None:
        self._asking.discard(asking)
        if not asking.cancelled():
            asking.exception()  # it may be that nobody waits for it any more
