"""What a builder may copy: the tree without what .dockerignore keeps out."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

_STARS: Final = re.compile(r"\*\*/|\*\*|\*|\?|[^*?]+")
_MEANING: Final = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


class Context:
    """The files below *tree* that .dockerignore lets through: the last line that fits decides."""

    def __init__(self, tree: Path) -> None:
        self.tree = tree
        self._lines = _lines((tree / ".dockerignore").read_text())

    def holds(self, path: str) -> bool:
        """Whether the file *path*, relative to the tree, is part of the context."""
        holds = True
        for lets_through, pattern in self._lines:
            if pattern.fullmatch(path):
                holds = lets_through
        return holds

    def files(self, source: str) -> Iterator[Path]:
        """Yield the files at or below *source*, in order, relative to the tree."""
        start = self.tree / source
        for file in [start] if start.is_file() else sorted(start.rglob("*")):
            relative = file.relative_to(self.tree)
            if not file.is_dir() and self.holds(relative.as_posix()):
                yield relative


def _lines(text: str) -> Sequence[tuple[bool, re.Pattern[str]]]:
    meant = [line.strip() for line in text.splitlines()]
    return [
        (line.startswith("!"), _compile(line.removeprefix("!").strip("/")))
        for line in meant
        if line and not line.startswith("#")
    ]


def _compile(pattern: str) -> re.Pattern[str]:
    translated = "".join(_MEANING.get(part) or re.escape(part) for part in _STARS.findall(pattern))
    # What lies below something that fits, fits.
    return re.compile(f"{translated}(?:/.*)?")
