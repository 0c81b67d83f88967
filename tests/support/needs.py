"""Tests of an app need libraries that only the extra ``apps`` installs."""

import importlib.util
import os

import pytest


def needs_module(name: str) -> None:
    """Skip the test without the module *name*; where everything must be there, fail it."""
    try:
        found = importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # its parent package is not there
        found = False
    if found:
        return
    reason = f"{name} is not installed (make dev EXTRAS=dev,apps)"
    if os.environ.get("SIDECAR_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
