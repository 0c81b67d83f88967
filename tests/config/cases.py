"""How tests write down problems: the lines a person sees, without the directory of the file."""

from collections.abc import Iterable

from sidecar.config.problems import Problem

VALID_START = """\
version: 1
issuers: {a: {issuer: "https://a.example", audiences: [d]}}
"""
"""Two lines, so that what a case appends starts on line 3."""


def lines(problems: Iterable[Problem]) -> list[str]:
    """Return each problem from its line number on."""
    return [
        str(problem).split("sidecar.yaml:", 1)[1].replace(_directory(problem), "")
        for problem in problems
    ]


def _directory(problem: Problem) -> str:
    return problem.file.removesuffix("sidecar.yaml")
