"""The places where a listener looks for a token, and how they are written."""

import re
from collections.abc import Callable
from typing import Final, cast

from sidecar.config.kinds import INVALID, Choice, Invalid, Schema, Text
from sidecar.config.positions import MappingNode, Node, SequenceNode
from sidecar.config.reading import Reading
from sidecar.config.sections import Fields, Key, Section
from sidecar.config.values import Complaint
from sidecar.core.headers import mark_apart_from_identity
from sidecar.core.names import folded
from sidecar.core.token_sources import SourceKind, TokenSource

_WORD: Final = r"^[0-9A-Za-z!#$&'*+.^_`|~-]{1,64}$"
"""``token`` of RFC 9110, section 5.6.2, without ``%``, which somebody would decode."""
_PARAMETER: Final = r"^[0-9A-Za-z][0-9A-Za-z._~-]{0,63}$"
_PREFIX: Final = r"^[0-9A-Za-z!#$&'*+.^_`|~-]{0,127}[._~-]$"

_TAKEN: Final = frozenset(
    ("accept", "connection", "date", "expect", "forwarded", "host", "keep-alive", "origin", "range",
     "referer", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "via",
     "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto")
)  # fmt: skip
_TAKEN_PREFIXES: Final = ("content-", "if-", "proxy-", "sec-")


def _header(value: str) -> str:
    name = folded(value.lower().encode()).decode("ascii") if value.isascii() else value
    if name == "authorization":
        raise Complaint("is a source of its own: write `authorization`")
    if name in ("cookie", "set-cookie"):
        raise Complaint("holds several values: write `{cookie: NAME}`")
    if not re.fullmatch(_WORD, value):
        raise Complaint("is not the name of a header")
    if (
        name in _TAKEN
        or name.startswith(_TAKEN_PREFIXES)
        or mark_apart_from_identity(name.encode())
    ):
        raise Complaint("has another meaning, and cannot hold a token")
    return value


def _named(pattern: str, message: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise Complaint(message)
        return value

    return parse


def _source(fields: Fields) -> TokenSource | Invalid:
    if fields.is_broken:
        return INVALID
    if len(fields.values) != 1:
        message = f"must have exactly one of {', '.join(key.name for key in _KEYS)}"
        fields.reading.findings.error(fields.node.place, fields.path, message)
        return INVALID
    ((kind, name),) = fields.values.items()
    return TokenSource(cast("SourceKind", kind), name)


_NO_PREFIX: Final = (
    "must be a prefix that ends in `.`, `_`, `~` or `-`; for a token after a subprotocol of its "
    "own write `{websocket_protocol_after: NAME}`"
)
_KEYS: Final = (
    Key("header", Text("string", _header, _WORD, is_free=True),
        "A header of this name: the token, or `Bearer` and the token."),
    Key("cookie",
        Text("string", _named(_WORD, "is not the name of a cookie"), _WORD, is_free=True),
        "A cookie of this name, with the same content."),
    Key("websocket_protocol",
        Text("string", _named(_PREFIX, _NO_PREFIX), _PREFIX, is_free=True),
        "A WebSocket subprotocol that is this prefix and the token, which is in base64url where "
        "the prefix says so, as Kubernetes' does: `base64url.bearer.authorization.k8s.io.`."),
    Key("websocket_protocol_after",
        Text("string", _named(_WORD, "is not a subprotocol"), _WORD, is_free=True),
        "The WebSocket subprotocol that comes after this one: `bearer, <token>`."),
    Key("query",
        Text("string", _named(_PARAMETER, "must be letters, digits, `.`, `_`, `~` or `-`"),
             _PARAMETER, is_free=True),
        "A parameter of the query, which is removed from it. URLs are logged and remembered: "
        "discouraged by RFC 6750, section 5.3, and warned about."),
)  # fmt: skip


class TokenSourceKind:
    """The word ``authorization``, or a map of one key."""

    label = "`authorization`, or map"
    bounds = ""
    _word: Final = Choice(
        ("authorization",),
        never=tuple((key.name, f"needs a name: write `{{{key.name}: NAME}}`") for key in _KEYS),
    )
    section: Final = Section(_KEYS, _source)

    def read(self, node: Node, path: str, reading: Reading) -> TokenSource | Invalid:
        if isinstance(node, MappingNode):
            return self.section.read(node, path, reading)
        if isinstance(node, SequenceNode):
            message = "must be `authorization` or a map such as `{cookie: NAME}`, not a list"
            reading.findings.error(node.place, path, message)
            return INVALID
        word = self._word.read(node, path, reading)
        return INVALID if isinstance(word, Invalid) else TokenSource("authorization")

    def schema(self) -> Schema:
        one = {**self.section.schema(), "minProperties": 1, "maxProperties": 1}
        return {"anyOf": [self._word.schema(), one]}

    def show(self, value: TokenSource) -> object:
        return {value.kind: value.name} if value.name else value.kind


def check_sources(fields: Fields) -> None:
    """Report sources that are the same to whoever reads them, and those that are discouraged."""
    entry, sources = fields.entry("token_sources"), fields.values.get("token_sources")
    if entry is None or sources is None or not isinstance(entry.value, SequenceNode):
        return
    seen: dict[tuple[str, bytes], int] = {}
    for index, source in enumerate(sources):
        place, path = entry.value.items[index].place, f"{fields.path_of('token_sources')}[{index}]"
        earlier = seen.setdefault((source.kind, source.compared), index)
        if earlier != index:
            fields.is_broken = True
            fields.reading.findings.error(
                place, path, f"is the same source as {fields.path_of('token_sources')}[{earlier}]"
            )
        if source.kind == "query":
            message = (
                "lets tokens come in URLs, which proxies and browsers write down "
                "(RFC 6750, section 5.3); prefer a header or a cookie"
            )
            fields.reading.findings.warn(place, path, message)
