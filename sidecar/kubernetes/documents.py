"""Kubernetes manifests in YAML: read as JSON, changed by JSON patches, written back.

A change is made to the tree of what was written, not to the values it stands for: a scalar that
is not ours keeps its form, and with it its meaning for whichever YAML reader comes next
(``0644``, ``on``, ``1e3``, a number longer than a float). Comments are lost, because PyYAML
drops them; anchors of a document that is changed are written out.
"""

import copy
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from typing import Any, Final

import yaml

from sidecar.config.positions import NOT_A_STRING
from sidecar.config.problems import quoted
from sidecar.kubernetes.results import JsonObject

MAX_BYTES: Final = 32 << 20
MAX_REPEATED: Final = 50_000
"""Nodes of one document that are only there because its aliases were written out."""
MAX_DEPTH: Final = 100

_STR: Final = "tag:yaml.org,2002:str"
_MERGE: Final = "tag:yaml.org,2002:merge"


class DocumentError(Exception):
    """The text is not YAML that Kubernetes could read. Says line and column."""


_YES: Final = ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")
_NO: Final = ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")
_IMPLICIT: Final = (
    ("bool", re.compile("|".join((*_YES, *_NO))), "yYnNtTfFoO"),
    ("null", re.compile("~|null|Null|NULL|"), ["~", "n", "N", ""]),
    ("int", re.compile(r"[-+]?(?:0[bB][01_]+|0[oO]?[0-7_]+|0[xX][0-9a-fA-F_]+|0|[1-9][0-9_]*)"),
     "-+0123456789"),
    ("float", re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?"
                         r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"), "-+0123456789."),
    ("merge", re.compile("<<"), "<"),
)  # fmt: skip
"""What kubectl and Kubernetes' tools take a plain scalar for (sigs.k8s.io/yaml)."""


class _Whole:
    """A pattern for all of a scalar, as PyYAML asks for one."""

    def __init__(self, form: re.Pattern[str]) -> None:
        self.match = form.fullmatch


_RESOLVERS: Final[dict[str, list[tuple[str, Any]]]] = {}
for _name, _form, _first in _IMPLICIT:
    for _character in _first:
        _RESOLVERS.setdefault(_character, []).append((f"tag:yaml.org,2002:{_name}", _Whole(_form)))

_AnyLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_AnyLoader):  # type: ignore[misc]
    """Plain scalars as Kubernetes reads them."""

    yaml_implicit_resolvers = _RESOLVERS


class _Dumper(yaml.SafeDumper):
    """Writes what we add so that every reader of YAML takes strings for strings."""

    yaml_implicit_resolvers = _RESOLVERS

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - of the values that are added
        return True


