"""The file of ``sidecar rules test``: tokens, requests, and what should come of them.

As strict as the configuration, and read by the same machinery: an unknown key or a wrong value is a
problem with its line and column, and all of them are told.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from sidecar.config import values
from sidecar.config.kinds import INVALID, Integer, Invalid, ListOf, Schema, Text, read_string
from sidecar.config.load import read_tree
from sidecar.config.positions import (
    NOT_A_STRING,
    BrokenNode,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
)
from sidecar.config.problems import Findings, Place, Problem, nearest, quoted
from sidecar.config.reading import Reading
from sidecar.config.sections import REQUIRED, Fields, Key, MapOf, Section
from sidecar.config.values import Complaint
from sidecar.config.written import free_text
from sidecar.core.outcome import REASONS_BY_CODE

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class TestToken:
    """What a token says. What every token needs and is not written here is filled in."""

    __test__ = False  # no test of pytest's

    issuer: str = ""
    """The issuer's name in the configuration; empty: the only one there is."""
    claims: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[str, ...] = ()
    """Claims that are not filled in."""
    typ: str | None = None


@dataclass(frozen=True, slots=True)
class Expectation:
    """What should come of a case."""

    outcome: str
    """``allowed``, ``refused`` or ``observed``."""
    reason: str = ""
    """Empty: whichever."""
    rule: str = ""
    """Empty: whichever."""

    def __str__(self) -> str:
        text = f"{self.outcome}: {self.reason}" if self.reason else self.outcome
        return f"{text} (rule {self.rule})" if self.rule else text


@dataclass(frozen=True, slots=True)
class Case:
    """One request and what should come of it."""

    name: str
    request: tuple[str, str]
    """Method and target."""
    expect: Expectation
    place: Place
    token: str = ""
    """Name of a token; empty: none is sent."""
    host: str = ""


@dataclass(frozen=True, slots=True)
class Expectations:
    """One file."""

    file: str
    cases: tuple[Case, ...]
    tokens: Mapping[str, TestToken] = field(default_factory=dict)
    token_places: Mapping[str, Place] = field(default_factory=dict)
    now: float | None = None


def read_expectations(path: str) -> tuple[Expectations | None, tuple[Problem, ...]]:
    """Return what the file at *path* expects, or everything that is wrong with it."""
    findings = Findings([path])
    root = read_tree(path, findings)
    found: Expectations | Invalid = INVALID
    if root is not None:
        found = _ROOT.read(root, "", Reading(findings, {}))
    errors = findings.errors
    return (None if errors or isinstance(found, Invalid) else found), errors


class JsonKind:
    """Any JSON value, as YAML: a string that looks like something else needs quotes."""

    label = "any value"
    bounds = ""

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        match node:
            case BrokenNode():
                return INVALID
            case SequenceNode(items=items):
                found = [self.read(n, f"{path}[{i}]", reading) for i, n in enumerate(items)]
                return INVALID if any(each is INVALID for each in found) else found
            case MappingNode(entries=entries):
                read = {k: self.read(e.value, f"{path}.{k}", reading) for k, e in entries.items()}
                return INVALID if any(each is INVALID for each in read.values()) else read
            case ScalarNode(plain=True, text=text) if text in _WORDS:
                return _WORDS[text]
            case ScalarNode(plain=True, text=text) if _NUMBER.fullmatch(text):
                return float(text) if "." in text else int(text)
            case ScalarNode(plain=True, text=text) if not text or NOT_A_STRING.fullmatch(text):
                message = f"{quoted(text)} needs quotes to be a string" if text else "has no value"
                reading.findings.error(node.place, path, message, f'"{text}"' if text else None)
                return INVALID
            case ScalarNode(text=text):
                return text

    def schema(self) -> Schema:
        return {}

    def show(self, value: Any) -> Any:
        return value


_WORDS: Final = {"true": True, "false": False, "null": None}
_NUMBER: Final = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,9})?")
_JSON: Final = JsonKind()


class ClaimsKind:
    """The claims of a token: a map of any values."""

    label = "map"
    bounds = ""

    def read(self, node: Node, path: str, reading: Reading) -> Any:
        if not isinstance(node, MappingNode | BrokenNode):
            reading.findings.error(node.place, path, "must be a map of claims")
            return INVALID
        return _JSON.read(node, path, reading)

    def schema(self) -> Schema:
        return {"type": "object"}

    def show(self, value: Any) -> Any:
        return value


