"""Problems as lines of text, the same for every command."""

from collections.abc import Iterable

import click

from sidecar.config.problems import Problem


def show(problems: Iterable[Problem], *, err: bool) -> None:
    """Print one line per problem."""
    for problem in problems:
        click.echo(str(problem), err=err)


def counted(number: int, noun: str) -> str:
    """Return ``1 problem`` or ``2 problems``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
