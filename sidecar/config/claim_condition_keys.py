"""What a rule may ask of single claims, and how it is written: ``{tenant: {equals: north}}``."""

from dataclasses import replace
from typing import Any, Final

from sidecar.config.demand_keys import DemandKind
from sidecar.config.kinds import INVALID, Invalid, ListOf, Schema, Text, read_string
from sidecar.config.model import ClaimCondition, Demand, Scalar
from sidecar.config.positions import (
    NOT_A_STRING,
    BrokenNode,
    Entry,
    MappingNode,
    Node,
    ScalarNode,
    under,
)
from sidecar.config.problems import quoted
from sidecar.config.reading import Reading
from sidecar.config.sections import Fields, Key, Section
from sidecar.config.token_keys import claim_path
from sidecar.config.values import Complaint, text
from sidecar.config.written import free_text
from sidecar.core.claim_paths import ClaimPath
from sidecar.core.routes import is_segment_name

_LARGEST: Final = 2**53
"""Beyond it a JSON number is no longer exact (RFC 8259, section 6)."""


class ScalarKind:
    """A string, or plain ``true``, ``false`` or a whole number, which then mean themselves."""

    label = "string, boolean or integer"
    bounds = ""

    def read(self, node: Node, path: str, reading: Reading) -> Scalar | Invalid:
        if isinstance(node, ScalarNode) and node.plain:
            if node.text in ("true", "false"):
                return node.text == "true"
            number = node.text.removeprefix("-")
            if number.isdecimal() and number.isascii() and str(int(number)) == number:
                if int(number) <= _LARGEST:
                    return int(node.text)
                reading.findings.error(node.place, path, "must be at most 2^53")
                return INVALID
            if node.text and NOT_A_STRING.fullmatch(node.text):
                message = f"{quoted(node.text)} needs quotes to be a string"
                reading.findings.error(node.place, path, message, f'"{node.text}"')
                return INVALID
        written = read_string(node, path, reading, self.label)
        if isinstance(written, Invalid):
            return INVALID
        try:
            return text(written.text)
        except Complaint as complaint:
            reading.findings.error(node.place, path, f"the value {complaint.message}")
            return INVALID

    def schema(self) -> Schema:
        return {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {"type": "boolean"},
                {"type": "integer", "minimum": -_LARGEST, "maximum": _LARGEST},
            ]
        }

    def show(self, value: Any) -> Any:
        return value


def _segment(value: str) -> str:
    if not is_segment_name(value):
        raise Complaint(
            "must be the name of a segment, letters, digits and `_`, as `{name}` has it in `paths`",
            value.strip("{}") if is_segment_name(value.strip("{}")) else None,
        )
    return value


def _condition(fields: Fields) -> ClaimCondition | Invalid:
    if fields.is_broken:
        return INVALID
    if len(fields.values) != 1:
        message = "must have exactly one of equals, one_of, contains, segment"
        fields.reading.findings.error(fields.node.place, fields.path, message)
        return INVALID
    ((test, value),) = fields.values.items()
    match test, value:
        case "contains", Demand(names=names, match=how):
            return ClaimCondition((), "contains", names, how)
        case "segment", str(name):
            return ClaimCondition((), "segment", (name,))
        case "one_of", tuple(values):
            return ClaimCondition((), "one_of", values)
        case _:
            return ClaimCondition((), "one_of", (value,))


class ClaimConditionsKind:
    """A map from the path of a claim to the one condition it must meet."""

    label = "map of claim path to map"
    bounds = ""
    section: Final = Section(
        keys=(
            Key("equals", ScalarKind(), "The claim is this, of the same JSON type."),
            Key("one_of", ListOf(ScalarKind()), "The claim is one of these."),
            Key("contains", DemandKind(free_text("string")),
                "The claim is a list that has these strings; a string is a list of one."),
            Key("segment", Text("name", _segment, is_free=True),
                "The claim is what the path has in the place of `{name}`, in the same case; a "
                "string or a whole number."),
        ),
        build=_condition,
    )  # fmt: skip

    def read(self, node: Node, path: str, reading: Reading) -> tuple[ClaimCondition, ...] | Invalid:
        if not isinstance(node, MappingNode):
            if not isinstance(node, BrokenNode):
                message = "must be a map of claims to conditions, as {tenant: {equals: north}}"
                reading.findings.error(node.place, path, message)
            return INVALID
        if not node.entries:
            reading.findings.error(node.place, path, "must not be empty")
            return INVALID
        found: list[ClaimCondition] = []
        for written, entry in node.entries.items():
            inside = under(path, written)
            claim = self._claim(written, entry, inside, reading)
            condition = self.section.read(entry.value, inside, reading)
            if claim is not None and not isinstance(condition, Invalid):
                found.append(replace(condition, claim=claim))
        return tuple(found) if len(found) == len(node.entries) else INVALID

    def _claim(self, written: str, entry: Entry, path: str, reading: Reading) -> ClaimPath | None:
        try:
            return claim_path(written)
        except Complaint as complaint:
            reading.findings.error(entry.place, path, f"this claim {complaint.message}")
            return None

    def schema(self) -> Schema:
        one = {**self.section.schema(), "minProperties": 1, "maxProperties": 1}
        return {"type": "object", "minProperties": 1, "additionalProperties": one}

    def show(self, value: object) -> object:
        return value
