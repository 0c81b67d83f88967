"""The keys of the inbound listener and its rules, and how they become ``model.Inbound``."""

from typing import Final

from sidecar.config import endpoints, identity_keys, values
from sidecar.config.kinds import (
    INVALID,
    NOT_SUPPORTED,
    Boolean,
    Choice,
    Invalid,
    Kind,
    ListOf,
    Planned,
    Schema,
    Text,
)
from sidecar.config.limits_keys import LIMITS
from sidecar.config.model import (
    Address,
    Allow,
    Demand,
    Forwarded,
    Inbound,
    Origin,
    Require,
    Rule,
)
from sidecar.config.positions import MappingNode, Node, ScalarNode, SequenceNode, under
from sidecar.config.reading import Located, Reading
from sidecar.config.rule_names import EVERYTHING, named
from sidecar.config.sections import REQUIRED, Fields, Key, Section, assemble, default_of
from sidecar.config.tls_keys import LISTENER_TLS
from sidecar.config.token_source_keys import TokenSourceKind, check_sources
from sidecar.config.written import LISTEN, ORIGIN, VIA, duration, free_text, size

DEFAULT_LISTEN: Final = Address("0.0.0.0", 15406)  # noqa: S104 - callers come from other pods
DEFAULT_APP: Final = Origin("http", "127.0.0.1", 8080)


class DemandKind:
    """A list, which asks for all its names, or ``{any: [...]}``, which asks for one."""

    bounds = ""

    def __init__(self, item: Kind[str]) -> None:
        self._list = ListOf(item)
        self.any_of: Section[Demand] = Section(
            (Key("any", self._list, "One of them is enough.", default=REQUIRED),), _any
        )
        self.label = f"{self._list.label}, or `{{any: [...]}}`"

    def read(self, node: Node, path: str, reading: Reading) -> Demand | Invalid:
        if isinstance(node, MappingNode):
            return self.any_of.read(node, path, reading)
        names = self._list.read(node, path, reading)
        return INVALID if isinstance(names, Invalid) else Demand(names)

    def schema(self) -> Schema:
        return {"anyOf": [self._list.schema(), self.any_of.schema()]}

    def show(self, value: object) -> object:
        return value


def _any(fields: Fields) -> Demand | Invalid:
    return INVALID if fields.is_broken else Demand(fields.values["any"], "any")


class ClientRolesKind:
    """A map from the id of a client to what ``DemandKind`` takes."""

    label = "map of client to list of string, or `{any: [...]}`"
    bounds = ""
    demand: Final = DemandKind(free_text("string"))

    def read(
        self, node: Node, path: str, reading: Reading
    ) -> tuple[tuple[str, Demand], ...] | Invalid:
        if not isinstance(node, MappingNode):
            message = "must be a map of client ids to roles, as {orders: [admin]}"
            reading.findings.error(node.place, path, message)
            return INVALID
        if not node.entries:
            reading.findings.error(node.place, path, "must not be empty")
            return INVALID
        found = [
            (client, self.demand.read(entry.value, under(path, client), reading))
            for client, entry in node.entries.items()
        ]
        sound = tuple((client, each) for client, each in found if not isinstance(each, Invalid))
        return sound if len(sound) == len(found) else INVALID

    def schema(self) -> Schema:
        return {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": self.demand.schema(),
        }

    def show(self, value: object) -> object:
        return value


def _require(fields: Fields) -> Require | Invalid:
    if not fields.node.entries:
        fields.reading.findings.error(
            fields.node.place,
            fields.path,
            "must name scopes, roles, issuers or audiences, or be `authenticated`",
        )
        return INVALID
    return INVALID if fields.is_broken else Require(**fields.values)


class IssuerName:
    """The name of an issuer, noted to be looked for among those that there are."""

    label = "name"
    bounds = ""
    _text: Final = Text("name", values.name, values.NAME_PATTERN)

    def read(self, node: Node, path: str, reading: Reading) -> str | Invalid:
        name = self._text.read(node, path, reading)
        if not isinstance(name, Invalid):
            reading.draft.issuer_names.append(Located(name, node.place, path))
        return name

    def schema(self) -> Schema:
        return self._text.schema()

    def show(self, value: object) -> object:
        return value


