"""Every conversation here is held on asyncio's own loop and on uvloop."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

import pytest
import uvloop

ON_UVLOOP_ALONE: Final = ("test_public_vectors.py",)
"""Hundreds of cases about bytes, not about loops: the loop that is used in production will do."""


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops differ in when they report, buffer and close: the proxy may depend on neither."""
    if item.path.name in ON_UVLOOP_ALONE:
        return {"uvloop": uvloop.new_event_loop}
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
