"""The difference between two JSON documents as a JSON patch (RFC 6902).

Not a library's: the usual one (jsonpatch) compares lists by position, so that one container put
before others becomes a rewrite of them all. Here items that stay are recognised, by their name if
they have one, and a patch says what was added. That library applies our patches in the tests.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any

from sidecar.kubernetes.results import JsonObject


def difference(old: Any, new: Any) -> tuple[JsonObject, ...]:
    """Return the operations that make *new* of *old*, in their order; none where both are equal."""
    return tuple(_difference(old, new, ""))


def pointer(key: str) -> str:
    """Return *key* as part of a JSON pointer (RFC 6901)."""
    return key.replace("~", "~0").replace("/", "~1")


def _difference(old: Any, new: Any, path: str) -> Iterator[JsonObject]:
    match old, new:
        case Mapping(), Mapping():
            yield from _of_maps(old, new, path)
        case (list() | tuple(), list() | tuple()):
            yield from _of_lists(old, new, path)
        case _ if not _same(old, new):
            yield {"op": "replace", "path": path, "value": new}


def _of_maps(old: JsonObject, new: JsonObject, path: str) -> Iterator[JsonObject]:
    for key in old:
        if key not in new:
            yield {"op": "remove", "path": f"{path}/{pointer(key)}"}
    for key, value in new.items():
        inside = f"{path}/{pointer(key)}"
        if key in old:
            yield from _difference(old[key], value, inside)
        else:
            yield {"op": "add", "path": inside, "value": value}


def _of_lists(old: Sequence[Any], new: Sequence[Any], path: str) -> Iterator[JsonObject]:
    matcher = SequenceMatcher(
        None, [_identity(each) for each in old], [_identity(each) for each in new], autojunk=False
    )
    at = 0  # in the list as the operations so far have left it
    for tag, i, i_end, j, j_end in matcher.get_opcodes():
        # Where as many went as came, they are each other's: `equal`, or one value for another.
        paired = i_end - i if tag == "equal" else min(i_end - i, j_end - j)
        for offset in range(paired):
            yield from _difference(old[i + offset], new[j + offset], f"{path}/{at}")
            at += 1
        for _ in range(i + paired, i_end):
            yield {"op": "remove", "path": f"{path}/{at}"}
        for value in new[j + paired : j_end]:
            yield {"op": "add", "path": f"{path}/{at}", "value": value}
            at += 1


def _identity(item: Any) -> str:
    if isinstance(item, Mapping) and isinstance(item.get("name"), str):
        return f"name {item['name']}"
    return json.dumps(item, sort_keys=True)


def _same(old: Any, new: Any) -> bool:
    # `1 == True == 1.0` in Python, and three values in JSON.
    return json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
