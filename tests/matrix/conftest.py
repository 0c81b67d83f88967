"""The users that all tests here share."""

import pytest

from tests.matrix.pods import Users


@pytest.fixture(scope="session")
def users() -> Users:
    """Two hundred users; their tokens are good for the whole session."""
    return Users.make(200)
