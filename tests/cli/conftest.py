import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import sidecar as sidecar_package

ROOT = Path(__file__).parents[2]
INSTALLED = Path(sidecar_package.__file__).parents[1]
"""Where the package under test is: the tree, or what was built of it."""

Run = Callable[..., subprocess.CompletedProcess[str]]
"""Arguments of ``sidecar`` to what it printed and how it ended."""


def command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "sidecar", *arguments]


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(INSTALLED), **extra}


@pytest.fixture
def sidecar(tmp_path: Path) -> Run:
    """Run the real command in an empty directory."""

    def run(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command(arguments),
            check=False,
            text=True,
            timeout=60,
            **{"capture_output": True, "cwd": tmp_path, "env": environment(), **options},
        )

    return run
