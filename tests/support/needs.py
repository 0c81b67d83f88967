"""What a test needs that may not be there, and where its absence is an error."""

import importlib.util
import os

import pytest


def needs_module(name: str) -> None:
    """Skip the test without *name*; fail it where ``SIDECAR_REQUIRE_ALL`` says all is there."""
    try:
        found = importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # a parent of a dotted name
        found = False
    if found:
        return
    reason = f"{name} is not installed"
    if os.environ.get("SIDECAR_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
