"""Several files as one tree: maps merge by key, and no value is given twice.

Later files add and never override, so that the order of ``--config`` decides nothing.
"""

from sidecar.config.positions import BrokenNode, Entry, MappingNode, Node, ScalarNode, under
from sidecar.config.problems import Findings


def merge(one: MappingNode, other: MappingNode, findings: Findings) -> MappingNode:
    """Return both maps as one; a value in both is reported at the second, naming the first."""
    return _merge(one, other, "", findings)


def _merge(one: MappingNode, other: MappingNode, path: str, findings: Findings) -> MappingNode:
    entries = dict(one.entries)
    for key, entry in other.entries.items():
        earlier = entries.get(key)
        entries[key] = (
            entry if earlier is None else _both(earlier, entry, under(path, key), findings)
        )
    return MappingNode(one.place, entries)


def _both(one: Entry, other: Entry, path: str, findings: Findings) -> Entry:
    match one.value, other.value:
        case MappingNode() as mine, MappingNode() as theirs:
            return Entry(one.place, _merge(mine, theirs, path, findings))
        case BrokenNode(), _:
            return one
        case _, BrokenNode():
            return other
        case mine, theirs if path == "version" and _text(mine) == _text(theirs) is not None:
            return one  # every file may say which format it is written in
        case _:
            findings.error(other.place, path, f"is given twice; the first is at {one.place}")
            return one


def _text(node: Node) -> str | None:
    return node.text if isinstance(node, ScalarNode) else None
