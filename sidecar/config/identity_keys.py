"""The keys of what the app is told of the caller, and how they become ``model.Identity``."""

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from sidecar.config import token_keys, values
from sidecar.config.kinds import INVALID, Choice, Invalid, Kind, ListOf, Schema, Text
from sidecar.config.model import Identity, SignedHeader
from sidecar.config.positions import MappingNode, Node, SequenceNode, under
from sidecar.config.problems import Place
from sidecar.config.reading import Reading
from sidecar.config.references import ReferenceProblem, read_regular_file
from sidecar.config.sections import REQUIRED, Fields, Key, Section, default_of
from sidecar.config.values import Complaint
from sidecar.config.written import duration, free_text, size
from sidecar.core.claim_paths import ClaimPath, show_claim_path
from sidecar.core.headers import mark_apart_from_identity
from sidecar.core.identity import IdentityFormat, IdentityHeader, IdentitySource
from sidecar.core.names import SIDECAR_PREFIX, folded
from sidecar.core.propagation import MARKS
from sidecar.core.signed_identity import OWN_CLAIMS

MAX_HEADERS: Final = 32

_NAME: Final = r"^[A-Za-z][0-9A-Za-z-]{0,62}[0-9A-Za-z]$"
_PREFIX: Final = r"^[A-Za-z][0-9A-Za-z-]{0,30}-$"
_ELEMENT_PREFIX: Final = r"^[!-$&-+\-./0-9:<-{}~]{1,64}$"
"""Visible ASCII without ``%`` and without the characters that separate."""

_TAKEN: Final = frozenset(
    ("accept", "age", "allow", "authorization", "cache-control", "connection", "cookie", "cookie2",
     "date", "depth", "destination", "early-data", "etag", "expect", "expires", "forwarded",
     "from", "host", "http2-settings", "keep-alive", "last-modified", "link", "location",
     "max-forwards", "origin", "overwrite", "pragma", "prefer", "priority", "range", "referer",
     "refresh", "server", "set-cookie", "set-cookie2", "te", "trailer", "transfer-encoding",
     "upgrade", "upgrade-insecure-requests", "user-agent", "vary", "via", "warning",
     "www-authenticate", "x-real-ip", "x-client-ip", "x-cluster-client-ip",
     "x-envoy-external-address", "x-original-forwarded-for", "x-original-host", "x-forwarded",
     "true-client-ip", "client-ip", "x-requested-with", "grpc-timeout", "grpc-encoding",
     "grpc-status", "grpc-message")
)  # fmt: skip
"""What clients, servers and proxies read; one more of them would say something else."""
_TAKEN_PREFIXES: Final = (
    "accept-", "access-control-", "content-", "if-", "proxy-", "sec-", "x-forwarded-", "x-b3-",
)  # fmt: skip
_ABOUT_THE_CALLER: Final = frozenset(
    ("x-forwarded-user", "x-forwarded-email", "x-forwarded-groups",
     "x-forwarded-preferred-username")
)  # fmt: skip
"""By convention of proxies that authenticate; nothing about the way a request took."""
_STANDARD: Final = ("subject", "issuer", "scopes", "roles")


def _header(value: str) -> str:
    name = folded(value.lower().encode()).decode("ascii")
    if name.startswith(SIDECAR_PREFIX):
        raise Complaint("is reserved: `x-sidecar-` is for the sidecar's own headers")
    is_taken = name in _TAKEN or name.startswith(_TAKEN_PREFIXES)
    if (is_taken and name not in _ABOUT_THE_CALLER) or mark_apart_from_identity(name.encode()):
        raise Complaint("has another meaning, and cannot tell the app who calls")
    _check(value, _NAME, "must be letters, digits and `-`, 2 to 64 of them, a letter first")
    return value.lower()


