"""Digests from copies of started hashes."""

import hashlib
from collections.abc import Callable

import pytest

from sidecar.core.digests import sha256, sha384, sha512


@pytest.mark.parametrize("digest", [sha256, sha384, sha512])
def test_each_digest_is_that_of_its_data_alone(digest: Callable[[bytes], bytes]) -> None:
    """What was hashed before leaves no trace in what is hashed next."""
    for data in (b"header.payload", b"", bytes(10_000), b"header.payload"):
        assert digest(data) == hashlib.new(digest.__name__, data).digest()