def _string(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = None
    if "\n" in value:
        style = "|"
    elif NOT_A_STRING.fullmatch(value):
        style = '"'
    return dumper.represent_scalar(_STR, value, style=style)


_Dumper.add_representer(str, _string)


@dataclass(slots=True)
class Document:
    """One document of a stream."""

    node: yaml.Node
    line: int
    size: int
    """Nodes as written."""

    @property
    def value(self) -> Any:
        """What it says, as JSON. Raises ``DocumentError``."""
        return _value(self._expanded())

    def _expanded(self) -> yaml.Node:
        return _expanded(self.node, [self.size + MAX_REPEATED], 0)

    def apply(self, patch: Sequence[JsonObject], at: Sequence[str | int]) -> None:
        """Change what is at the path *at* by *patch* (of ``sidecar.kubernetes.patching``)."""
        if patch:
            self.node = self._expanded()
            target = self.node
            for key in at:
                target = _child(target, str(key))
            for operation in patch:
                _apply(target, operation)


def read(text: str) -> list[Document]:
    """Return the documents of *text*, without those that are empty. Raises ``DocumentError``."""
    if len(text) > MAX_BYTES:
        raise DocumentError(f"is longer than {MAX_BYTES >> 20} MiB")
    try:
        _check_depth(text)  # before composing, which recurses without a bound
        loader = _Loader(text)
        try:
            found = list(_composed(loader))
        finally:
            loader.dispose()
        for document in found:
            document.size = _check(document.node)
    except yaml.MarkedYAMLError as error:
        raise DocumentError(_syntax(error)) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise DocumentError(f"{line}:{column}: a character that YAML does not allow") from None
    except RecursionError:
        raise DocumentError("is nested too deeply") from None
    return found


def _composed(loader: _Loader) -> Iterator[Document]:
    while loader.check_node():
        node: yaml.Node = loader.get_node()
        if isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null"):
            continue
        yield Document(node, node.start_mark.line + 1, 0)


def write(documents: Sequence[Document]) -> str:
    """Return *documents* as one stream."""
    return "---\n".join(
        yaml.serialize(
            _styled(document.node, {}), Dumper=_Dumper, allow_unicode=True, width=1 << 20
        )
        for document in documents
    )


# --- reading ---


def _check_depth(text: str) -> None:
    depth = 0
    events: Iterator[Any] = yaml.parse(text, Loader=_Loader)
    for event in events:
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise DocumentError(f"{_place(event)}: is nested more than {MAX_DEPTH} deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check(root: yaml.Node) -> int:
    """Refuse what JSON has no word for, or what two readers could read differently.

    Returns the number of nodes.
    """
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        match node:
            case yaml.MappingNode():
                _check_keys(node)
                waiting += [part for pair in node.value for part in pair]
            case yaml.SequenceNode():
                waiting += node.value
        known = _SCALARS if isinstance(node, yaml.ScalarNode) else _COLLECTIONS
        if node.tag not in known:
            raise DocumentError(f"{_place(node)}: the tag {quoted(node.tag)} is not for JSON")
    return len(seen)


_SCALARS: Final = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "merge")
)
_COLLECTIONS: Final = frozenset(("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map"))


def _check_keys(node: yaml.MappingNode) -> None:
    keys: dict[str, yaml.Node] = {}
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise DocumentError(f"{_place(key)}: a key must be a string")
        if key.tag == _MERGE:
            continue
        text = _key(key)
        if text in keys:
            first = keys[text].start_mark.line + 1
            message = f"the key {quoted(text)} is given twice; the first is on line {first}"
            raise DocumentError(f"{_place(key)}: {message}")
        keys[text] = key


def _place(node: Any) -> str:
    return f"{node.start_mark.line + 1}:{node.start_mark.column + 1}"


