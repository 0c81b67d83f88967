"""The host of a request, as rules name it."""

import pytest

from sidecar.core.hosts import candidates, host_name


@pytest.mark.parametrize(
    ("field", "name"),
    [
        (b"api.example", b"api.example"),
        (b"API.Example:8443", b"api.example"),
        (b"[2001:DB8::1]:80", b"[2001:db8::1]"),
        (b"[::1]", b"[::1]"),
        (b"api.example.", b"api.example."),
        (b"", b""),
    ],
)
def test_the_host_without_its_port(field: bytes, name: bytes) -> None:
    """In lower case; a trailing dot stays for the rules to judge."""
    assert host_name(field) == name


@pytest.mark.parametrize(
    ("name", "patterns"),
    [
        (b"a.b.example", (b"a.b.example", b"*.b.example")),
        (b"localhost", (b"localhost",)),
        (b"[::1]", (b"[::1]",)),
        (b".example", (b".example",)),
        (b"a.", (b"a.",)),
    ],
)
def test_the_patterns_that_may_be_for_a_host(name: bytes, patterns: tuple[bytes, ...]) -> None:
    """Itself, and the one whose wildcard is its first label."""
    assert candidates(name) == patterns
