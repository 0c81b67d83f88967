"""What the app is told of the way that a request took: ``X-Forwarded-*`` and ``Forwarded``.

Everybody can write such fields, so they count only as far as the peer that sent them is trusted.
From anybody else all of them are removed, in every spelling that a framework may fold into the
usual one, and from everybody the odd spellings. Owns reading and writing the values (RFC 7239);
which peers are trusted is configured.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from sidecar.core.names import folded

FORWARDING: Final = 21
"""Mark of a field that says who forwarded, for whom, or what was asked for; see ``classifier``."""

FieldSet = Literal["x-forwarded", "forwarded", "both", "off"]

MAX_REMEMBERED_PEERS: Final = 4_096

_PREFIX: Final = b"x-forwarded-"
_OTHERS: Final = frozenset(
    (b"forwarded", b"x-forwarded", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip",
     b"x-original-forwarded-for", b"x-original-host", b"x-envoy-external-address",
     b"true-client-ip", b"client-ip")
)  # fmt: skip
_FOR, _PROTO, _HOST = b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host"
_FORWARDED: Final = b"forwarded"
_X_FIELDS: Final = (_FOR, _PROTO, _HOST)
_WRITTEN: Final[dict[FieldSet, tuple[bytes, ...]]] = {
    "x-forwarded": _X_FIELDS,
    "forwarded": (_FORWARDED,),
    "both": (*_X_FIELDS, _FORWARDED),
    "off": (),
}
# A quotation that does not end would swallow what we append.
_BALANCED: Final = re.compile(rb'[^"\\]*+(?:"(?:[^"\\]|\\.)*+"[^"\\]*+)*+')
_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def classifier(classify: Callable[[bytes], int]) -> Callable[[bytes], int]:
    """Return *classify* extended by the mark ``FORWARDING``, which its own marks go before."""

    def extended(lower_name: bytes) -> int:
        mark = classify(lower_name)
        if mark:
            return mark
        name = folded(lower_name)
        return FORWARDING if name.startswith(_PREFIX) or name in _OTHERS else 0

    return extended


class Hop:
    """What is known of one peer."""

    __slots__ = ("address", "is_trusted", "node")

    def __init__(self, address: bytes, node: bytes, *, is_trusted: bool) -> None:
        self.address = address
        """As ``X-Forwarded-For`` has it: an IPv6 address stands alone."""
        self.node = node
        """As ``for`` of ``Forwarded`` has it (RFC 7239, 6): an IPv6 address in brackets, quoted."""
        self.is_trusted = is_trusted


class ForwardingFields:
    """Writes the fields of one listener."""

    def __init__(self, *, trust: Sequence[str], write: FieldSet, scheme: bytes) -> None:
        """*trust* lists networks; *scheme* is what callers use to reach this listener."""
        self._trust = [ipaddress.ip_network(each) for each in trust]
        self._written = _WRITTEN[write]
        self._scheme = scheme
        self._hops: dict[str, Hop] = {}

    def rewrite(
        self, lines: list[bytes], marked: Iterable[tuple[int, int, bytes]], peer: str, host: bytes
    ) -> bytes:
        """Drop from *lines* what may not reach the app, and return our own lines.

        *marked* are mark, index into *lines* and value of the fields that are not ordinary.
        """
        hop = self.hop(peer)
        kept: dict[bytes, list[bytes]] = {}
        for mark, index, value in marked:
            if mark != FORWARDING or not lines[index]:
                continue
            name = lines[index].partition(b":")[0].lower()
            if not hop.is_trusted or name != folded(name):
                lines[index] = b""
            elif name in self._written:
                lines[index] = b""
                if value and (name != _FORWARDED or _BALANCED.fullmatch(value)):
                    kept.setdefault(name, []).append(value)
        return b"".join(self._lines(hop, kept, host))

    def _lines(self, hop: Hop, kept: dict[bytes, list[bytes]], host: bytes) -> Iterable[bytes]:
        written = self._written
        if _FOR in written:
            yield b"x-forwarded-for: %b\r\n" % b", ".join((*kept.get(_FOR, ()), hop.address))
            # Only the first one to be asked knows what was asked for.
            proto = b", ".join(kept.get(_PROTO, ())) or self._scheme
            yield b"x-forwarded-proto: %b\r\n" % proto
            if asked := b", ".join(kept.get(_HOST, ())) or host:
                yield b"x-forwarded-host: %b\r\n" % asked
        if _FORWARDED in written:
            element = b"for=%b;proto=%b" % (hop.node, self._scheme)
            if host:
                element += b";host=" + _quoted(host)
            yield b"forwarded: %b\r\n" % b", ".join((*kept.get(_FORWARDED, ()), element))

    def hop(self, peer: str) -> Hop:
        """Return what is known of *peer*; remembered within a bound, since peers ask again."""
        hop = self._hops.get(peer)
        if hop is None:
            if len(self._hops) >= MAX_REMEMBERED_PEERS:
                self._hops.clear()
            hop = self._hops[peer] = self._look_at(peer)
        return hop

    def _look_at(self, peer: str) -> Hop:
        try:
            # A zone means something on this machine only.
            address = ipaddress.ip_address(peer.partition("%")[0])
        except ValueError:
            return Hop(b"unknown", b"unknown", is_trusted=False)
        address = getattr(address, "ipv4_mapped", None) or address
        text = str(address).encode("ascii")
        node = b'"[%b]"' % text if address.version == 6 else text
        return Hop(text, node, is_trusted=any(address in network for network in self._trust))


def _quoted(host: bytes) -> bytes:
    """Return ``host[:port]``, which has no quote and no backslash in it, as a value."""
    return host if _TOKEN.fullmatch(host) else b'"%b"' % host
