"""The keys of a rule, and how they become ``model.Rule``.

Owns what is wrong with one rule by itself; rules against each other are ``rule_checks``' business.
"""

from typing import Final

from sidecar.config import endpoints, values
from sidecar.config.claim_condition_keys import ClaimConditionsKind
from sidecar.config.demand_keys import ClientRolesKind, DemandKind
from sidecar.config.kinds import (
    INVALID,
    Boolean,
    Choice,
    Invalid,
    ListOf,
    Schema,
    Text,
)
from sidecar.config.mentions import Mention
from sidecar.config.model import Allow, Require, Rule
from sidecar.config.positions import MappingNode, Node, ScalarNode, SequenceNode, under
from sidecar.config.problems import nearest
from sidecar.config.reading import Located, Reading
from sidecar.config.sections import REQUIRED, Fields, Key, Section, default_of
from sidecar.config.written import duration, free_text
from sidecar.core.routes import named_segments


def _require(fields: Fields) -> Require | Invalid:
    if not fields.node.entries:
        fields.reading.findings.error(
            fields.node.place,
            fields.path,
            "must name scopes, roles, claims or another right, or be `authenticated`",
        )
        return INVALID
    return INVALID if fields.is_broken else Require(**fields.values)


class ActorKind:
    """The word ``none``, or a list of subjects."""

    label = "`none`, or list of string"
    bounds = ""
    _word: Final = Choice(("none",))
    _list: Final = ListOf(free_text("string"))

    def read(self, node: Node, path: str, reading: Reading) -> tuple[str, ...] | Invalid:
        if isinstance(node, SequenceNode):
            return self._list.read(node, path, reading)
        word = self._word.read(node, path, reading)
        return INVALID if isinstance(word, Invalid) else ()

    def schema(self) -> Schema:
        return {"anyOf": [self._word.schema(), self._list.schema()]}

    def show(self, value: object) -> object:
        return value


def _whole_seconds(text: str) -> int:
    seconds = _AUTH_AGE(text)
    if seconds != int(seconds):
        raise values.Complaint("must be whole seconds")
    return int(seconds)


_AUTH_AGE: Final = values.duration(1, 720 * 3600)
AUTH_AGE: Final = Text("duration", _whole_seconds, values.DURATION_PATTERN, "1s to 720h")


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
            Key("issuers", ListOf(Mention(lambda draft: draft.issuer_names)),
                "Names under `issuers`: only tokens of one of them will do."),
            Key("audiences", ListOf(free_text("string")),
                "One of them must be in `aud`, beside one of the issuer's own `audiences`."),
            Key("client_roles", ClientRolesKind(),
                "Roles the token must carry for each of these clients (`profile: keycloak`)."),
            Key("claims", ClaimConditionsKind(),
                "What single claims must say, each by its path, as `{tenant: {equals: north}}`."),
            Key("actor", ActorKind(),
                "Who may use the token for its subject (`sub` of `act`, RFC 8693): `none`, or one "
                "of these.", "actors"),
            Key("acr", ListOf(Text("string", values.acr, is_free=True)),
                "How the subject was authenticated: one of these, the preferred first; otherwise "
                "401 as in RFC 9470."),
            Key("max_auth_age", AUTH_AGE,
                "Longest time since the subject was authenticated (`auth_time`); otherwise 401 as "
                "in RFC 9470.", "max_auth_age_seconds"),
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
    if "paths" in fields.values:
        _check_segments(fields)
    if allow is None and require is None:
        fields.is_broken = True
        fields.reading.findings.error(
            fields.node.place,
            fields.path,
            "needs `allow: anyone`, `require: authenticated` or `require` with scopes or roles",
        )
    if fields.is_broken:
        return INVALID
    access = Allow(fields.values["allow"]) if allow is not None else fields.values["require"]
    kept = {key: value for key, value in fields.values.items() if key not in ("allow", "require")}
    rule = Rule(access=access, **kept)
    located = Located(rule, fields.node.place, fields.path)
    fields.reading.draft.rules.append(located)
    return rule


def _check_segments(fields: Fields) -> None:
    """Report names that stand for two segments, and conditions on names that no path has."""
    places: dict[str, set[int]] = {}
    paths = fields.values["paths"]
    for path in paths:
        for name, index in named_segments(path).items():
            places.setdefault(name, set()).add(index)
    require = fields.values.get("require")
    conditions = require.claims if isinstance(require, Require) else ()
    for condition in conditions:
        if condition.test != "segment":
            continue
        name = str(condition.values[0])
        place = under(fields.path_of("require"), "claims")
        lacking = [path for path in paths if name not in named_segments(path)]
        if lacking:
            message = f"asks for the segment {{{name}}}, and the path {lacking[0]} has none"
            close = nearest(name, named_segments(lacking[0]))
            fields.is_broken = True
            fields.reading.findings.error(fields.place("require"), place, message, close)
        elif len(places[name]) > 1:
            message = (
                f"asks for the segment {{{name}}}, which is not in the same place of every path: "
                "write a rule for each place"
            )
            fields.is_broken = True
            fields.reading.findings.error(fields.place("require"), place, message)


MODE: Final = Choice(("enforce", "observe"))

RULE: Final = Section(
    keys=(
        Key("name", Text("string", values.label, is_free=True),
            "The metric label and what logs say.", default="",
            default_text="first method and first path"),
        Key("paths", ListOf(Text("path pattern", values.path_pattern)),
            "`*` is one segment, `{name}` one that conditions may refer to; `/**` at the end is "
            "the path before it and all below.",
            default=REQUIRED),
        Key("hosts", ListOf(Text("host", endpoints.host_pattern, endpoints.HOST_RULE_PATTERN)),
            "Hosts the rule is for, by `Host` without its port; `*.` in front is one label.",
            default=None, default_text="every host"),
        Key("methods", ListOf(Text("method", values.method, values.METHOD_PATTERN)),
            "Methods the rule is for.", default=None, default_text="every method"),
        Key("allow", Choice(("anyone", "optional_token"), never=(
                ("authenticated", "belongs under `require`: write `require: authenticated`"),)),
            "`anyone`: no token is looked at. `optional_token`: anyone may call too, but a token "
            "that is sent must be good, and tells the app who calls. Excludes `require`."),
        Key("require", RequireKind(),
            "A valid token is needed, with these rights. Excludes `allow`."),
        Key("mode", MODE, "As `inbound.mode`, for this rule.", default=None,
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
