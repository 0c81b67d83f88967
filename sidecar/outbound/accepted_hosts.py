"""Which names the listener of a destination answers to."""

import re
from typing import Final

MAX_REMEMBERED_HOSTS: Final = 256
MAX_HOST_BYTES: Final = 255
_LOOPBACK = re.compile(r"localhost|127(?:\.[0-9]{1,3}){3}|\[::1\]")


class AcceptedHosts:
    """Which ``Host`` values a mapped port serves: loopback names and the destination's own.

    Anything else means that somebody pointed a name of theirs at our address (DNS rebinding).
    """

    def __init__(self, hosts: tuple[str, ...]) -> None:
        self._hosts = frozenset(host.lower() for host in hosts)
        self._remembered: dict[bytes, bool] = {}

    def accepts(self, host: bytes) -> bool:
        """Whether *host*, the field's value with or without a port, is served here."""
        known = self._remembered.get(host)
        if known is None:
            known = self._decide(host)
            if len(self._remembered) >= MAX_REMEMBERED_HOSTS:
                self._remembered.clear()
            if len(host) <= MAX_HOST_BYTES:
                self._remembered[host] = known
        return known

    def _decide(self, host: bytes) -> bool:
        name = re.sub(r":[0-9]*$", "", host.decode("latin-1").lower())
        return name in self._hosts or _LOOPBACK.fullmatch(name) is not None


class AnyHost(AcceptedHosts):
    """Where the host is how the destination was found."""

    def __init__(self) -> None:
        super().__init__(())

    def accepts(self, host: bytes) -> bool:  # noqa: ARG002
        return True