class RequireKind:
    """The word ``authenticated``, or a map of what the token must have."""

    label = "`authenticated`, or map"
    bounds = ""
    _word: Final = Choice(("authenticated",))
    section: Final = Section(
        keys=(
            Key("scopes", DemandKind(Text("string", values.scope, is_free=True)),
                "Scopes the token must carry."),
            Key("roles", DemandKind(free_text("string")), "Roles the token must carry."),
            Key("issuers", ListOf(IssuerName()),
                "Names under `issuers`: only tokens of one of them will do."),
            Key("audiences", ListOf(free_text("string")),
                "One of them must be in `aud`, beside one of the issuer's own `audiences`."),
            Key("client_roles", ClientRolesKind(),
                "Roles the token must carry for each of these clients (`profile: keycloak`)."),
        ),
        build=_require,
    )  # fmt: skip

    def read(self, node: Node, path: str, reading: Reading) -> Allow | Require | Invalid:
        if isinstance(node, MappingNode):
            return self.section.read(node, path, reading)
        if isinstance(node, SequenceNode):
            message = "must be `authenticated` or a map with `scopes` or `roles`, not a list"
            reading.findings.error(node.place, path, message)
            return INVALID
        if isinstance(node, ScalarNode) and node.text == "anyone":
            message = "cannot be `anyone`; write `allow: anyone` instead of `require`"
            reading.findings.error(node.place, path, message)
            return INVALID
        word = self._word.read(node, path, reading)
        return INVALID if isinstance(word, Invalid) else Allow.AUTHENTICATED

    def schema(self) -> Schema:
        return {"anyOf": [self._word.schema(), {**self.section.schema(), "minProperties": 1}]}

    def show(self, value: object) -> object:
        return value


def _rule(fields: Fields) -> Rule | Invalid:
    allow, require = fields.entry("allow"), fields.entry("require")
    if allow is not None and require is not None:
        fields.error("require", "excludes `allow`; a rule has one of them")
    elif allow is None and require is None:
        fields.is_broken = True
        fields.reading.findings.error(
            fields.node.place,
            fields.path,
            "needs `allow: anyone`, `require: authenticated` or `require` with scopes or roles",
        )
    if fields.is_broken:
        return INVALID
    access = Allow.ANYONE if allow is not None else fields.values["require"]
    kept = {key: value for key, value in fields.values.items() if key not in ("allow", "require")}
    rule = Rule(access=access, **kept)
    located = Located(rule, fields.node.place, fields.path)
    fields.reading.draft.rules.append(located)
    return rule


_MODE: Final = Choice(("enforce", "observe"))

RULE: Final = Section(
    keys=(
        Key("name", Text("string", values.label, is_free=True),
            "The metric label and what logs say.", default="",
            default_text="first method and first path"),
        Key("paths", ListOf(Text("path pattern", values.path_pattern)),
            "`*` is one segment; `/**` at the end is the path before it and all below.",
            default=REQUIRED),
        Key("methods", ListOf(Text("method", values.method, values.METHOD_PATTERN)),
            "Methods the rule is for.", default=None, default_text="every method"),
        Key("allow", Choice(("anyone",), never=(
                ("authenticated", "belongs under `require`: write `require: authenticated`"),)),
            "Anyone may call: no token is looked at. Excludes `require`."),
        Key("require", RequireKind(),
            "A valid token is needed, with these rights. Excludes `allow`."),
        Key("mode", _MODE, "As `inbound.mode`, for this rule.", default=None,
            default_text="`inbound.mode`"),
        Key("max_age", duration(1, 3600),
            "Oldest request of this rule that may still cause calls; for routes that stream.",
            "max_age_seconds", default=None, default_text="`attribution.max_age`"),
        Key("linger", duration(0, 60),
            "How long a request may cause calls after its response; with `strict` or `standard` "
            "evidence only, and never once its caller has left.",
            "linger_seconds", default_of(Rule, "linger_seconds")),
        Key("exclusive", Boolean(),
            "Whether its requests take turns under `attribution.exclusive`. `false` only for "
            "routes that make no calls and leave no work behind, such as health checks.",
            default=default_of(Rule, "exclusive")),
    ),
    build=_rule,
)  # fmt: skip


def _inbound(fields: Fields) -> Inbound | Invalid:
    draft = fields.reading.draft
    for key, note in (("listen", _note_listener), ("app", _note_app)):
        if key in fields.values:
            note(fields)
    _check_token_size(fields)
    check_sources(fields)
    identity_keys.check_sources(fields)
    if fields.values.get("rules", ()) is None:
        draft.rules.append(Located(EVERYTHING, fields.node.place, fields.path_of("rules")))
        fields.values["rules"] = (EVERYTHING,)
    if fields.is_broken:
        return INVALID
    fields.values["rules"] = named(fields.values["rules"])
    return Inbound(**fields.values)


def _note_listener(fields: Fields) -> None:
    located = Located(fields.values["listen"], fields.place("listen"), fields.path_of("listen"))
    fields.reading.draft.listeners.append(located)


