"""What a shared cache is told of an answer whose credential it cannot see."""

import pytest

from sidecar.core.caching import keep_private

PRIVATE = b"cache-control: private\r\n"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [b"Cache-Control: max-age=60\r\n"],
        [b"Cache-Control: no-cache, x-public\r\n", b"Vary: Cookie\r\n"],
        [b"X-Cache-Control: public\r\n"],
    ],
)
def test_what_says_nothing_of_shared_caches_is_private(lines: list[bytes]) -> None:
    """As it would be for a request with Authorization (RFC 9111, section 3.5)."""
    answered = [*lines]
    keep_private(answered)
    assert answered == [*lines, PRIVATE]


@pytest.mark.parametrize(
    "value",
    [b"public", b"max-age=1 , S-MaxAge=2", b"private", b"no-store", b"must-revalidate,max-age=0"],
)
def test_what_the_app_decided_stands(value: bytes) -> None:
    """It may allow shared caches, as it may with Authorization."""
    lines = [b"Cache_Control: " + value + b"\r\n"]
    keep_private(lines)
    assert len(lines) == 1
