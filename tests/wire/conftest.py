"""Every conversation here is held on asyncio's own loop and on uvloop."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loops differ in when they report, buffer and close: the proxy may depend on neither."""
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}
