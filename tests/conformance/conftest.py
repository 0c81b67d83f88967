"""One sidecar process for all cases of a module."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.conformance.front import Front
from tests.conformance.front import front as running_front


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    """Run the sidecar; afterwards look at all that its backends have received."""
    async with running_front(tmp_path_factory.mktemp("conformance")) as running:
        yield running
        running.inbound.check()
        running.outbound.check()
