"""The command as a function: in this process, because starting one costs most of a second."""

from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner

from sidecar.cli import sidecar


@dataclass(frozen=True)
class Done:
    """What a command printed and how it ended."""

    returncode: int
    stdout: str
    stderr: str


def rules(directory: Path, *arguments: str) -> Done:
    """Run ``sidecar rules`` in *directory*."""
    with chdir(directory):
        result = CliRunner().invoke(sidecar, ["rules", *arguments], catch_exceptions=False)
    return Done(result.exit_code, result.stdout, result.stderr)