def _prefix(value: str) -> str:
    prefix = value.lower()
    _check(value, _PREFIX, "must be letters, digits and `-`, 2 to 32 of them, with `-` at the end")
    if prefix.startswith((SIDECAR_PREFIX, *_TAKEN_PREFIXES)):
        raise Complaint("has another meaning, and cannot tell the app who calls")
    others = (SIDECAR_PREFIX, *_TAKEN_PREFIXES, *sorted(_TAKEN), *MARKS)
    if (taken := next((each for each in others if each.startswith(prefix)), None)) is not None:
        raise Complaint(f"is too short: every `{prefix}*` is removed, `{taken}` too")
    return prefix


def _check(value: str, pattern: str, message: str) -> None:
    if not re.fullmatch(pattern, value):
        meant = value.replace("_", "-")
        is_meant = meant != value and re.fullmatch(pattern, meant) is not None
        raise Complaint(message, meant if is_meant else None)


def _element_prefix(value: str) -> str:
    _check(
        value,
        _ELEMENT_PREFIX,
        "must be 1 to 64 visible characters without `%`, `,`, `;`, `|` and spaces",
    )
    return value


_SOURCES: Final = ("claim", "from", "client_roles")
_FORMATS: Final = ("text", "comma", "space", "semicolon", "pipe", "json")
_USUAL_FORMAT: Final[dict[IdentitySource, IdentityFormat]] = {
    "subject": "text",
    "issuer": "text",
    "scopes": "space",
}
_CLAIM_PATH: Final = Text("claim path", token_keys.claim_path, is_free=True)


def _identity_header(fields: Fields) -> IdentityHeader | Invalid:
    given = [name for name in _SOURCES if fields.entry(name) is not None]
    if not given and not fields.is_broken:
        fields.is_broken = True
        message = "needs `claim`, `from` or `client_roles`: what stands in it"
        fields.reading.findings.error(fields.node.place, fields.path, message)
    for name in given[1:]:
        fields.error(name, f"is a second source, besides `{given[0]}`")
    if fields.is_broken:
        return INVALID
    source: IdentitySource = fields.values.get("from", given[0])
    form: IdentityFormat = fields.values.get("format") or _USUAL_FORMAT.get(source, "comma")
    prefix = fields.values.get("prefix", "")
    if prefix and form == "json":
        fields.error("prefix", "is for values that stand one after the other, not for `json`")
        return INVALID
    return IdentityHeader(
        fields.name,
        source,
        fields.values.get("claim", ()),
        fields.values.get("client_roles", ""),
        form,
        prefix,
    )


HEADER: Final = Section(
    keys=(
        Key("claim", _CLAIM_PATH,
            "What stands in it: this claim of the token, as `email`, `realm_access.roles` or "
            "`resource_access.\"my.app\".roles`. A token without it gives no header."),
        Key("from", Choice(("subject", "issuer", "scopes", "roles")),
            "Instead of `claim`: what the issuer's profile reads from the token."),
        Key("client_roles", free_text("string"),
            "Instead of `claim`: the roles at this client (`profile: keycloak`)."),
        Key("format", Choice(_FORMATS),
            "How it is written. Lists: their values with `,`, a space, `;` or `|` between them, or "
            "as JSON; `text` is for single values.",
            default_text="`comma`; `space` for scopes; `text` for subject and issuer"),
        Key("prefix", Text("string", _element_prefix, _ELEMENT_PREFIX, is_free=True),
            "Before each value, such as `ROLE_`.", default_text="none"),
    ),
    build=_identity_header,
)  # fmt: skip


