"""TLS is the loop's own, so it is tested on the loop that is used in production."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
import uvloop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """What concerns connections alone is in ``tests/wire``, on asyncio's loop too."""
    return {"uvloop": uvloop.new_event_loop}
