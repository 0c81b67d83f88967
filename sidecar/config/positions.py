"""YAML text to a tree whose every node knows its line and column.

Owns the subset of YAML that a configuration may use: one document of maps with string
keys, lists and scalars. Anchors, aliases, merge keys, tags and duplicate keys are reported
here, because a composed document has already forgotten them. What a scalar means depends
on the key it stands under and belongs to ``sidecar.config.kinds``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import yaml

from sidecar.config.problems import Findings, Place, quoted

MAX_DEPTH: Final = 16
"""Twice what the deepest key needs."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml where the platform's wheel has it: 20 times as fast over 10,000 rules."""

NOT_A_STRING: Final = re.compile(
    r"""(?x) (?: true|false|yes|no|on|off | null|~ | \.inf|\.nan
    | [-+]? [0-9][0-9_]* (?: \.[0-9_]* )? (?: e[-+]?[0-9]+ )?
    | 0x[0-9a-f_]+ | 0o?[0-7_]+ | [-+]? [0-9][0-9_]* (?: :[0-5]?[0-9] )+
    | [0-9]{4}-[0-9]{1,2}-[0-9]{1,2} (?: [t\ ][0-9:.\ z+-]+ )? )""",
    re.IGNORECASE,
)
"""Plain scalars that one YAML reader or another takes for a boolean, null, number or date."""


@dataclass(frozen=True, slots=True)
class ScalarNode:
    """A single value as written; *plain* means without quotes."""

    place: Place
    text: str
    plain: bool = True


@dataclass(frozen=True, slots=True)
class SequenceNode:
    place: Place
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class MappingNode:
    place: Place
    entries: Mapping[str, "Entry"]


@dataclass(frozen=True, slots=True)
class BrokenNode:
    """Something already reported, kept so that its key does not count as missing."""

    place: Place


Node: TypeAlias = ScalarNode | SequenceNode | MappingNode | BrokenNode


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of a map with its value."""

    place: Place
    value: Node


def compose(text: str, file: str, findings: Findings) -> Node | None:
    """Return the tree of the only document in *text*.

    ``None`` means that there is nothing to read, which has been reported.
    """
    try:
        return _Composer(text, file, findings).document()
    except _TooDeepError:
        pass
    except yaml.MarkedYAMLError as error:
        _report_syntax(error, text, file, findings)
    except yaml.reader.ReaderError as error:
        findings.error(_place_of(text, error.position, file), "", "holds a control character")
    return None


def under(path: str, key: str) -> str:
    """Return the path of *key* inside *path*."""
    shown = key if len(key) <= 60 else key[:59] + "…"
    return f"{path}.{shown}" if path else shown


class _TooDeepError(Exception):
    """Reported already. Reading on would cost the square of the depth inside libyaml."""


class _Composer:
    """Walks the parser's events once; recursion is bounded by ``MAX_DEPTH``."""

    def __init__(self, text: str, file: str, findings: Findings) -> None:
        self._events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
        self._file = file
        self._findings = findings

    def document(self) -> Node | None:
        root: Node | None = None
        for event in self._events:
            match event:
                case yaml.DocumentStartEvent() if root is None:
                    root = self._node(next(self._events), "", 1)
                case yaml.DocumentStartEvent():
                    self._error(event, "", "a second document; one file holds one")
                    break
                case _:
                    pass
        if root is None:
            self._findings.error(Place(self._file, 1, 1), "", "the file is empty")
        return root

    def _node(self, event: Any, path: str, depth: int) -> Node:
        sound = self._is_sound(event, path)
        if depth > MAX_DEPTH:
            self._error(event, path, f"is nested more than {MAX_DEPTH} deep")
            raise _TooDeepError
        match event:
            case yaml.ScalarEvent():
                node: Node = ScalarNode(self._place(event), event.value, not event.style)
            case yaml.SequenceStartEvent():
                node = self._sequence(event, path, depth)
            case yaml.MappingStartEvent():
                node = self._mapping(event, path, depth)
            case _:
                self._error(event, path, "aliases are not supported; write the value out")
                sound = False
        return node if sound else BrokenNode(self._place(event))

    def _is_sound(self, event: Any, path: str) -> bool:
        if isinstance(event, yaml.AliasEvent):
            return True
        if event.anchor is not None:
            self._error(event, path, "anchors are not supported; write the value out twice")
        if event.tag is not None:
            self._error(event, path, f"tags such as {quoted(event.tag)} are not supported")
        return event.anchor is None and event.tag is None

    def _sequence(self, start: Any, path: str, depth: int) -> Node:
        items: list[Node] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, f"{path}[{len(items)}]", depth + 1))
        return SequenceNode(self._place(start), tuple(items))

    def _mapping(self, start: Any, path: str, depth: int) -> Node:
        entries: dict[str, Entry] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, path)
            inside = under(path, key) if key is not None else path
            value = self._node(next(self._events), inside, depth + 1)
            if key is None:
                continue
            if (earlier := entries.get(key)) is not None:
                message = f"is given twice; the first is on line {earlier.place.line}"
                self._error(event, inside, message)
                continue
            entries[key] = Entry(self._place(event), value)
        return MappingNode(self._place(start), entries)

    def _key(self, event: Any, path: str) -> str | None:
        if not isinstance(event, yaml.ScalarEvent):
            self._error(event, path, "a key must be a string")
            self._skip(event)
            return None
        if not self._is_sound(event, path):
            return None
        text: str = event.value
        if event.style:
            return text
        if text == "<<":
            self._error(event, path, "merge keys are not supported; write the keys out")
            return None
        if not text or NOT_A_STRING.fullmatch(text):
            shown = quoted(text) if text else "an empty key"
            self._error(event, path, f"a key must be a string; {shown} needs quotes")
            return None
        return text

    def _skip(self, event: Any) -> None:
        level = 0
        while True:
            if isinstance(event, yaml.CollectionStartEvent):
                level += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                level -= 1
            if level == 0:
                return
            if level > MAX_DEPTH:
                raise _TooDeepError
            event = next(self._events)

    def _place(self, event: Any) -> Place:
        mark = event.start_mark
        return Place(self._file, mark.line + 1, mark.column + 1)

    def _error(self, event: Any, path: str, message: str) -> None:
        self._findings.error(self._place(event), path, message)


def _report_syntax(error: yaml.MarkedYAMLError, text: str, file: str, findings: Findings) -> None:
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines() or [""]
    if line >= len(lines):
        line, column = len(lines) - 1, len(lines[-1])
    rest = lines[line][column:]
    if rest.startswith("\t"):
        message = "a tab cannot indent YAML; use spaces"
    elif rest.startswith(("@", "`", "%")):
        message = f"a value that starts with {rest[0]} needs quotes"
    else:
        message = f"is not YAML: {error.problem or error.context}"
    findings.error(Place(file, line + 1, column + 1), "", message)


def _place_of(text: str, position: int, file: str) -> Place:
    before = text[:position]
    start = before.rfind("\n") + 1
    return Place(file, before.count("\n") + 1, position - start + 1)
