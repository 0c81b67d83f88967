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


def test_what_signs_for_the_app_is_not_loaded_where_nothing_is_signed() -> None:
    """Reading private keys is a large part of cryptography, in memory and in time."""
    script = (
        "import sys, sidecar.assembly\n"
        "heavy = ('identity_key', 'primitives.serialization')\n"
        "print([m for m in sys.modules if m.endswith(heavy)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment(), capture_output=True, text=True,
        check=True, timeout=60,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
