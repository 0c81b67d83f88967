"""The written forms of hosts, addresses, origins and URLs, and which of them are loopback.

Strict on purpose: what a resolver, a URL library and a reader could understand differently
(``2130706433``, ``0x7f.1``, user information, upper case) is refused. Complaints are as
described in ``sidecar.config.values``.
"""

import ipaddress
import re
from typing import Final, Literal

from sidecar.config.model import Address, Origin
from sidecar.config.values import Complaint

ADDRESS_PATTERN: Final = r"^(\[[0-9A-Fa-f:.]+\]|[0-9.]+|localhost):[0-9]{1,5}$"
ADDRESS_OR_OFF_PATTERN: Final = rf"^off$|{ADDRESS_PATTERN}"
ORIGIN_PATTERN: Final = r"^https?://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?$"
URL_PATTERN: Final = r"^https?://[^\s@#]+$"
HOST_RULE_PATTERN: Final = r"^((\*\.)?[a-z0-9._-]+|\[[0-9a-f:.]+\])$"
HOST_PATTERN: Final = r"^([a-z0-9._-]+|\[[0-9a-f:.]+\])$"

_LABEL: Final = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_END: Final = re.compile(r"(.*\.)?(0x[0-9a-f]*|[0-9]+)\.?")
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)(.*)", re.DOTALL)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


def listen(value: str) -> Address:
    """Where to bind: ``127.0.0.1:9001``, ``[::1]:80`` or ``localhost:9001``; 0 is any port."""
    if re.fullmatch(r":?[0-9]{1,5}", value):
        port = value.removeprefix(":")
        raise Complaint("needs an address before the port", f"127.0.0.1:{port}")
    host, port_text = _split(value)
    if not port_text:
        raise Complaint("needs a port, as in 127.0.0.1:9001 or [::1]:9001")
    if host != "localhost" and _ip(host) is None:
        raise Complaint("must be an IP address or localhost, and a port")
    return Address(host, _port(port_text, least=0))


def listen_or_off(value: str) -> Address | None:
    """Where to bind, or ``off``, which is ``None``."""
    return None if value == "off" else listen(value)


def format_listen(address: Address | None) -> str:
    return "off" if address is None else str(address)


def origin(value: str) -> Origin:
    """An HTTP server as ``http://host`` or ``http://host:port``, and nothing after it."""
    scheme, authority, rest = _absolute(value)
    if rest == "/":
        raise Complaint("must end after host and port", value[:-1])
    if rest:
        raise Complaint("must end after host and port, without path or query", value[: -len(rest)])
    host, port_text = _split(authority)
    number = _port(port_text, least=1) if port_text else _DEFAULT_PORTS[scheme]
    return Origin(scheme, host, number)


def issuer(value: str) -> str:
    """An issuer identifier (OpenID Connect Discovery 1.0, section 3), kept as written."""
    _, authority, rest = _absolute(value, any_case=True)
    _check_authority(authority.lower())
    _check_rest(rest)
    if "?" in rest:
        raise Complaint("must not hold a query")
    return value


def url(value: str) -> str:
    """An absolute URL to fetch from; a query is allowed."""
    _, authority, rest = _absolute(value)
    _check_authority(authority)
    _check_rest(rest)
    return value


def host(value: str) -> str:
    """A value of the ``Host`` field, without port."""
    if value.startswith("["):
        bare, rest = _split(value)
        if rest:
            raise Complaint("must be a host name without port", f"[{bare}]")
        return value
    if ":" in value:
        raise Complaint("must be a host name without port", value.partition(":")[0] or None)
    _check_host(value)
    return value


def host_pattern(value: str) -> str:
    """A host name, or ``*.`` and one, which is for every name with one label more; lower-case."""
    if value.lower() != value:
        raise Complaint("must be lower-case: hosts are compared in any case", value.lower())
    if value.endswith("."):
        raise Complaint("must not end in a dot", value.rstrip(".") or None)
    rest = value.removeprefix("*.")
    if "*" in rest:
        raise Complaint("must have `*` only as its first label")
    if rest != value and ("." not in rest or rest.startswith("[")):
        raise Complaint("must have at least two labels after `*.`")
    host(rest)
    return value


def network(value: str) -> str:
    """Addresses in CIDR notation, such as ``10.0.0.0/8``; one address stands for itself."""
    try:
        return str(ipaddress.ip_network(value))
    except ValueError:
        pass
    try:
        meant = str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise Complaint("must be addresses such as 10.0.0.0/8 or fd00::/8") from None
    raise Complaint("has bits after its prefix", meant)


def authority_of(value: str) -> str:
    """Return host and port of a URL that a parser above accepted, as written."""
    match = _URL.fullmatch(value)
    assert match is not None
    return match[2]


def host_of(value: str) -> str:
    """Return the host of a URL that a parser above accepted."""
    return _split(authority_of(value).lower())[0]