class ExpectKind:
    """``allowed``, ``refused``, or a map with one of these and perhaps the rule."""

    label = "`allowed`, `refused`, or map"
    bounds = ""

    def read(self, node: Node, path: str, reading: Reading) -> Expectation | Invalid:
        if isinstance(node, MappingNode):
            return _EXPECT.read(node, path, reading)
        written = read_string(node, path, reading, "string")
        if isinstance(written, Invalid):
            return INVALID
        if written.text in ("allowed", "refused"):
            return Expectation(written.text)
        reading.findings.error(
            node.place,
            path,
            f"{quoted(written.text)} is not allowed, refused, or a map such as "
            "{refused: role_missing, rule: admin}",
            nearest(written.text, ("allowed", "refused")),
        )
        return INVALID

    def schema(self) -> Schema:
        return {"anyOf": [{"enum": ["allowed", "refused"]}, _EXPECT.schema()]}

    def show(self, value: Any) -> Any:
        return value


def _reason(value: str) -> str:
    if value not in REASONS_BY_CODE:
        raise Complaint("is no reason for a refusal", nearest(value, REASONS_BY_CODE))
    return value


def _request(value: str) -> tuple[str, str]:
    method, space, target = value.partition(" ")
    is_method = re.fullmatch(values.METHOD_PATTERN, method) is not None
    if not space or not is_method or not re.fullmatch(r"(/|\*$)[\x21-\x7e]*", target):
        raise Complaint("is not a method and a path, such as `GET /profiles/alice`")
    return method, target


def _now(value: str) -> float:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise Complaint("is not a time such as 2027-01-15T08:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _expect(fields: Fields) -> Expectation | Invalid:
    given = [name for name in ("allowed", "refused", "observed") if fields.entry(name) is not None]
    if len(given) != 1:
        fields.is_broken = True
        fields.reading.findings.error(
            fields.node.place, fields.path, "needs one of `allowed`, `refused` and `observed`"
        )
    if given == ["allowed"] and fields.entry("rule") is not None:
        fields.error("rule", "is what `allowed` names already")
    if fields.is_broken:
        return INVALID
    said = fields.values[given[0]]
    if given[0] == "allowed":
        return Expectation("allowed", rule=said)
    return Expectation(given[0], said, fields.values["rule"])


def _case(fields: Fields) -> Case | Invalid:
    if fields.is_broken:
        return INVALID
    method, target = fields.values["request"]
    name = fields.values.pop("name") or f"{method} {target}"
    return Case(name=name, place=fields.node.place, **fields.values)


def _token(fields: Fields) -> TestToken | Invalid:
    return INVALID if fields.is_broken else TestToken(**fields.values)


def _expectations(fields: Fields) -> Expectations | Invalid:
    tokens = fields.values.get("tokens", {})
    listed = fields.entry("tokens")
    entries = listed.value.entries if listed and isinstance(listed.value, MappingNode) else {}
    for case in fields.values.get("cases", ()):
        if case.token and case.token not in entries:
            message = f"{quoted(case.token)} is none of `tokens`"
            meant = nearest(case.token, entries)
            fields.reading.findings.error(case.place, "token", message, meant)
            fields.is_broken = True
    if fields.is_broken:
        return INVALID
    places = {name: entry.value.place for name, entry in entries.items()}
    fields.values.pop("version")
    return Expectations(
        fields.node.place.file, fields.values["cases"], tokens, places, fields.values["now"]
    )


_REASON: Final = Text("reason", _reason)
_EXPECT: Final = Section(
    keys=(
        Key("allowed", free_text("string"), "Name of the rule that lets it pass."),
        Key("refused", _REASON, "Code of the refusal."),
        Key("observed", _REASON, "Code of what an observing rule would refuse it for."),
        Key("rule", free_text("string"), "Name of the rule that speaks.", default=""),
    ),
    build=_expect,
)  # fmt: skip
_CASE: Final = Section(
    keys=(
        Key("name", free_text("string"), "What it is about.", default=""),
        Key("request", Text("request", _request), "Method and path.", default=REQUIRED),
        Key("host", free_text("string"), "The field `Host`.", default=""),
        Key("token", Text("name", values.name), "Name of a token.", default=""),
        Key("expect", ExpectKind(), "What should come of it.", default=REQUIRED),
    ),
    build=_case,
)  # fmt: skip
_TOKEN: Final = Section(
    keys=(
        Key("issuer", Text("name", values.name), "Name of the issuer.", default=""),
        Key("claims", ClaimsKind(), "What it says.", default={}),
        Key("without", ListOf(free_text("string")), "Claims not filled in.", default=()),
        Key("typ", free_text("string"), "The header's `typ`.", default=None),
    ),
    build=_token,
)  # fmt: skip
_ROOT: Final = Section(
    keys=(
        Key("version", Integer(VERSION, VERSION), "Version of this format.", default=REQUIRED),
        Key("now", Text("time", _now), "The time at which all is judged.", default=None),
        Key("tokens", MapOf(_TOKEN), "Tokens by name.", default={}),
        Key("cases", ListOf(_CASE), "Requests.", default=REQUIRED),
    ),
    build=_expectations,
)  # fmt: skip