def _note_app(fields: Fields) -> None:
    app = fields.values["app"]
    fields.reading.draft.app = Located(app, fields.place("app"), fields.path_of("app"))
    if app.scheme == "https":
        fields.error("app", f"an app behind https:// {NOT_SUPPORTED}")
    elif not endpoints.is_loopback(app.host):
        fields.reading.findings.warn(
            fields.place("app"),
            fields.path_of("app"),
            "is beyond loopback: identity headers cross a network, and any peer can send its own",
        )


def _check_token_size(fields: Fields) -> None:
    limits, most = fields.values.get("limits"), fields.values.get("max_token_bytes")
    if limits is not None and most is not None and most > limits.max_head_bytes:
        fields.reading.findings.warn(
            fields.place("max_token"),
            fields.path_of("max_token"),
            "is more than `limits.max_head`, so that no such token can arrive",
        )


class InboundKind(Section[Inbound]):
    """One listener. The design has a list of them too."""

    def read(self, node: Node, path: str, reading: Reading) -> Inbound | Invalid:
        if isinstance(node, SequenceNode):
            reading.findings.error(node.place, path, f"a list of listeners {NOT_SUPPORTED}")
            return INVALID
        return super().read(node, path, reading)


FORWARDED: Final = Section(
    keys=(
        Key("trust", ListOf(Text("network", endpoints.network)),
            "Whose `X-Forwarded-*` and `Forwarded` are passed on, as `10.0.0.0/8`. Everybody "
            "else's are removed.", default=default_of(Forwarded, "trust"), default_text="nobody"),
        Key("set", Choice(("x-forwarded", "forwarded", "both", "off")),
            "What we write or append to: `X-Forwarded-For`, `-Proto` and `-Host`, `Forwarded` "
            "(RFC 7239), both, or nothing.", default=default_of(Forwarded, "set")),
    ),
    build=assemble(Forwarded),
)  # fmt: skip

INBOUND: Final = InboundKind(
    keys=(
        Key("listen", LISTEN, "Where callers connect.", default=DEFAULT_LISTEN),
        Key("app", ORIGIN, "Where the app listens: plain HTTP on loopback.", default=DEFAULT_APP),
        Key("mode", _MODE,
            "`observe` counts what rules would refuse and lets it pass; faulty tokens are still "
            "refused.", default=default_of(Inbound, "mode")),
        Key("token_to_app", Choice(("withhold", "placeholder", "forward")),
            "What the app gets as `Authorization`: nothing, a placeholder that is worth nothing "
            "elsewhere, or the caller's token.",
            default=default_of(Inbound, "token_to_app")),
        Key("token_sources", ListOf(TokenSourceKind()),
            "Where in a request the token may be; there may be one in all. What is found is "
            "removed ([tokens](tokens.md)).",
            default=default_of(Inbound, "token_sources"), default_text="`[authorization]`"),
        Key("max_token", size(256, 64 << 10), "Longest token that is looked at.",
            "max_token_bytes", default_of(Inbound, "max_token_bytes")),
        Key("rules", ListOf(RULE), "First match wins; no match is refused.", default=None,
            default_text="one rule: `require: authenticated` on `/**`"),
        Key("allow_encoded_slash", Boolean(), "Accept `%2F` inside a path segment.",
            default=default_of(Inbound, "allow_encoded_slash")),
        Key("allow_semicolon", Boolean(), "Accept `;` in paths.",
            default=default_of(Inbound, "allow_semicolon")),
        Key("reuse_after_content", Boolean(),
            "Keep the connection to the app after a request with content. Only for an app whose "
            "server reads or discards all content: others take the rest of it for a request.",
            default=default_of(Inbound, "reuse_after_content")),
        Key("limits", LIMITS, "Bounds of this listener and of its connections to the app."),
        Key("tls", LISTENER_TLS, "Speak TLS with callers, and nothing else.",
            default=default_of(Inbound, "tls"), default_text="plain HTTP"),
        Key("forwarded", FORWARDED,
            "What the app is told of the way a request took. Without it such fields pass as they "
            "came, from whomever.",
            default=default_of(Inbound, "forwarded"), default_text="left alone"),
        Key("via", VIA, "Name under which we add ourselves to `Via`, in both directions.",
            default=default_of(Inbound, "via"), default_text="not added"),
        Key("identity", identity_keys.IDENTITY,
            "What the app is told of the caller ([identity](identity.md))."),
        Key("observe_tokens", Planned(), ""),
        Key("unprotected_ports", Planned(), ""),
    ),
    build=_inbound,
)  # fmt: skip
