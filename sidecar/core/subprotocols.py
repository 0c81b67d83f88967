"""A token among the WebSocket subprotocols that a browser offers, for want of other fields to set.

Owns two forms of it. *By prefix*, as in Kubernetes and Jupyter: one subprotocol that is the prefix
and the token. *After a marker*: the marker, and then the token as the next subprotocol. In either
the app is offered the others alone, and cannot select what was a token.
"""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from sidecar.core.names import folded
from sidecar.core.parameters import Named

FIELD: Final = b"sec-websocket-protocol"

_OWS: Final = b" \t"


class Offer:
    """What a caller offered, over all its fields."""

    __slots__ = ("kept", "marker", "taken")

    def __init__(self) -> None:
        self.kept: list[bytes | None] = []
        """What stays of each field; ``None``: all of it, empty: nothing."""
        self.taken: list[Named] = []
        """Prefix or marker, and what carries the token."""
        self.marker = b""
        """The first marker that was offered."""


class TokenProtocols:
    """The prefixes and markers of one listener."""

    def __init__(self, prefixes: Iterable[bytes], markers: AbstractSet[bytes]) -> None:
        self._prefixes = tuple(prefixes)
        self._markers = markers

    def take(self, values: Sequence[bytes]) -> Offer:
        """Read the values of all fields, which are one list (RFC 6455, section 11.3.4)."""
        offer = Offer()
        awaited = b""  # the marker whose token comes next
        for value in values:
            kept: list[bytes] = []
            elements = value.split(b",")
            for element in elements:
                name = element.strip(_OWS)
                prefix = self._prefix_of(name)
                if name in self._markers:
                    if awaited:
                        offer.taken.append((awaited, b""))
                    awaited = name
                    offer.marker = offer.marker or name
                elif awaited and name:
                    offer.taken.append((awaited, name))
                    awaited = b""
                elif prefix:
                    offer.taken.append((prefix, name[len(prefix) :]))
                else:
                    kept.append(element)
            whole = len(kept) == len(elements)
            offer.kept.append(None if whole else b",".join(kept).strip(b" \t,"))
        if awaited:
            offer.taken.append((awaited, b""))
        return offer

    def correct(self, lines: list[bytes], marker: bytes) -> None:
        """Make *lines*, of the answer that agrees to the WebSocket, select nothing it must not.

        A browser gives up where it offered subprotocols and none is selected. Where the app selects
        none, the *marker* that was offered is: it stands for nothing but where the token is.
        """
        selected = False
        for index, line in enumerate(lines):
            name, _, value = line.partition(b":")
            if folded(name.lower()) == FIELD:
                value = value.strip()
                if value in self._markers or self._prefix_of(value):
                    lines[index] = b""
                else:
                    selected = True
        if marker and not selected:
            lines.append(b"%b: %b\r\n" % (FIELD, marker))

    def _prefix_of(self, name: bytes) -> bytes:
        for prefix in self._prefixes:
            if name.startswith(prefix):
                return prefix
        return b""
