"""What a test of this package cannot do without."""

import os
from pathlib import Path

import pytest

from tests.interop.programs import Program


def needs_program(program: Program) -> Path:
    """Return where *program* stands; skip the test without it, fail where all must be there."""
    absent = program.missing()
    if program.directory.is_dir() and not absent:
        return program.directory
    reason = f"{program.name} {program.version} is not set up (make interop)"
    if absent:
        reason = f"{program.name} needs {', '.join(absent)} on PATH"
    if os.environ.get("SIDECAR_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
