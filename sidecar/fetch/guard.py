"""Which URLs and addresses may be asked for keys, metadata and tokens.

Owns the rules, as plain questions answered with a cause or ``None``. Resolving names,
connecting and following redirects belong to ``sidecar.fetch.session``.
"""

import re
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

from yarl import URL

Address = IPv4Address | IPv6Address

# Cloud metadata services hand out credentials to whoever can send a GET. Most live on
# link-local addresses, which are refused anyway; these are the ones that do not.
_METADATA: Final = frozenset(
    ip_address(address)
    for address in (
        "100.100.100.200",  # Alibaba Cloud
        "168.63.129.16",  # Azure
        "192.0.0.192",  # Oracle Cloud, classic
        "fd00:c1::a9fe:a9fe",  # Oracle Cloud
        "fd00:ec2::254",  # AWS, instance metadata
        "fd00:ec2::23",  # AWS, pod identity
        "fd00:42::42",  # Scaleway
        "fd20:ce::254",  # Google Cloud
    )
)
_THIS_NETWORK: Final = ip_network("0.0.0.0/8")
_NAT64: Final = ip_network("64:ff9b::/96")
_TRANSLATED: Final = ip_network("::ffff:0:0:0/96")  # RFC 2765, section 2.1
_COMPATIBLE: Final = ip_network("::/96")
_LOCAL_NAT64: Final = ip_network("64:ff9b:1::/48")  # RFC 8215

_VISIBLE_ASCII: Final = re.compile(r"[!-~]+", re.ASCII)
_HOST_NAME: Final = re.compile(r"[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?", re.ASCII)
# Resolvers read such names as IPv4 addresses in an old notation (127.1, 0x7f000001).
_ENDS_IN_NUMBER: Final = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)\.?", re.ASCII)


def parse_url(text: str) -> URL | None:
    """Return the absolute URL in *text*, or ``None`` where it could be read in two ways.

    The result is what gets connected to, so no second parser can read another host in it.
    """
    if not _VISIBLE_ASCII.fullmatch(text):
        return None
    try:
        return URL(text)
    except ValueError:
        return None


def why_url_refused(url: URL, *, allow_plaintext: bool) -> str | None:
    """Return why *url* may not be fetched, or ``None``. Names still have to be resolved."""
    host = url.raw_host
    if url.scheme not in {"http", "https"} or not host:
        return "not an http or https URL with a host"
    if "@" in url.raw_authority:
        return "a URL with credentials in it is not fetched"
    literal = _literal(host)
    if literal is None and (not _HOST_NAME.fullmatch(host) or _ENDS_IN_NUMBER.fullmatch(host)):
        return "the host is neither a name nor an address in its usual form"
    if url.scheme == "http" and not allow_plaintext and not names_loopback(url):
        return "plain http is allowed to loopback only, unless `allow_plaintext` is set"
    return why_address_refused(host) if literal else None


def why_hop_refused(origin: URL, target: URL) -> str | None:
    """Return why *origin* may not send us on to *target*, or ``None``.

    Applies to redirects and to URLs found in documents: what a remote server says must
    neither weaken the transport nor turn us against services of this pod.
    """
    if origin.scheme == "https" and target.scheme != "https":
        return "an https server named a plain http URL"
    if names_loopback(target) and not names_loopback(origin):
        return "a remote server named a loopback URL"
    return None


def names_loopback(url: URL) -> bool:
    """Tell whether *url* names this host literally: ``localhost`` or a loopback address."""
    host = url.raw_host or ""
    literal = _literal(host)
    return is_localhost(host) if literal is None else _carried(literal).is_loopback


def is_localhost(host: str) -> bool:
    """Tell whether *host* is the name that must mean loopback (RFC 6761, section 6.3)."""
    return host.lower().rstrip(".") == "localhost"


def is_loopback(address: str) -> bool:
    """Tell whether *address*, an IP literal, is a loopback address."""
    literal = _literal(address)
    return literal is not None and _carried(literal).is_loopback


def why_address_refused(address: str) -> str | None:
    """Return why *address*, an IP literal, may not be connected to, or ``None``.

    Private addresses are allowed: issuers inside a cluster have them. Addresses that carry
    an IPv4 address inside IPv6 are judged by the one they carry.
    """
    literal = _literal(address)
    if literal is None:
        return "not an IP address"
    if literal in _LOCAL_NAT64:
        return _why_translation_refused(literal.packed)
    return _why_refused(_carried(literal))


def _why_translation_refused(packed: bytes) -> str | None:
    """Judge an address that the pod's own network translates (RFC 6052, section 2.2).

    Whoever runs it chose how long the prefix is, so it is read with the shortest and the longest.
    """
    readings = [IPv4Address(inner) for inner in (packed[-4:], packed[6:8] + packed[9:11])]
    # Read with the wrong one of the two it begins with zeros.
    meant = [inner for inner in readings if inner not in _THIS_NETWORK] or readings[:1]
    return next(filter(None, map(_why_refused, meant)), None)


def _why_refused(carried: Address) -> str | None:
    if carried.is_link_local:
        return "link-local addresses are refused"
    if carried in _METADATA:
        return "metadata addresses are refused"
    if carried.is_unspecified or carried in _THIS_NETWORK:
        return "unspecified addresses are refused"
    if carried.is_multicast or str(carried) == "255.255.255.255":
        return "multicast and broadcast addresses are refused"
    return None


def _literal(host: str) -> Address | None:
    try:
        literal = ip_address(host)
    except ValueError:
        return None
    if isinstance(literal, IPv6Address) and literal.scope_id is not None:
        # With its zone an address equals no other, and is in no network.
        return IPv6Address(int(literal))
    return literal


def _carried(address: Address) -> Address:
    """Return the IPv4 address inside a mapped, translated, 6to4 or NAT64 address, or itself."""
    match address:
        case IPv6Address(ipv4_mapped=IPv4Address() as inner):
            return inner
        case IPv6Address(sixtofour=IPv4Address() as inner):
            return inner
        case IPv6Address() if address in _NAT64 or address in _TRANSLATED:
            return IPv4Address(address.packed[-4:])
        case IPv6Address() if address in _COMPATIBLE and int(address) > 1:
            return IPv4Address(address.packed[-4:])
        case _:
            return address
