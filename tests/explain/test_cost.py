"""What a sidecar that nobody asks pays for being able to explain."""

import subprocess
import sys

from tests.cli.conftest import environment


def test_the_words_are_not_loaded_at_the_start() -> None:
    """Neither the texts of reasons nor what puts decisions into words."""
    script = (
        "import sys, sidecar.assembly\n"
        "print([m for m in sys.modules if m.startswith('sidecar.explain') or 'reason_texts' in m])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
