import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

Run = Callable[..., subprocess.CompletedProcess[str]]
"""Arguments of ``sidecar`` to what it printed and how it ended."""

ROOT = Path(__file__).parents[2]


def command(arguments: Sequence[str]) -> list[str]:
    return [sys.executable, "-m", "sidecar", *arguments]


def environment(**extra: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **extra}


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
