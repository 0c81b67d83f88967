"""Programs that the manifests are checked with, where they are installed."""

import os
import shutil
import sys
from pathlib import Path

import pytest

PACKAGE = "Debian's package prometheus"


def needs_program(name: str, package: str = PACKAGE) -> str:
    """Return the path of *name*; without it skip, or fail where everything must be there."""
    beside = Path(sys.executable).parent
    found = shutil.which(name, path=str(beside)) or shutil.which(name)
    if found is not None:
        return found
    reason = f"{name} is not installed ({package})"
    if os.environ.get("SIDECAR_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
