"""The programs of ``tests.apps``, run with the carrier on their path."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.needs import needs_module

from .conftest import CARRIER, Service

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class App:
    """A program, its arguments, and the libraries it imports."""

    program: str
    arguments: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.program, *self.arguments))


@contextmanager
def running(app: App) -> Iterator[Service]:
    """Run *app*; afterwards the carrier must have had nothing to complain of."""
    for name in app.needs:
        needs_module(name)
    command = [sys.executable, "-m", f"tests.apps.{app.program}", "0", *app.arguments]
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(CARRIER),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            cwd=ROOT,
            text=True,
            start_new_session=True,  # gunicorn's workers end with their master
        )
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            errors.seek(0)
            assert line, errors.read()
            yield Service(int(line))
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.stdout.close()
            process.wait()
        errors.seek(0)
        assert "sidecar carrier" not in errors.read()
