"""What some tests need: libraries of the extra ``apps``, or a loop without a certain fault."""

import asyncio
import importlib.util
import os
import sys

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


def needs_abort_of_what_is_gone() -> None:
    """Skip the test on asyncio's own loop before Python 3.11.3, whose TLS transport raises an
    ``AttributeError`` when it is aborted after its end. The sidecar runs on uvloop.
    """
    own_loop = type(asyncio.get_running_loop()).__module__.startswith("asyncio")
    if own_loop and sys.version_info < (3, 11, 3):
        pytest.skip("asyncio before Python 3.11.3 cannot abort a TLS connection that has ended")