class HeadersKind:
    """A map from names of headers to what stands in them."""

    label = "map by header"
    bounds = f"{MAX_HEADERS} headers"
    section: Final = HEADER

    def read(self, node: Node, path: str, reading: Reading) -> tuple[IdentityHeader, ...] | Invalid:
        if not isinstance(node, MappingNode):
            message = "must be a map of headers, as {x-user-email: {claim: email}}"
            reading.findings.error(node.place, path, message)
            return INVALID
        found: dict[str, IdentityHeader] = {}
        seen: dict[str, str] = {}
        is_sound = True
        for written, entry in node.entries.items():
            inside = under(path, written)
            name = self._name(written, entry.place, inside, reading)
            if (earlier := seen.setdefault(name or written, written)) != written:
                reading.findings.error(entry.place, inside, f"is the same header as `{earlier}`")
                is_sound = False
            header = HEADER.read_named(name, entry.value, inside, reading)
            if name and not isinstance(header, Invalid):
                found[name] = header
        if len(node.entries) > MAX_HEADERS:
            reading.findings.error(node.place, path, f"must not be more than {MAX_HEADERS}")
            return INVALID
        return tuple(found.values()) if is_sound and len(found) == len(node.entries) else INVALID

    def _name(self, written: str, place: Place, path: str, reading: Reading) -> str:
        try:
            return _header(written)
        except Complaint as complaint:
            message = f"this name {complaint.message}"
            reading.findings.error(place, path, message, complaint.suggestion)
            return ""

    def schema(self) -> Schema:
        return {
            "type": "object",
            "maxProperties": MAX_HEADERS,
            "propertyNames": {"pattern": _NAME},
            "additionalProperties": HEADER.schema(),
        }

    def show(self, value: Any) -> Any:
        return {header.name: str(header) for header in value}


def _own_claim(value: str) -> ClaimPath:
    path = token_keys.claim_path(value)
    if path[0] in OWN_CLAIMS:
        raise Complaint(f"would replace `{path[0]}`, which the sidecar writes itself")
    return path


def _signed(fields: Fields) -> SignedHeader | Invalid:
    fields.values.setdefault("header", "")  # named by whoever knows the prefix
    _check_claims(fields)
    path = fields.values.get("key")
    if path is not None:
        fields.values["key"] = path = fields.place("key").resolve(path)
        if fields.entry("algorithm") is not None:
            fields.error("algorithm", "is for a key that is generated; `key` names one that is not")
        is_here = not fields.reading.is_elsewhere
        if is_here and (problem := problem_with_key(path, fields.reading.saw)):
            fields.error("key", problem)
    return INVALID if fields.is_broken else SignedHeader(**fields.values)


def _check_claims(fields: Fields) -> None:
    paths: tuple[ClaimPath, ...] = fields.values.get("claims", ())
    entry = fields.entry("claims")
    if entry is None or not isinstance(entry.value, SequenceNode):
        return
    for index, path in enumerate(paths):
        for other in paths:
            if path != other and path[: len(other)] == other:
                fields.is_broken = True
                fields.reading.findings.error(
                    entry.value.items[index].place,
                    f"{fields.path_of('claims')}[{index}]",
                    f"is within `{show_claim_path(other)}`, which is listed too",
                )


def problem_with_key(path: str, seen: Callable[[str, bytes], None]) -> str:
    """Say why the private key at *path* cannot be used, or nothing; *seen* is told what it is."""
    # cryptography comes with it; a configuration without such a key does not need that here.
    from sidecar.core.identity_key import MAX_KEY_FILE_BYTES, read_identity_key

    try:
        content = read_regular_file(path, MAX_KEY_FILE_BYTES)
        seen(path, content)
        read_identity_key(content)
    except (ReferenceProblem, ValueError) as problem:
        return str(problem)
    return ""


def _text(label: str, parse: Callable[[str], str], pattern: str) -> Kind[str]:
    return Text(label, parse, pattern, is_free=True)


SIGNED: Final = Section(
    keys=(
        Key("audience", free_text("string"), "`aud`: a name of the app, which it compares.",
            default=REQUIRED),
        Key("header", _text("string", _header, _NAME), "The header.",
            default_text="`prefix` and `assertion`"),
        Key("issuer", free_text("string"), "`iss`: a name of this sidecar.",
            default=default_of(SignedHeader, "issuer")),
        Key("lifetime", duration(5, 3600),
            "How long a signature is good, at most until the token's own end. It is made anew "
            "after three quarters of it.",
            "lifetime_seconds", default_of(SignedHeader, "lifetime_seconds")),
        Key("claims", ListOf(Text("claim path", _own_claim, is_free=True)),
            "Claims of the token that are signed too, where they stand in the token.",
            default=default_of(SignedHeader, "claims"), default_text="none"),
        Key("key", Text("path", values.file_path),
            "Private key in PEM, on P-256 or Ed25519, not encrypted; read again when it changes. "
            "Relative to this file's directory.",
            default=default_of(SignedHeader, "key"), default_text="generated at each start"),
        Key("algorithm", Choice(("ES256", "EdDSA")), "Of the key that is generated.",
            default=default_of(SignedHeader, "algorithm")),
    ),
    build=_signed,
)  # fmt: skip