def is_plaintext(value: str) -> bool:
    """Whether fetching this URL crosses a network unencrypted."""
    return value.lower().startswith("http://") and not is_loopback(host_of(value))


def is_loopback(host_name: str) -> bool:
    """Whether *host_name* stays on this machine, without asking a resolver.

    Any other name may resolve to loopback today and elsewhere tomorrow.
    """
    if host_name == "localhost":
        return True
    address = _ip(host_name)
    if isinstance(address, ipaddress.IPv6Address):
        # Newer Pythons answer for the mapped address by themselves, 3.11 does not.
        return (address.ipv4_mapped or address).is_loopback
    return address is not None and address.is_loopback


def overlap(one: Address, other: Address) -> bool:
    """Whether both cannot be bound at once, or one reaches what listens on the other."""
    return one.port == other.port != 0 and any(
        mine == theirs or (mine[0] == theirs[0] and WILDCARDS[mine[0]] in (mine[1], theirs[1]))
        for mine in interfaces(one.host)
        for theirs in interfaces(other.host)
    )


WILDCARDS: Final = {4: "0.0.0.0", 6: "::"}  # noqa: S104 - compared, not bound
"""By IP version, the address that stands for every interface."""


def interfaces(host_name: str) -> tuple[tuple[int, str], ...]:
    """Return IP version and address of what *host_name* binds; nothing for a name to resolve."""
    if host_name == "localhost":
        return (4, "127.0.0.1"), (6, "::1")
    address = _ip(host_name)
    return () if address is None else ((address.version, str(address)),)


def _absolute(value: str, *, any_case: bool = False) -> tuple[Literal["http", "https"], str, str]:
    match = _URL.fullmatch(value)
    if match is None:
        raise Complaint("must be an absolute URL that starts with http:// or https://")
    scheme, authority, rest = match[1], match[2], match[3]
    if "@" in authority:
        raise Complaint("must not hold a user name or password")
    if not any_case and (scheme + authority) != (scheme + authority).lower():
        raise Complaint(
            "must have scheme and host in lower case",
            value.replace(f"{scheme}://{authority}", f"{scheme}://{authority}".lower(), 1),
        )
    match scheme.lower():
        case "http":
            return "http", authority, rest
        case "https":
            return "https", authority, rest
        case "file":
            raise Complaint(
                "must start with http:// or https://; a key file goes under `jwks_file`"
            )
        case _:
            raise Complaint("must start with http:// or https://")


def _check_authority(authority: str) -> None:
    _, port_text = _split(authority)
    if port_text:
        _port(port_text, least=1)


def _check_rest(rest: str) -> None:
    if "#" in rest:
        raise Complaint("must not hold a fragment")
    if not rest.isascii() or not rest.isprintable() or re.search(r'[ "<>\\^`{|}]', rest):
        raise Complaint("holds a character that no URL can have; percent-encode it")


def _split(authority: str) -> tuple[str, str]:
    """Return host (brackets removed) and the text of the port, empty where there is none."""
    match = re.fullmatch(r"(?:\[([^\]]*)\]|([^:\[\]]*))(?::([0-9]*))?", authority)
    if match is None:
        if authority.count(":") > 1 and _ip(authority.rpartition(":")[0].strip("[]")):
            bare, _, port_text = authority.rpartition(":")
            raise Complaint("must have brackets around an IPv6 address", f"[{bare}]:{port_text}")
        raise Complaint("must be a host, or a host and a port from 0 to 65535")
    if match[3] == "":
        raise Complaint("has no port after `:`")
    if match[1] is not None:
        if not isinstance(_ip(match[1]), ipaddress.IPv6Address):
            raise Complaint("must have an IPv6 address inside the brackets")
        return str(_ip(match[1])), match[3] or ""
    _check_host(match[2])
    return match[2], match[3] or ""


def _check_host(value: str) -> None:
    if not value:
        raise Complaint("has no host")
    if value != value.lower():
        raise Complaint("must have the host in lower case", value.lower())
    if not value.isascii():
        raise Complaint("must have an ASCII host; write an international name as xn--…")
    if _NUMERIC_END.fullmatch(value):
        if not isinstance(_ip(value), ipaddress.IPv4Address):
            raise Complaint("must have an IPv4 address as four numbers, or a host name")
        return
    if value.endswith("."):
        raise Complaint("must have the host without the last dot", value[:-1])
    if len(value) > 253 or not all(_LABEL.fullmatch(part) for part in value.split(".")):
        raise Complaint("must have a host name of letters, digits, `-`, `_` and single dots")


def _port(value: str, *, least: int) -> int:
    if len(value) > 5 or not least <= int(value) <= 65535 or value != str(int(value)):
        raise Complaint(f"must have a port from {least} to 65535")
    return int(value)


def _ip(value: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    if "%" in value:
        return None  # a zone is meaningful on one machine only
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None
