"""The flags of ``sidecar run`` as the tree a file would have given, so that both mean the same.

Owns the short forms of flags (a port for an address, ``9001=URL`` for a destination). What the
values must be is the parser's business: its problems then name the flag as their place.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from sidecar.config.positions import Entry, MappingNode, Node, ScalarNode, SequenceNode
from sidecar.config.problems import Findings, Place, quoted

ISSUER_NAME: Final = "default"
COMMAND_LINE: Final = Place("command line")

_DESTINATION: Final = re.compile(r"(?:(?P<name>[^:=]+):)?(?P<port>[0-9]{1,5})=(?P<url>.+)")
_FIRST_LABEL: Final = re.compile(r"https?://(?P<label>[a-z][a-z0-9-]*)(?:[.:/]|$)")


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line said; ``None`` and empty where it said nothing."""

    app: str | None = None
    issuer: str | None = None
    audiences: tuple[str, ...] = ()
    jwks_uri: str | None = None
    jwks_file: str | None = None
    discovery_url: str | None = None
    destinations: tuple[str, ...] = ()
    """Each ``[NAME:]PORT=URL``."""
    listen: str | None = None
    admin: str | None = None
    control: str | None = None
    """A path, with or without ``unix:``."""
    carrier: str | None = None
    anyone_paths: tuple[str, ...] = ()
    allow_plaintext: bool = False

    @property
    def is_empty(self) -> bool:
        return self == Flags()


_Parts: TypeAlias = list[tuple[str, Node | None]]


def tree_of(flags: Flags, findings: Findings) -> MappingNode:
    """Return the tree of the file that says what *flags* say."""
    destinations = _destinations(flags, findings)
    return _map(
        COMMAND_LINE,
        [
            ("version", ScalarNode(COMMAND_LINE, "1")),
            ("issuers", _named(ISSUER_NAME, _issuer(flags))),
            ("inbound", _inbound(flags)),
            ("attribution", _optional([("carrier", _text("--carrier", flags.carrier))])),
            ("outbound", _named("destinations", destinations)),
            ("admin", _admin(flags)),
        ],
    )


def _issuer(flags: Flags) -> MappingNode | None:
    parts: _Parts = [
        ("issuer", _text("--issuer", flags.issuer)),
        ("audiences", _audiences(flags.audiences)),
        ("jwks_uri", _text("--jwks-uri", flags.jwks_uri)),
        ("jwks_file", _text("--jwks-file", flags.jwks_file)),
        ("discovery_url", _text("--discovery-url", flags.discovery_url)),
    ]
    return _optional(parts, [("allow_plaintext", _plaintext(flags))])


def _audiences(audiences: tuple[str, ...]) -> Node | None:
    place = Place("--audience")
    if audiences == ("any",):
        return ScalarNode(place, "any", plain=False)
    return _list(place, (ScalarNode(place, item, plain=False) for item in audiences))


def _inbound(flags: Flags) -> MappingNode | None:
    return _optional(
        [
            ("listen", _address("--listen", flags.listen)),  # or `off`
            ("app", _app(flags.app)),
            ("rules", _rules(flags.anyone_paths)),
        ]
    )


def _app(app: str | None) -> Node | None:
    is_port = app is not None and re.fullmatch("[0-9]+", app)
    return _text("--app", f"http://127.0.0.1:{app}" if is_port else app)


def _admin(flags: Flags) -> MappingNode | None:
    control = flags.control
    if control is not None and _looks_like_a_path(control):
        control = f"unix:{control}"
    return _optional(
        [
            ("listen", _address("--admin", flags.admin)),
            ("control", _text("--control", control)),
        ]
    )


def _looks_like_a_path(control: str) -> bool:
    return control != "off" and not re.match("unix:|tcp:|https?:|.*:[0-9]+$|[0-9]+$", control)


def _address(flag: str, address: str | None) -> Node | None:
    # Callers and Prometheus are outside the pod, as in the defaults of a file.
    is_port = address is not None and re.fullmatch("[0-9]+", address)
    return _text(flag, f"0.0.0.0:{address}" if is_port else address)


def _rules(paths: tuple[str, ...]) -> Node | None:
    if not paths:
        return None
    place = Place("--allow-anyone")
    rules = [_rule(place, path, "allow", "anyone") for path in paths]
    if "/**" not in paths:
        rules.append(_rule(place, "/**", "require", "authenticated"))
    return SequenceNode(place, tuple(rules))


def _rule(place: Place, path: str, access: str, word: str) -> MappingNode:
    paths = SequenceNode(place, (ScalarNode(place, path, plain=False),))
    return _map(place, [("paths", paths), (access, ScalarNode(place, word))])


def _destinations(flags: Flags, findings: Findings) -> MappingNode | None:
    place = Place("--destination")
    entries: dict[str, Entry] = {}
    for written in flags.destinations:
        match = _DESTINATION.fullmatch(written)
        if match is None:
            example = "9001=http://profile-service or profiles:9001=http://127.0.0.1:8081"
            message = f"{quoted(written)} is not [NAME:]PORT=URL, as in {example}"
            findings.error(place, "", message)
            continue
        name = match["name"] or _name(match["url"], match["port"])
        if name in entries:
            message = "is given twice; tell them apart with NAME:PORT=URL"
            findings.error(place, f"outbound.destinations.{name}", message)
            continue
        parts: _Parts = [
            ("listen", ScalarNode(place, f"127.0.0.1:{match['port']}", plain=False)),
            ("upstream", ScalarNode(place, match["url"], plain=False)),
            ("allow_plaintext", _plaintext(flags)),
        ]
        entries[name] = Entry(place, _map(place, parts))
    return MappingNode(place, entries) if entries else None


def _name(url: str, port: str) -> str:
    match = _FIRST_LABEL.match(url)
    return match["label"].rstrip("-") if match and match["label"] != "localhost" else f"port-{port}"


def _plaintext(flags: Flags) -> Node | None:
    return ScalarNode(Place("--allow-plaintext"), "true") if flags.allow_plaintext else None


def _text(flag: str, value: str | None) -> Node | None:
    return None if value is None else ScalarNode(Place(flag), value, plain=False)


def _list(place: Place, items: Iterable[Node]) -> Node | None:
    nodes = tuple(items)
    return SequenceNode(place, nodes) if nodes else None


def _named(key: str, value: MappingNode | None) -> MappingNode | None:
    return None if value is None else _map(value.place, [(key, value)])


def _optional(parts: _Parts, extra: _Parts | None = None) -> MappingNode | None:
    """Return a map of what is given, placed at its first part; *extra* alone makes no map."""
    first = next((node.place for _, node in parts if node is not None), None)
    return None if first is None else _map(first, [*parts, *(extra or [])])


def _map(place: Place, parts: _Parts) -> MappingNode:
    entries = {key: Entry(node.place, node) for key, node in parts if node is not None}
    return MappingNode(place, entries)
