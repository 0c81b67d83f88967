"""What is wrong with a configuration, where, and what was probably meant.

Owns the wording that all problems share and the bound on how many are kept. Finding
them belongs to the readers and checks of this package.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Final, Literal

MAX_PROBLEMS: Final = 500
"""Kept in full per run; one more says that there are others."""
LONGEST_QUOTED: Final = 60
LONGEST_COMPARED: Final = 64
"""Similarity costs the product of both lengths, and the longest of ours is far shorter."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: a position in a file, or a flag of the command line."""

    file: str
    """The path as given, or the flag, such as ``--issuer``."""
    line: int = 0
    """From 1; 0 where there are no lines."""
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}" if self.line else self.file

    def resolve(self, path: str) -> str:
        """Return *path* as seen from the directory of the file that names it."""
        return os.path.join(os.path.dirname(self.file), path)


@dataclass(frozen=True, slots=True)
class Problem:
    """One finding. *message* never holds what a ``${ENV}`` or ``file:`` reference stood for."""

    file: str
    line: int
    column: int
    path: str
    """``inbound.rules[0].paths[1]``; empty for the document as a whole."""
    message: str
    suggestion: str | None = None
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """``file:line:column: path: message (did you mean `x`?)``, on one line."""
        parts = [str(Place(self.file, self.line, self.column))]
        if self.severity == "warning":
            parts.append("warning")
        if self.path:
            parts.append(self.path)
        text = ": ".join([*parts, self.message])
        if self.suggestion is not None:
            text += f" (did you mean `{self.suggestion}`?)"
        return printable(text)


class ConfigError(Exception):
    """The configuration cannot be used; *problems* says all there is to correct."""

    def __init__(self, problems: Sequence[Problem], warnings: Sequence[Problem] = ()) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)
        self.warnings = tuple(warnings)


@dataclass(slots=True)
class Findings:
    """Collects problems in the order found and hands them out in the order of the input."""

    files: list[str] = field(default_factory=list)
    """In the order given, which is the order of the report."""
    _problems: list[Problem] = field(default_factory=list)
    _omitted: bool = False

    def error(self, place: Place, path: str, message: str, suggestion: str | None = None) -> None:
        self._add(place, path, message, suggestion, "error")

    def warn(self, place: Place, path: str, message: str) -> None:
        self._add(place, path, message, None, "warning")

    def _add(
        self,
        place: Place,
        path: str,
        message: str,
        suggestion: str | None,
        severity: Literal["error", "warning"],
    ) -> None:
        if len(self._problems) >= MAX_PROBLEMS:
            self._omitted = True
            return
        self._problems.append(
            Problem(place.file, place.line, place.column, path, message, suggestion, severity)
        )

    @property
    def errors(self) -> tuple[Problem, ...]:
        found = self._ordered("error")
        if self._omitted:
            message = f"there are more problems than the {MAX_PROBLEMS} that are kept"
            found += (Problem(self.files[0] if self.files else "", 0, 0, "", message),)
        return found

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return self._ordered("warning")

    def _ordered(self, severity: str) -> tuple[Problem, ...]:
        ranks = {file: rank for rank, file in reversed(list(enumerate(self.files)))}
        chosen = (problem for problem in self._problems if problem.severity == severity)
        return tuple(
            sorted(chosen, key=lambda p: (ranks.get(p.file, len(ranks)), p.line, p.column))
        )


def nearest(word: str, known: Iterable[str]) -> str | None:
    """Return the one of *known* that *word* was probably meant to be."""
    if len(word) > LONGEST_COMPARED:
        return None
    by_folded = {name.lower().replace("-", "_"): name for name in known}
    folded = word.lower().replace("-", "_")
    match get_close_matches(folded, by_folded, n=1, cutoff=0.6):
        case [best]:
            return by_folded[best]
        case _:
            return None


def quoted(text: str) -> str:
    """Return *text* as it is shown inside a message: short, and marked as a quotation."""
    shortened = text if len(text) <= LONGEST_QUOTED else text[: LONGEST_QUOTED - 1] + "…"
    return f"`{shortened}`"


def printable(text: str) -> str:
    """Escape what a terminal would obey rather than show."""
    if text.isprintable():
        return text
    return "".join(
        character
        if character.isprintable()
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )
