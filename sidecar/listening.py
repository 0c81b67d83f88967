"""The listeners of one configuration after those of another: sockets stay, what they serve changes.

A part of ``sidecar.assembly``. A listener is the same one as before if it listens at the same
address, whatever it is for.
"""

import os
from collections.abc import Awaitable, Callable
from typing import Final

from sidecar.config import model
from sidecar.reloading import ReloadError
from sidecar.wire.listener import Listener
from sidecar.wiring import INBOUND, PROXY, Wiring


class StartError(Exception):
    """The sidecar cannot start; the message is one line that says what to change."""


async def bound_to(
    what: str, address: model.Address, start: Callable[[str, int], Awaitable[tuple[str, int]]]
) -> model.Address:
    """Bind, and return the address in use. Raises ``StartError``."""
    try:
        host, port = await start(address.host, address.port)
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else str(error)
        raise StartError(f"the {what} listener cannot use {address}: {cause}") from error
    return model.Address(host, port)


def listening(name: str, address: model.Address, config: model.Config) -> str:
    """Return the line that announces a listener."""
    match name:
        case _ if name == INBOUND:
            leads_to = f" -> {config.inbound.app}"
        case _ if name == PROXY:
            leads_to = ""
        case _:
            leads_to = f" -> {config.outbound.destinations[name.partition(' ')[2]].upstream}"
    return f"sidecar: listening {name} {address}{leads_to}"


class Listeners:
    """What happens to listeners when *after* is served instead of *before*."""

    def __init__(
        self, before: Wiring, after: Wiring, listening_now: dict[str, model.Address]
    ) -> None:
        """*listening_now* are the addresses in use by name, and is kept up to date."""
        self._after = after
        self._addresses = listening_now
        self._old = before.listeners()
        self._new = after.listeners()
        by_place = {_place(name, address): name for name, (_, address) in self._old.items()}
        self._kept: Final = {
            name: by_place[_place(name, address)]
            for name, (_, address) in self._new.items()
            if _place(name, address) in by_place
        }
        """Name before by name after."""
        self._bound: dict[str, model.Address] = {}
        self.left_over: list[Listener] = []
        """Listeners that take no more connections, to be drained. Sockets may live on in others."""
        self.changes: list[str] = []
        """Lines that announce what is new."""

    async def bind(self) -> None:
        """Bind what is new. Raises ``ReloadError``."""
        for name, (listener, address) in self._new.items():
            if name not in self._kept:
                try:
                    self._bound[name] = await bound_to(name, address, listener.start)
                except StartError as error:
                    raise ReloadError([str(error)], may_pass=True) from error

    async def give_up(self) -> None:
        """Close what was bound in vain."""
        for name in self._bound:
            await self._new[name][0].drain(0.0)

    def exchange(self) -> None:
        """Let each listener that stays serve what is new."""
        addresses = {name: self._addresses[old] for name, old in self._kept.items()} | self._bound
        kept = set(self._kept.values())
        self.left_over = [each for name, (each, _) in self._old.items() if name not in kept]
        for name, old in self._kept.items():
            listener, heir = self._old[old][0], self._new[name][0]
            if listener.accepts_like(heir):
                listener.take_over(heir)
                self._after.use(name, listener)
            else:
                listener.hand_over(heir)
                self.left_over.append(listener)
        self._addresses.clear()
        self._addresses.update(addresses)
        self.changes = [
            listening(name, address, self._after.config) for name, address in self._bound.items()
        ] + [f"sidecar: no longer listening {name}" for name in self._old if name not in kept]


def _place(name: str, address: model.Address) -> object:
    # Where the kernel chose the port, the address says nothing.
    return address if address.port else (name, address)
