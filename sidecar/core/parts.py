"""Which part of a destination a call goes to, by method and path.

Patterns are compared in lower case and without a trailing slash, since a server may take paths in
any case, and with a slash at the end or without. A path that can be read in two ways has no part.
"""

from collections.abc import Sequence
from typing import Final

from sidecar.core.outcome import Denial
from sidecar.core.paths import PathOptions, canonical
from sidecar.core.routes import MAX_SEGMENTS, RouteTree, pattern_of, segments_of

MAX_REMEMBERED_PATHS: Final = 1024
MAX_REMEMBERED_BYTES: Final = 256
"""Longer ones are looked up each time."""

REST: Final = -1
"""In place of the number of a part: none matches."""

_STRICT: Final = PathOptions()


class Parts:
    """Parts by their number: the first that matches, or else the rest."""

    __slots__ = ("_found", "_methods", "_tree")

    def __init__(self, parts: Sequence[tuple[tuple[str, ...], frozenset[bytes] | None]]) -> None:
        """*parts* are path patterns, and methods (``None``: all), in their order."""
        self._tree = RouteTree()
        self._methods = [methods for _, methods in parts]
        self._found: dict[tuple[bytes, bytes], int] = {}
        for number, (paths, _) in enumerate(parts):
            for path in paths:
                self._tree.insert(pattern_of(path, folded=True), number)

    def find(self, method: bytes, target: bytes) -> int | Denial:
        """Return the number of the part, ``REST``, or why nobody can tell."""
        if not self._methods:
            return REST
        raw_path = target.partition(b"?")[0]
        key = (method, raw_path)
        known = self._found.get(key)
        if known is not None:
            return known
        path = raw_path if raw_path == b"*" else canonical(raw_path, _STRICT)
        if isinstance(path, Denial):
            return path
        found = self._match(method, path)
        if len(method) + len(raw_path) <= MAX_REMEMBERED_BYTES:
            if len(self._found) >= MAX_REMEMBERED_PATHS:
                self._found.clear()
            self._found[key] = found
        return found

    def _match(self, method: bytes, path: bytes) -> int:
        segments = segments_of(path, folded=True)
        if len(segments) <= MAX_SEGMENTS:
            for number in sorted(self._tree.matching(segments)):
                methods = self._methods[number]
                if methods is None or method in methods:
                    return number
        return REST
