"""The kinds of value a key may have: how each is read, shown and described to JSON Schema.

Owns what a node must look like; the words of a value are in ``sidecar.config.values`` and
``sidecar.config.endpoints``, the keys in ``sidecar.config.keys``. A kind reports what is
wrong and returns ``INVALID``; it never raises for any input.
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, Generic, Protocol, TypeAlias, TypeVar

from sidecar.config.positions import (
    NOT_A_STRING,
    BrokenNode,
    MappingNode,
    Node,
    ScalarNode,
    SequenceNode,
)
from sidecar.config.problems import nearest, quoted
from sidecar.config.reading import Located, Reading
from sidecar.config.references import ReferenceProblem, resolve
from sidecar.config.stand_ins import stand_in
from sidecar.config.values import Complaint

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)

Schema: TypeAlias = dict[str, Any]

NOT_SUPPORTED: Final = "is not supported by this version"


class Invalid(Enum):
    """In place of a value about which a problem was reported."""

    INVALID = "invalid"


INVALID: Final = Invalid.INVALID


class Kind(Protocol[T_co]):
    """One kind of value. *label* is its type in the documentation, *bounds* its limits there."""

    @property
    def label(self) -> str: ...
    @property
    def bounds(self) -> str: ...
    def read(self, node: Node, path: str, reading: Reading) -> T_co | Invalid: ...
    def schema(self) -> Schema: ...
    def show(self, value: Any) -> Any:
        """Return *value* as it would be written in JSON."""


@dataclass(frozen=True, slots=True)
class Written:
    """A string after its references were resolved, and how it may be shown."""

    text: str
    shown: str
    is_known: bool = True
    """Whether *text* is the value, rather than a reference that can only be followed elsewhere."""

    def suggestion(self, meant: str | None) -> str | None:
        """Return *meant* unless it could tell what a reference stood for."""
        return meant if self.text == self.shown else None


def read_string(node: Node, path: str, reading: Reading, label: str) -> Written | Invalid:
    """Return the string at *node*; anything else is reported as not being *label*."""
    match node:
        case BrokenNode():
            return INVALID
        case ScalarNode(plain=True, text="" | "~" | "null" | "Null" | "NULL"):
            message = "has no value; give it one or remove the key"
            reading.findings.error(node.place, path, message)
            return INVALID
        case ScalarNode():
            try:
                if reading.is_elsewhere:
                    text, has_reference = stand_in(node.text)
                    if has_reference:
                        reading.draft.references.append(Located(node.text, node.place, path))
                    return Written(text, node.text, is_known=not has_reference)
                directory = os.path.dirname(node.place.file)
                text = resolve(node.text, reading.environ, directory, reading.saw)
                return Written(text, node.text)
            except ReferenceProblem as problem:
                reading.findings.error(node.place, path, f"{quoted(node.text)} {problem}")
                return INVALID
        case _:
            reading.findings.error(
                node.place, path, f"must be {_article(label)}, not {_noun(node)}"
            )
            return INVALID


@dataclass(frozen=True, slots=True)
class Text(Generic[T]):
    """A string with a form of its own.

    *is_free*: any words will do, so that a plain ``on`` or ``123``, which some YAML reader
    takes for something else, has to be quoted.
    """

    label: str
    parse: Callable[[str], T]
    pattern: str | None = None
    bounds: str = ""
    format: Callable[[Any], str] = str
    is_free: bool = False

    def read(self, node: Node, path: str, reading: Reading) -> T | Invalid:
        match read_string(node, path, reading, self.label):
            case Written() as written:
                pass
            case invalid:
                return invalid
        if self.is_free and isinstance(node, ScalarNode) and _needs_quotes(node):
            message = f"must be {_article(self.label)}; {quoted(node.text)} needs quotes to be one"
            reading.findings.error(node.place, path, message, f'"{node.text}"')
            return INVALID
        try:
            return self.parse(written.text)
        except Complaint as complaint:
            if not written.is_known:
                return INVALID
            message = f"{_shown(written.shown)} {complaint.message}"
            suggestion = written.suggestion(complaint.suggestion)
            reading.findings.error(node.place, path, message, suggestion)
            return INVALID

    def schema(self) -> Schema:
        if self.pattern is None:
            return {"type": "string", "minLength": 1}
        return {"anyOf": [{"type": "string", "pattern": self.pattern}, REFERENCE]}

    def show(self, value: Any) -> Any:
        return self.format(value)


REFERENCE: Final[Schema] = {"$ref": "#/$defs/reference"}


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few words. *planned* ones are in the design and come with a later version."""

    values: tuple[str, ...]
    planned: tuple[str, ...] = ()
    plans_others: bool = False
    """Whatever else is written is planned too."""
    never: tuple[tuple[str, str], ...] = ()
    """Words that deserve an answer of their own."""
    bounds: str = ""

    @property
    def label(self) -> str:
        return " \\| ".join(f"`{value}`" for value in self.values)

    def read(self, node: Node, path: str, reading: Reading) -> str | Invalid:
        if self.plans_others and not isinstance(node, ScalarNode | BrokenNode):
            reading.findings.error(node.place, path, NOT_SUPPORTED)
            return INVALID
        match read_string(node, path, reading, f"one of {', '.join(self.values)}"):
            case Written() as written:
                pass
            case invalid:
                return invalid
        if written.text in self.values:
            return written.text
        if not written.is_known:
            return INVALID
        message, suggestion = self._complaint(written)
        reading.findings.error(node.place, path, message, written.suggestion(suggestion))
        return INVALID

    def _complaint(self, written: Written) -> tuple[str, str | None]:
        shown = _shown(written.shown)
        if (answer := dict(self.never).get(written.text)) is not None:
            return f"{shown} {answer}", None
        if self.plans_others or written.text in self.planned:
            return f"{shown} {NOT_SUPPORTED}", None
        if len(self.values) == 1:
            return f"{shown} is not `{self.values[0]}`", nearest(written.text, self.values)
        listed = ", ".join(self.values)
        return f"{shown} is not one of {listed}", nearest(written.text, self.values)

    def schema(self) -> Schema:
        return {"anyOf": [{"enum": list(self.values)}, REFERENCE]}

    def show(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class Boolean:
    """``true`` or ``false``, plain; YAML 1.1 has twenty other spellings, and none is taken."""

    label: str = "boolean"
    bounds: str = ""

    def read(self, node: Node, path: str, reading: Reading) -> bool | Invalid:
        match node:
            case BrokenNode():
                return INVALID
            case ScalarNode(plain=True, text="true"):
                return True
            case ScalarNode(plain=True, text="false"):
                return False
            case ScalarNode(text=text):
                folded = text.lower()
                message = f"must be true or false, not {_shown(text)}"
                if folded in {"true", "yes", "on", "y"}:
                    reading.findings.error(node.place, path, message, "true")
                elif folded in {"false", "no", "off", "n"}:
                    reading.findings.error(node.place, path, message, "false")
                else:
                    reading.findings.error(node.place, path, message)
            case _:
                message = f"must be true or false, not {_noun(node)}"
                reading.findings.error(node.place, path, message)
        return INVALID

    def schema(self) -> Schema:
        return {"type": "boolean"}

    def show(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class Integer:
    """A plain decimal number within bounds."""

    least: int
    most: int
    label: str = "integer"

    @property
    def bounds(self) -> str:
        return f"{self.least} to {self.most}" if self.least < self.most else f"{self.least}"

    def read(self, node: Node, path: str, reading: Reading) -> int | Invalid:
        match node:
            case BrokenNode():
                return INVALID
            case ScalarNode(plain=True, text=text) if re.fullmatch(r"0|[1-9][0-9]{0,11}", text):
                if self.least <= int(text) <= self.most:
                    return int(text)
        shown = _shown(node.text) if isinstance(node, ScalarNode) else _noun(node)
        wanted = f"a whole number from {self.least} to {self.most}"
        message = f"must be {wanted if self.least < self.most else self.least}, not {shown}"
        reading.findings.error(node.place, path, message)
        return INVALID

    def schema(self) -> Schema:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}

    def show(self, value: Any) -> Any:
        return value


@dataclass(frozen=True, slots=True)
class ListOf(Generic[T]):
    """A list of one kind, never empty, nothing twice."""

    item: Kind[T]
    bounds: str = ""

    @property
    def label(self) -> str:
        return f"list of {self.item.label}"

    def read(self, node: Node, path: str, reading: Reading) -> tuple[T, ...] | Invalid:
        match node:
            case BrokenNode():
                return INVALID
            case SequenceNode(items=()):
                reading.findings.error(node.place, path, "must not be empty")
                return INVALID
            case SequenceNode(items=items):
                return self._items(items, path, reading)
            case ScalarNode(text=text) if text:
                message, meant = f"must be a list, not {_shown(text)}", f"[{text}]"
                reading.findings.error(node.place, path, message, meant if len(text) < 60 else None)
            case _:
                reading.findings.error(node.place, path, f"must be a list, not {_noun(node)}")
        return INVALID

    def _items(self, items: Sequence[Node], path: str, reading: Reading) -> tuple[T, ...] | Invalid:
        values: list[T] = []
        seen: set[object] = set()
        is_sound = True
        for index, item in enumerate(items):
            inside = f"{path}[{index}]"
            value = self.item.read(item, inside, reading)
            if isinstance(value, Invalid):
                is_sound = False
                continue
            if isinstance(value, str) and value in seen:
                reading.findings.error(item.place, inside, "is listed twice")
                is_sound = False
            seen.add(value)
            values.append(value)
        return tuple(values) if is_sound else INVALID

    def schema(self) -> Schema:
        return {"type": "array", "minItems": 1, "items": self.item.schema()}

    def show(self, value: Any) -> Any:
        return [self.item.show(item) for item in value]


@dataclass(frozen=True, slots=True)
class Planned:
    """A key of the design that this version does not have."""

    label: str = ""
    bounds: str = ""

    def read(self, node: Node, path: str, reading: Reading) -> Invalid:
        reading.findings.error(node.place, path, NOT_SUPPORTED)
        return INVALID

    def schema(self) -> Schema:
        return {"not": {}}

    def show(self, value: Any) -> Any:
        return value


def _needs_quotes(node: ScalarNode) -> bool:
    return node.plain and NOT_A_STRING.fullmatch(node.text) is not None


def _article(label: str) -> str:
    """Put the article before a label that is one plain noun."""
    if label not in _NOUNS:
        return label
    return f"an {label}" if label[0] in "aeiou" else f"a {label}"


_NOUNS: Final = frozenset(
    {"string", "duration", "size", "address", "origin", "URL", "path", "method", "host"}
    | {"path pattern", "name", "network"}
)


def _noun(node: Node) -> str:
    match node:
        case SequenceNode():
            return "a list"
        case MappingNode():
            return "a map"
        case _:
            return "nothing"


def _shown(text: str) -> str:
    # A password inside a URL is refused, and must not be repeated while refusing it.
    return "the value" if re.search(r"//[^/]*@", text) else quoted(text)
