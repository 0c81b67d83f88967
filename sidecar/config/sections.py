"""Maps with fixed keys and maps with free names: how their parts become one value.

Owns unknown keys, missing keys and defaults. Which keys there are is written in
``sidecar.config.keys``.
"""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Generic, TypeVar

from sidecar.config.kinds import INVALID, Invalid, Kind, Planned, Schema
from sidecar.config.positions import BrokenNode, Entry, MappingNode, Node, ScalarNode, under
from sidecar.config.problems import Place, nearest
from sidecar.config.reading import Reading
from sidecar.config.values import NAME_PATTERN, Complaint, name

T = TypeVar("T")


class Requirement(Enum):
    """What a key without a default value does when it is absent."""

    REQUIRED = "required"
    OPTIONAL = "optional"
    """The section's own assembly decides."""


REQUIRED: Final = Requirement.REQUIRED
OPTIONAL: Final = Requirement.OPTIONAL


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section, with everything the documentation says about it."""

    name: str
    kind: Kind[Any]
    meaning: str
    field: str = ""
    """The model's field; the key's own name where empty."""
    default: Any = OPTIONAL
    default_text: str = ""
    """Documents a default that is no single value."""

    @property
    def target(self) -> str:
        return self.field or self.name

    @property
    def has_default(self) -> bool:
        return not isinstance(self.default, Requirement)


@dataclass(slots=True)
class Fields:
    """What a section holds while it is put together."""

    node: MappingNode
    path: str
    reading: Reading
    name: str = ""
    """The key under which this map stands, where names are free."""
    values: dict[str, Any] = field(default_factory=dict)
    """By field of the model, defaults included; without what was invalid or absent."""
    is_broken: bool = False

    def entry(self, key: str) -> Entry | None:
        return self.node.entries.get(key)

    def place(self, key: str) -> Place:
        """Return where the value of *key* stands, or else the map."""
        entry = self.entry(key)
        return entry.value.place if entry is not None else self.node.place

    def path_of(self, key: str) -> str:
        return under(self.path, key)

    def error(self, key: str, message: str, suggestion: str | None = None) -> None:
        """Report a problem of *key* and give up the section."""
        self.is_broken = True
        self.reading.findings.error(self.place(key), self.path_of(key), message, suggestion)


@dataclass(frozen=True, slots=True)
class Section(Generic[T]):
    """A map with fixed keys. *build* sees the values and may report more."""

    keys: tuple[Key, ...]
    build: Callable[[Fields], T | Invalid]
    label: str = "map"
    bounds: str = ""

    def read(self, node: Node, path: str, reading: Reading) -> T | Invalid:
        return self.read_named("", node, path, reading)

    def read_named(self, name_of: str, node: Node, path: str, reading: Reading) -> T | Invalid:
        if not isinstance(node, MappingNode):
            _report_not_a_map(node, path, reading)
            return INVALID
        fields = Fields(node, path, reading, name_of)
        misspelled = self._report_unknown(fields)
        for key in self.keys:
            if key.name not in misspelled:
                self._read_key(key, fields)
        return self.build(fields)

    def _read_key(self, key: Key, fields: Fields) -> None:
        entry = fields.entry(key.name)
        inside = fields.path_of(key.name)
        if entry is not None:
            value = key.kind.read(entry.value, inside, fields.reading)
        elif key.has_default:
            value = key.default
        elif key.default is REQUIRED:
            fields.reading.findings.error(fields.node.place, inside, "is required")
            value = INVALID
        elif isinstance(key.kind, Section):
            empty = MappingNode(fields.node.place, {})
            value = key.kind.read(empty, inside, fields.reading)
        else:
            return
        if value is INVALID:
            fields.is_broken = True
        else:
            fields.values[key.target] = value

    def _report_unknown(self, fields: Fields) -> set[str | None]:
        """Report keys that do not exist and return those that were probably meant."""
        meant: set[str | None] = set()
        known = [key.name for key in self.keys]
        for written, entry in fields.node.entries.items():
            if written not in known:
                fields.is_broken = True
                suggestion = nearest(written, known)
                path = fields.path_of(written)
                fields.reading.findings.error(entry.place, path, "unknown key", suggestion)
                meant.add(suggestion)
        return meant - fields.node.entries.keys()

    def schema(self) -> Schema:
        shown = [key for key in self.keys if not isinstance(key.kind, Planned)]
        return {
            "type": "object",
            "properties": {key.name: _described(key) for key in shown},
            "required": [key.name for key in shown if key.default is REQUIRED],
            "additionalProperties": False,
        }

    def show(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class MapOf(Generic[T]):
    """A map from names chosen by the operator to sections."""

    section: Section[T]
    label: str = "map by name"
    bounds: str = ""

    def read(self, node: Node, path: str, reading: Reading) -> Mapping[str, T] | Invalid:
        if not isinstance(node, MappingNode):
            _report_not_a_map(node, path, reading)
            return INVALID
        values: dict[str, T] = {}
        for key, entry in node.entries.items():
            inside = under(path, key)
            is_named = _check_name(key, entry, inside, reading)
            value = self.section.read_named(key, entry.value, inside, reading)
            if is_named and not isinstance(value, Invalid):
                values[key] = value
        return values if len(values) == len(node.entries) else INVALID

    def schema(self) -> Schema:
        return {
            "type": "object",
            "propertyNames": {"pattern": NAME_PATTERN},
            "additionalProperties": self.section.schema(),
        }

    def show(self, value: Any) -> Any:
        return {key: self.section.show(item) for key, item in value.items()}


def assemble(model: Callable[..., T]) -> Callable[[Fields], T | Invalid]:
    """Return a builder for a section whose fields are those of *model*."""

    def build(fields: Fields) -> T | Invalid:
        return INVALID if fields.is_broken else model(**fields.values)

    return build


def default_of(model: type, name_of: str) -> Any:
    """Return the default that *model* declares, so that it is written down once."""
    for declared in dataclasses.fields(model):
        if declared.name == name_of:
            if declared.default_factory is not dataclasses.MISSING:
                return declared.default_factory()
            return declared.default
    raise LookupError(name_of)


def _check_name(key: str, entry: Entry, path: str, reading: Reading) -> bool:
    try:
        name(key)
    except Complaint as complaint:
        reading.findings.error(entry.place, path, f"this name {complaint.message}")
        return False
    return True


def _described(key: Key) -> Schema:
    schema = {**key.kind.schema(), "description": key.meaning}
    if key.has_default and key.default is not None:
        schema["default"] = key.kind.show(key.default)
    return schema


def _report_not_a_map(node: Node, path: str, reading: Reading) -> None:
    match node:
        case BrokenNode():
            return
        case ScalarNode(text=""):
            message = "has no value; give it one or remove the key"
        case ScalarNode():
            message = "must be a map, not a single value"
        case _:
            message = "must be a map, not a list"
    reading.findings.error(node.place, path, message)
