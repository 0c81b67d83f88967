"""How the tour speaks: boxes and colour on a terminal, plain aligned text in a pipe.

Owns the look and knows nothing of what is told.
"""

import os
import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

_PLAIN_WIDTH: Final = 100
_LEAST_WIDTH: Final = 40
_LEAST_COLUMN: Final = 8
_INDENT: Final = "  "
_PROGRESS_COLUMN: Final = 29
_BOLD, _DIM, _GREEN, _RED = "1", "2", "32", "31"


@dataclass(frozen=True, slots=True)
class Look:
    """What the reader's end can show. *width* ``None``: lines are never broken."""

    boxes: bool = False
    colour: bool = False
    width: int | None = None

    @classmethod
    def of(cls, output: TextIO, environment: Mapping[str, str] = os.environ) -> "Look":
        """Boxes and colour for a terminal, unless it is dumb or ``NO_COLOR`` asks for none."""
        if not output.isatty():
            return cls()
        dumb = environment.get("TERM") == "dumb"
        return cls(
            boxes=not dumb and _can_encode(output, "│"),
            colour=not dumb and not environment.get("NO_COLOR"),
            width=max(_LEAST_WIDTH, shutil.get_terminal_size((_PLAIN_WIDTH, 24)).columns),
        )


def _can_encode(output: TextIO, text: str) -> bool:
    try:
        text.encode(output.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


class Story:
    """Writes the tour line by line, each at once, so that progress can be seen."""

    def __init__(self, output: TextIO, look: Look | None = None) -> None:
        self._output = output
        self._look = look or Look.of(output)

    def heading(self, text: str) -> None:
        """Begin a new part."""
        self._line("")
        self._line(self._painted(text, _BOLD))

    def say(self, text: str) -> None:
        """Tell one paragraph."""
        for line in self._wrapped(text, _INDENT):
            self._line(line)

    def result(self, text: str) -> None:
        """Tell what everything was for, on a line of its own."""
        self._line(_INDENT + self._painted(text, _BOLD))

    def verbatim(self, text: str) -> None:
        """Show a line that somebody may copy: never broken."""
        self._line(_INDENT + text)

    def held(self, text: str) -> None:
        """Say that something is as it should be."""
        self._marked("ok", _GREEN, text)

    def failed(self, text: str) -> None:
        """Say that something is not as it should be."""
        self._marked("FAILED", _RED, text)

    def progress(self, name: str, text: str) -> None:
        """Tell that *name* has come up."""
        first, *others = self._wrapped(text, " " * _PROGRESS_COLUMN)
        label = f"{_INDENT}{name}".ljust(_PROGRESS_COLUMN)
        self._line(label + self._painted(first.lstrip(), _DIM))
        for line in others:
            self._line(self._painted(line, _DIM))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Show *rows* under *columns*; on a terminal, long cells are broken to fit its width."""
        width = self._look.width
        room = None if width is None else width - len(_INDENT)
        for line in render_table(columns, rows, boxes=self._look.boxes, width=room):
            self._line(_INDENT + line)

    def _marked(self, mark: str, colour: str, text: str) -> None:
        first, *others = self._wrapped(text, _INDENT + " " * (len(mark) + 2))
        self._line(f"{_INDENT}{self._painted(mark, colour)}  {first.lstrip()}")
        for line in others:
            self._line(line)

    def _wrapped(self, text: str, indent: str) -> list[str]:
        if self._look.width is None:
            return [indent + text]
        lines = textwrap.wrap(text, self._look.width - len(indent), break_on_hyphens=False)
        return [indent + line for line in lines or [""]]

    def _painted(self, text: str, colour: str) -> str:
        return f"\x1b[{colour}m{text}\x1b[0m" if self._look.colour else text

    def _line(self, text: str) -> None:
        print(text, file=self._output, flush=True)


def render_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    boxes: bool = False,
    width: int | None = None,
) -> list[str]:
    """Return the lines of a table; with *width*, columns shrink from the widest until it fits.

    Columns of numbers are flush right. A table of very many columns may stay wider than *width*:
    no column becomes narrower than eight characters.
    """
    separator = " │ " if boxes else "  "
    frame = 4 if boxes else 0
    widths = [max(len(cell) for cell in column) for column in zip(columns, *rows, strict=True)]
    if width is not None:
        _shrink(widths, width - frame - len(separator) * (len(columns) - 1))
    numeric = [
        bool(rows) and all(cell.strip("-").isdigit() or not cell.strip("-") for cell in column)
        for column in zip(*rows, strict=True)
    ] or [False] * len(columns)
    body = [line for row in rows for line in _row(row, widths, numeric, separator)]
    head = _row(columns, widths, numeric, separator)
    if not boxes:
        rule = separator.join("-" * each for each in widths)
        return [line.rstrip() for line in (*head, rule, *body)]
    bars = ["─" * (each + 2) for each in widths]
    return [
        "┌" + "┬".join(bars) + "┐",
        *(f"│ {line} │" for line in head),
        "├" + "┼".join(bars) + "┤",
        *(f"│ {line} │" for line in body),
        "└" + "┴".join(bars) + "┘",
    ]


def _shrink(widths: list[int], room: int) -> None:
    while sum(widths) > room:
        widest = max(range(len(widths)), key=widths.__getitem__)
        if widths[widest] <= _LEAST_COLUMN:
            return
        widths[widest] -= 1


def _row(
    cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool], separator: str
) -> list[str]:
    broken = [textwrap.wrap(cell, width) or [""] for cell, width in zip(cells, widths, strict=True)]
    return [
        separator.join(
            _aligned(lines[i] if i < len(lines) else "", width, right)
            for lines, width, right in zip(broken, widths, numeric, strict=True)
        )
        for i in range(max(map(len, broken)))
    ]


def _aligned(text: str, width: int, right: bool) -> str:
    return text.rjust(width) if right else text.ljust(width)
