"""The issuer that is going to fail, and the row of the test that lets it."""

from collections.abc import AsyncIterator

import pytest

from tests.outages.rows import ROWS, Row
from tests.outages.support import Provider


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    """An issuer that is well."""
    async with Provider() as provider:
        yield provider


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """What docs/outages.md says of this test."""
    function: pytest.Function = request.node
    return ROWS[function.originalname]
