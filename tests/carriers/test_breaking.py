"""Attempts to get a strict handle to work that is not its request's own."""

import json
import subprocess
from pathlib import Path

from .conftest import CARRIER, Interpreter

PROGRAM = Path(__file__).with_name("breaking.py")


def test_nothing_gets_a_handle_that_its_request_does_not_wait_for(interpreter: Interpreter) -> None:
    """Code has its request's handle exactly where the language makes the request wait for it."""
    answer = subprocess.run(
        [interpreter.program, "-W", "ignore", str(PROGRAM)],
        env={"PYTHONPATH": str(CARRIER), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    seen = json.loads(answer.stdout)
    assert len(seen) >= 14
    for name, looks in seen.items():
        assert set(looks) == {"own" if name.endswith("_joined") else "none"}, (name, looks)
