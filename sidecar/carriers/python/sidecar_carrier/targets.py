"""Which calls get the header: those whose peer is one of the sidecar's own listeners.

Pure: what is asked twice is the name the app used, before there is a connection, and the address
it turned out to have. A name that merely resolves to loopback is no target unless it is listed.
"""

from __future__ import annotations

from functools import lru_cache

from . import report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, FrozenSet, Optional, Tuple


class Targets:
    """The listed ``host:port`` pairs, or, when none are listed, everything on loopback."""

    def __init__(self, listed: Optional[FrozenSet[Tuple[str, int]]] = None) -> None:
        self._listed = listed
        # Asked on every call, about few peers.
        self.names = lru_cache(maxsize=256)(self._names)
        self.reach = lru_cache(maxsize=256)(self._reach)

    @classmethod
    def parse(cls, setting: str) -> Targets:
        """Read ``SIDECAR_TARGETS``. An entry that cannot be read is reported and is no target."""
        entries = [entry.strip() for entry in setting.split(",") if entry.strip()]
        if not entries:
            return cls()
        listed = set()
        for entry in entries:
            host, _, port = entry.rpartition(":")
            if host and port.isdigit():
                listed.add((_normal(host), int(port)))
            else:
                report.once("an entry of SIDECAR_TARGETS is not host:port; ignored")
        return cls(frozenset(listed))

    def lead(self, host: str, port: int, peer: Any) -> bool:
        """Whether a connection opened for *host* and *port* ends at the sidecar. *peer* is what
        ``getpeername`` says of it: for a unix socket no address, behind a SOCKS proxy another port.
        """
        if type(peer) is not tuple or len(peer) < 2 or peer[1] != port:
            return False
        return self.reach(host, port, peer[0])

    def _names(self, host: str, port: int) -> bool:
        """Whether a call to this *host* and *port* may turn out to be for the sidecar."""
        host = _normal(host)
        if _names_loopback(host):
            return True
        return self._listed is not None and (host, port) in self._listed

    def _reach(self, host: str, port: int, address: str) -> bool:
        """Whether the connection that *host* and *port* led to, at *address*, is the sidecar's."""
        host = _normal(host)
        if not _names_loopback(host):
            return self._listed is not None and (host, port) in self._listed
        if not _is_loopback(address):
            return False
        if self._listed is None or (host, port) in self._listed:
            return True
        # `localhost` and the literals are names of one listener, whichever the app prefers.
        return (address, port) in self._listed or (
            address in ("127.0.0.1", "::1") and ("localhost", port) in self._listed
        )


def _normal(host: str) -> str:
    return host.lower().rstrip(".").strip("[]")


def _names_loopback(host: str) -> bool:
    return host == "localhost" or _is_loopback(host)


def _is_loopback(address: str) -> bool:
    if address == "::1":
        return True
    parts = address.split(".")
    return parts[0] == "127" and len(parts) == 4 and all(part.isdigit() for part in parts)