def _identity(fields: Fields) -> Identity | Invalid:
    prefix = fields.values.get("prefix")
    signed: SignedHeader | None = fields.values.get("signed")
    if signed is not None and prefix is not None:
        _name_signed(fields, signed, prefix)
    _check_standard(fields, prefix)
    return INVALID if fields.is_broken else Identity(**fields.values)


def _name_signed(fields: Fields, signed: SignedHeader, prefix: str) -> None:
    if not signed.header:
        signed = replace(signed, header=f"{prefix}assertion")
        fields.values["signed"] = signed
    if any(each.name == signed.header for each in fields.values.get("headers", ())):
        fields.error("signed", f"`{signed.header}` is one of `headers` already")
    elif signed.header in standard_names(prefix):
        fields.error("signed", f"`{signed.header}` is always sent with the caller's own value")


def _check_standard(fields: Fields, prefix: str | None) -> None:
    entry = fields.entry("headers")
    if prefix is None or entry is None or not isinstance(entry.value, MappingNode):
        return
    for written, header in entry.value.entries.items():
        if written.lower() in standard_names(prefix):
            fields.is_broken = True
            fields.reading.findings.error(
                header.place,
                under(fields.path_of("headers"), written),
                "this name is taken: it is always sent",
            )


def standard_names(prefix: str) -> tuple[str, ...]:
    """Return the headers that every request with a verified token has."""
    return tuple(prefix + name for name in _STANDARD)


IDENTITY: Final = Section(
    keys=(
        Key("prefix", _text("string", _prefix, _PREFIX),
            "Of the headers that are always sent: `subject`, `issuer`, `scopes`, `roles`. Every "
            "header that begins so is removed wherever somebody else wrote it.",
            default=default_of(Identity, "prefix")),
        Key("headers", HeadersKind(),
            "Further headers, each with a claim or what else is known of the caller; removed "
            "wherever somebody else wrote them ([identity](identity.md)).",
            default=default_of(Identity, "headers"), default_text="none"),
        Key("signed", SIGNED,
            "One more header: who calls, signed by this sidecar, with the public key at "
            "`/.well-known/jwks.json` of the admin listener.",
            default=default_of(Identity, "signed"), default_text="not sent"),
        Key("max_size", size(256, 64 << 10),
            "Of all these headers together; a token that needs more is refused.",
            "max_bytes", default_of(Identity, "max_bytes")),
    ),
    build=_identity,
)  # fmt: skip


def check_sources(fields: Fields) -> None:
    """Report places of the token that are headers of ours at the same time."""
    identity: Identity | None = fields.values.get("identity")
    entry, sources = fields.entry("token_sources"), fields.values.get("token_sources")
    if identity is None or entry is None or sources is None:
        return
    if not isinstance(entry.value, SequenceNode):
        return
    ours = {header.compared for header in identity.headers}
    if identity.signed is not None:
        ours.add(identity.signed.header)
    for index, source in enumerate(sources):
        if source.kind != "header":
            continue
        name = source.compared.decode("ascii")
        if name.startswith(identity.prefix) or name in ours:
            node = entry.value.items[index]
            assert isinstance(node, MappingNode)
            fields.is_broken = True
            fields.reading.findings.error(
                node.entries["header"].value.place,
                f"{fields.path_of('token_sources')}[{index}].header",
                f"`{source.name}` is a header of `identity`, and cannot hold a token",
            )