def _syntax(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    place = f"{mark.line + 1}:{mark.column + 1}: " if mark is not None else ""
    return f"{place}is not YAML: {error.problem or error.context}"


def _key(node: yaml.Node) -> str:
    """Return a key as JSON has it: a string, whatever YAML takes it for."""
    match _scalar(node):
        case bool(value):
            return "true" if value else "false"
        case None:
            return "null"
        case value:
            return str(value)


def _value(node: yaml.Node) -> Any:
    match node:
        case yaml.MappingNode():
            return {_key(key): _value(value) for key, value in node.value}
        case yaml.SequenceNode():
            return [_value(item) for item in node.value]
        case _:
            return _scalar(node)


def _scalar(node: yaml.Node) -> Any:
    text = node.value
    kind = node.tag.rpartition(":")[2]
    if not isinstance(node, yaml.ScalarNode) or kind not in ("bool", "null", "int", "float"):
        return text
    if kind == "null":
        return None
    if kind == "bool" and text in (*_YES, *_NO):
        return text in _YES
    try:
        number = _integer(text) if kind == "int" else float(text.replace("_", ""))
    except ValueError:
        number = math.nan
    if kind == "bool" or not math.isfinite(number):
        raise DocumentError(f"{_place(node)}: {quoted(text)} has no value in JSON")
    # Over 64 bits it is a float for Kubernetes.
    return number if -(1 << 63) <= number < 1 << 64 else float(number)


def _integer(text: str) -> int:
    digits = text.replace("_", "").lower()
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-")
    octal = digits[1:].isdecimal() and digits.startswith("0") and len(digits) > 1
    return sign * int(f"0o{digits[1:]}" if octal else digits, 0)


def _expanded(node: yaml.Node, left: list[int], depth: int) -> yaml.Node:
    """Return a copy of *node* in which nothing stands twice: aliases and merges written out.

    *left* counts the nodes that it may have.
    """
    left[0] -= 1
    if left[0] < 0 or depth > 2 * MAX_DEPTH:
        raise DocumentError(f"{_place(node)}: becomes too large once its aliases are written out")
    changed = copy.copy(node)
    match node:
        case yaml.MappingNode():
            changed.value = [
                (_expanded(key, left, depth), _expanded(value, left, depth + 1))
                for key, value in _flat(node, depth)
            ]
        case yaml.SequenceNode():
            changed.value = [_expanded(item, left, depth + 1) for item in node.value]
    return changed


def _flat(node: yaml.MappingNode, depth: int) -> list[tuple[yaml.Node, yaml.Node]]:
    """Return the pairs of *node*, and of what it merges behind them: its own win, then earlier."""
    if depth > 2 * MAX_DEPTH:
        raise DocumentError(f"{_place(node)}: merges itself")
    pairs: dict[str, tuple[yaml.Node, yaml.Node]] = {}
    merged: list[yaml.MappingNode] = []
    for key, value in node.value:
        if key.tag != _MERGE:
            pairs[_key(key)] = (key, value)
            continue
        sources = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for source in sources:
            if not isinstance(source, yaml.MappingNode):
                raise DocumentError(f"{_place(value)}: only a map can be merged with `<<`")
            merged.append(source)
    for source in merged:
        for key, value in _flat(source, depth + 1):
            pairs.setdefault(_key(key), (key, value))
    return list(pairs.values())


# --- changing ---


def _child(node: yaml.Node, key: str) -> yaml.Node:
    if isinstance(node, yaml.SequenceNode):
        item: yaml.Node = node.value[int(key)]
        return item
    for found, value in node.value:
        if _key(found) == key:
            child: yaml.Node = value
            return child
    raise LookupError(key)


def _apply(root: yaml.Node, operation: Mapping[str, Any]) -> None:
    *parents, last = (
        part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
    )
    target = root
    for key in parents:
        target = _child(target, key)
    new = _node(operation["value"]) if operation["op"] != "remove" else None
    if isinstance(target, yaml.SequenceNode):
        _change_list(target.value, int(last), operation["op"], new)
    else:
        _change_map(target.value, last, new)
    # What is written inside braces stays there only as long as it is ours to read.
    if new is not None and isinstance(new, yaml.CollectionNode):
        assert isinstance(target, yaml.CollectionNode)
        target.flow_style = False


def _change_list(items: list[yaml.Node], index: int, op: str, new: yaml.Node | None) -> None:
    if new is None:
        del items[index]
    elif op == "add":
        items.insert(index, new)
    else:
        items[index] = new


def _change_map(pairs: list[tuple[yaml.Node, yaml.Node]], key: str, new: yaml.Node | None) -> None:
    index = next((i for i, (found, _) in enumerate(pairs) if _key(found) == key), None)
    if new is None:
        if index is not None:
            del pairs[index]
    elif index is None:
        pairs.append((_node(key), new))
    else:
        pairs[index] = (pairs[index][0], new)


def _node(value: Any) -> yaml.Node:
    return _Dumper(StringIO(), sort_keys=False).represent_data(value)


# --- writing ---


def _styled(node: yaml.Node, done: dict[int, yaml.Node]) -> yaml.Node:
    """Return *node* to be written, folded scalars as literal ones: folding depends on the width."""
    if (known := done.get(id(node))) is not None:
        return known
    changed = copy.copy(node)
    done[id(node)] = changed
    match node:
        case yaml.MappingNode():
            changed.value = [(_styled(k, done), _styled(v, done)) for k, v in node.value]
        case yaml.SequenceNode():
            changed.value = [_styled(item, done) for item in node.value]
        case yaml.ScalarNode():
            setattr(changed, "style", _style(node))  # noqa: B010 - not in PyYAML's stubs
    return changed


_TO_ESCAPE: Final = re.compile(r"[^\n\x20-\x7e\xa0-\u2027\u202a-\ufefe\uff00-\U0010ffff]")
"""What some reader takes for the end of a line, for white space, or for nothing."""


def _style(node: yaml.ScalarNode) -> str | None:
    if _TO_ESCAPE.search(node.value):
        return '"'
    style: str | None = node.style
    return "|" if style == ">" else style
