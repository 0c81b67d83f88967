"""Which of many path patterns match a path, at a cost that does not grow with their number.

Patterns are kept as a tree of segments. Owns patterns and their segments; what a match is good for
belongs to ``sidecar.core.policy``.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final

MAX_SEGMENTS: Final = 128
"""A longer path matches nothing."""

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")

Pattern = tuple[bytes, ...]
"""Segments of a pattern: literal, ``ANY`` for one that may be anything, ``BELOW`` at the end."""

ANY: Final = b"*"
BELOW: Final = b"**"
"""The path before it and everything under that."""


def is_segment_name(text: str) -> bool:
    """Whether *text* can stand in braces for a segment."""
    return _NAME.fullmatch(text) is not None


def name_of(segment: str) -> str | None:
    """Return the name in a segment of a written pattern; ``None``: it has none."""
    if segment.startswith("{") and segment.endswith("}") and is_segment_name(segment[1:-1]):
        return segment[1:-1]
    return None


def named_segments(path: str) -> Mapping[str, int]:
    """Return where each named segment of a written pattern is, from 0 for the first."""
    names = [name_of(segment) for segment in path[1:].split("/")]
    return {name: index for index, name in enumerate(names) if name is not None}


def pattern_of(path: str, *, folded: bool) -> Pattern:
    """Return the segments of a written pattern; ``{name}`` stands for one segment, as ``*``.

    *folded* is for what matches in any case and with or without one trailing slash.
    """
    segments = [each.encode() if name_of(each) is None else ANY for each in path[1:].split("/")]
    if not folded:
        return tuple(segments)
    return tuple(_without_slash([each.lower() for each in segments]))


def segments_of(path: bytes, *, folded: bool) -> list[bytes]:
    """Return the segments of a canonical path, as ``pattern_of`` does of a pattern."""
    if folded:
        return _without_slash(path[1:].lower().split(b"/"))
    return path[1:].split(b"/")


def _without_slash(segments: list[bytes]) -> list[bytes]:
    if len(segments) > 1 and segments[-1] == b"":
        segments.pop()
    return segments


class _Node:
    __slots__ = ("any", "below", "children", "here")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] = {}
        self.any: _Node | None = None
        self.here: list[int] = []
        """What ends at this segment."""
        self.below: list[int] = []
        """What is this prefix and ``**``."""


class RouteTree:
    """Numbers by pattern. What is found is not in order."""

    __slots__ = ("_root",)

    def __init__(self) -> None:
        self._root = _Node()

    def insert(self, pattern: Pattern, number: int) -> None:
        node = self._root
        for segment in pattern:
            if segment == BELOW:
                node.below.append(number)
                return
            if segment == ANY:
                if node.any is None:
                    node.any = _Node()
                node = node.any
            else:
                child = node.children.get(segment)
                if child is None:
                    child = node.children[segment] = _Node()
                node = child
        node.here.append(number)

    def matching(self, segments: list[bytes]) -> list[int]:
        """Return the numbers of every pattern that matches a path of these *segments*."""
        found: list[int] = []
        nodes = [self._root]
        for segment in segments:
            following: list[_Node] = []
            for node in nodes:
                if node.below:
                    found += node.below
                child = node.children.get(segment)
                if child is not None:
                    following.append(child)
                if node.any is not None and segment:
                    following.append(node.any)
            if not following:
                return found
            nodes = following
        for node in nodes:
            found += node.here
            found += node.below
        return found

    def covering(self, pattern: Pattern) -> Iterator[int]:
        """Yield the numbers of patterns that match whatever *pattern* matches."""
        nodes = [self._root]
        for segment in pattern:
            for node in nodes:
                yield from node.below
            if segment == BELOW:
                return
            following = [node.any for node in nodes if node.any is not None and segment]
            if segment != ANY:
                following += [node.children[segment] for node in nodes if segment in node.children]
            nodes = following
        for node in nodes:
            yield from node.here
            yield from node.below
