"""Prometheus and promtool, where they are installed."""

import os
import shutil

import pytest

PACKAGE = "prometheus"
"""Debian's, of which both are."""


def needs_program(name: str, package: str = PACKAGE) -> str:
    """Return the path of *name*; without it skip, or fail where everything must be there."""
    found = shutil.which(name)
    if found is not None:
        return found
    reason = f"{name} is not installed (Debian: {package})"
    if os.environ.get("SIDECAR_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
