"""The keys of ``admin.app_probes``: what the kubelet may have us ask the app."""

import re
from typing import Any, Final

from sidecar.config import endpoints
from sidecar.config.kinds import INVALID, Boolean, Choice, Integer, Invalid, ListOf, Schema, Text
from sidecar.config.model import Address, AppProbe, Config
from sidecar.config.positions import BrokenNode, MappingNode, Node, SequenceNode, under
from sidecar.config.problems import Findings
from sidecar.config.reading import Draft, Located, Reading
from sidecar.config.sections import REQUIRED, Fields, Key, Section, default_of
from sidecar.config.values import Complaint
from sidecar.config.written import duration
from sidecar.core.headers import CARRIER, CONTEXT, RESERVED, classifier
from sidecar.core.names import folded

MAX_PROBES: Final = 32
MAX_HEADERS: Final = 16

_PATH: Final = r"^/[0-9A-Za-z._~!$&'()*+,;=:@/?%-]{0,1023}$"
"""Path and query of RFC 3986, sections 3.3 and 3.4."""
_NAME: Final = r"^[0-9A-Za-z!#$%&'*+.^_`|~-]{1,64}$"
_VALUE: Final = r"^[!-~]([ -~]{0,1022}[!-~])?$"
_OURS: Final = frozenset(
    ("connection", "expect", "http2-settings", "keep-alive", "te", "trailer", "transfer-encoding",
     "upgrade")
)  # fmt: skip
"""About the connection and the message, which are the relay's."""
_OUR_PREFIXES: Final = ("content-", "proxy-")


def _path(value: str) -> str:
    if not value.startswith("/"):
        raise Complaint("must start with `/`", f"/{value}" if value else None)
    if not re.fullmatch(_PATH, value):
        raise Complaint("holds a character that no path can have, or is too long")
    return value


def _name(value: str) -> str:
    if not re.fullmatch(_NAME, value):
        raise Complaint("is not the name of a header")
    name = folded(value.lower().encode()).decode("ascii")
    if name in _OURS or name.startswith(_OUR_PREFIXES):
        raise Complaint("is the relay's own: it is about the message, not the question")
    return value


def _value(value: str) -> str:
    if not re.fullmatch(_VALUE, value):
        raise Complaint("must be 1 to 1,024 visible characters of ASCII, spaces between them")
    return value


class _HeadersKind:
    """A map from names to values."""

    label = "map by header"
    bounds = f"{MAX_HEADERS} headers"
    value: Final = Text("string", _value, _VALUE, is_free=True)

    def read(
        self, node: Node, path: str, reading: Reading
    ) -> tuple[tuple[str, str], ...] | Invalid:
        if isinstance(node, BrokenNode):
            return INVALID
        if not isinstance(node, MappingNode):
            message = "must be a map of headers, as {Host: health.example}"
            reading.findings.error(node.place, path, message)
            return INVALID
        found: list[tuple[str, str]] = []
        seen: dict[str, str] = {}
        for written, entry in node.entries.items():
            inside = under(path, written)
            is_named = True
            try:
                _name(written)
            except Complaint as complaint:
                reading.findings.error(entry.place, inside, f"this name {complaint.message}")
                is_named = False
            if (earlier := seen.setdefault(written.lower(), written)) != written:
                reading.findings.error(entry.place, inside, f"is the same header as `{earlier}`")
                is_named = False
            value = self.value.read(entry.value, inside, reading)
            if is_named and not isinstance(value, Invalid):
                found.append((written, value))
        if len(node.entries) > MAX_HEADERS:
            reading.findings.error(node.place, path, f"must not be more than {MAX_HEADERS}")
            return INVALID
        return tuple(found) if len(found) == len(node.entries) else INVALID

    def schema(self) -> Schema:
        return {
            "type": "object",
            "maxProperties": MAX_HEADERS,
            "propertyNames": {"pattern": _NAME},
            "additionalProperties": self.value.schema(),
        }

    def show(self, value: Any) -> Any:
        return dict(value)


def _probe(fields: Fields) -> AppProbe | Invalid:
    if fields.values.get("tcp"):
        for key in ("path", "scheme", "headers"):
            if fields.entry(key) is not None:
                fields.error(key, "is for HTTP; with `tcp: true` a connection is all that is tried")
    if fields.is_broken:
        return INVALID
    probe = AppProbe(**fields.values)
    fields.reading.draft.app_probes.append(Located(probe, fields.node.place, fields.path))
    return probe


class _ProbesKind(ListOf[AppProbe]):
    """A list with a bound: each is one more thing that anybody may make us do."""

    def read(self, node: Node, path: str, reading: Reading) -> tuple[AppProbe, ...] | Invalid:
        if isinstance(node, SequenceNode) and len(node.items) > MAX_PROBES:
            reading.findings.error(node.place, path, f"must not be more than {MAX_PROBES}")
            return INVALID
        return super().read(node, path, reading)

    def schema(self) -> Schema:
        return {**super().schema(), "maxItems": MAX_PROBES}


APP_PROBES: Final = _ProbesKind(
    Section(
        keys=(
            Key("port", Integer(1, 65535), "Where the app listens, on loopback.", default=REQUIRED),
            Key("path", Text("path", _path, _PATH),
                "What is asked for with GET, a query included.",
                default=default_of(AppProbe, "path")),
            Key("scheme", Choice(("http", "https")),
                "How; a certificate is not verified, as the kubelet does not.",
                default=default_of(AppProbe, "scheme")),
            Key("headers", _HeadersKind(),
                "Sent besides `Host`, `User-Agent` and `Accept`, or instead of them; not what "
                "tells the app who calls.",
                default=default_of(AppProbe, "headers"), default_text="none"),
            Key("tcp", Boolean(), "Only try whether a connection is accepted.",
                default=default_of(AppProbe, "tcp")),
            Key("timeout", duration(0.1, 60), "Longest wait for the answer; then 504.",
                "timeout_seconds", default_of(AppProbe, "timeout_seconds")),
        ),
        build=_probe,
    ),
    bounds=f"{MAX_PROBES} probes",
)  # fmt: skip


def check_app_probes(draft: Draft, findings: Findings) -> None:
    """Report probes that would ask the sidecar itself, which could go on for ever."""
    for located in draft.app_probes:
        there = Address("localhost", located.value.port)
        for listener in draft.listeners:
            if endpoints.overlap(there, listener.value):
                message = f"is where the sidecar itself listens: {listener.path}"
                path = under(located.path, "port")
                findings.error(located.place, path, f"{message} at {listener.place}")


def check_probe_headers(draft: Draft, config: Config, findings: Findings) -> None:
    """Report headers that the app would take for the sidecar's word on who calls."""
    identity = config.inbound.identity
    names = {header.compared for header in identity.headers}
    if identity.signed is not None:
        names.add(identity.signed.header)
    mark = classifier(identity.prefix, frozenset(names))
    for located in draft.app_probes:
        for name, _ in located.value.headers:
            if mark(name.lower().encode()) in (RESERVED, CONTEXT, CARRIER):
                path = under(under(located.path, "headers"), name)
                findings.error(
                    located.place, path, "is reserved: the app believes the sidecar what it says"
                )
