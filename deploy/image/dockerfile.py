"""Read a Dockerfile: as much of the language as this project's needs, and nothing else quietly.

What a builder might do differently from ``deploy.image.build`` is refused: here-documents, parser
directives, options of instructions other than ``COPY --from``.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

KEYWORDS: Final = frozenset(
    (
        *("ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE"),
        *("FROM", "LABEL", "RUN", "STOPSIGNAL", "USER", "WORKDIR"),
    )
)
_REFERENCE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_PAIR: Final = re.compile(r'([\w.-]+)=("(?:[^"\\]|\\.)*"|[^\s"\']+)\s*')


class DockerfileError(Exception):
    """The Dockerfile says something that is not understood here. One line."""


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction with its continuation lines joined; *stage* counts from 0."""

    stage: int
    keyword: str
    value: str


def parse(text: str) -> list[Instruction]:
    """Return the instructions in order. Raises ``DockerfileError``."""
    if re.match(r"#\s*\w+\s*=", text):
        raise DockerfileError("a parser directive")
    code = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    instructions: list[Instruction] = []
    stage = -1
    for line in filter(str.strip, code.replace("\\\n", " ").splitlines()):
        keyword, _, value = line.strip().partition(" ")
        if keyword not in KEYWORDS:
            raise DockerfileError(f"unknown instruction: {keyword}")
        if keyword != "RUN" and "<<" in value:
            raise DockerfileError(f"a here-document: {keyword} {value}")
        stage += keyword == "FROM"
        if stage < 0:
            raise DockerfileError(f"{keyword} before FROM")
        instructions.append(Instruction(stage, keyword, " ".join(value.split())))
    return instructions


def substitute(value: str, variables: Mapping[str, str]) -> str:
    """Replace ``$NAME`` and ``${NAME}``. Raises ``DockerfileError`` for one that is not set."""

    def replace(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in variables:
            raise DockerfileError(f"${name} is not set: {value}")
        return variables[name]

    return _REFERENCE.sub(replace, value)


def pairs(value: str) -> dict[str, str]:
    """Read ``NAME=value NAME="value"``, as ENV, LABEL and ARG have them."""
    found: dict[str, str] = {}
    position = 0
    while position < len(value):
        matched = _PAIR.match(value, position)
        if matched is None:
            raise DockerfileError(f"not NAME=value: {value[position:]}")
        found[matched[1]] = matched[2].strip('"')
        position = matched.end()
    return found
