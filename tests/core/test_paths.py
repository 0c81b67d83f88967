"""Canonical paths: one form for rules and app, and no second reading."""

import pytest

from sidecar.core.outcome import Denial, Reason
from sidecar.core.paths import PathOptions, canonical

STRICT = PathOptions()


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        (b"/", b"/"),
        (b"/users/alice", b"/users/alice"),
        (b"/users/alice/", b"/users/alice/"),
        (b"/a.b/c-d_e~f", b"/a.b/c-d_e~f"),
        (b"/.well-known/x", b"/.well-known/x"),
        (b"/a/...", b"/a/..."),
        (b"/%61dmin", b"/admin"),
        (b"/%7Euser", b"/~user"),
        (b"/a%20b", b"/a%20b"),
        (b"/caf%c3%a9", b"/caf%C3%A9"),
        (b"/x%3ay", b"/x%3Ay"),
        (b"/a:b@c,d=e", b"/a:b@c,d=e"),
    ],
)
def test_a_path_with_one_reading_gets_its_canonical_form(sent: bytes, expected: bytes) -> None:
    """Unreserved characters are decoded, other encodings kept in upper case."""
    assert canonical(sent, STRICT) == expected


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        (b"/a/../admin", "dot segment"),
        (b"/a/./admin", "dot segment"),
        (b"/a/..", "dot segment"),
        (b"/%2e%2e/admin", "dot segment"),
        (b"/%2E./admin", "dot segment"),
        (b"//admin", "empty path segment"),
        (b"/a//b", "empty path segment"),
        (b"/a%2fb", "encoded slash"),
        (b"/a%2Fb", "encoded slash"),
        (b"/a%5cb", "encoded backslash"),
        (b"/a\\b", "backslash"),
        (b"/a%00b", "encoded control"),
        (b"/a%0d%0ab", "encoded control"),
        (b"/a%7f", "encoded control"),
        (b"/a%252fb", "double encoding"),
        (b"/a%2", "percent sign"),
        (b"/a%zz", "percent sign"),
        (b"/a%", "percent sign"),
        (b"/admin;x=1", "semicolon"),
        (b"/..;/admin", "semicolon"),
        (b"/a%3bb", "encoded semicolon"),
        (b"/%c0%af", "not UTF-8"),
        (b"/%ff", "not UTF-8"),
        (b"/a<b", "a character"),
        (b'/a"b', "a character"),
        (b"/a{b}", "a character"),
        (b"admin", "a character"),
        (b"", "a character"),
    ],
)
def test_a_path_with_two_readings_is_refused(sent: bytes, detail: str) -> None:
    """Whatever a proxy and an app could read differently is 400 and says what it was."""
    result = canonical(sent, STRICT)
    assert isinstance(result, Denial)
    assert result.reason is Reason.PATH_AMBIGUOUS
    assert detail in result.detail
    assert result.public


def test_an_operator_may_allow_what_the_app_needs() -> None:
    """Encoded slash and semicolon pass where they were allowed, still in one form."""
    assert canonical(b"/a%2fb", PathOptions(allow_encoded_slash=True)) == b"/a%2Fb"
    assert canonical(b"/a;v=1/b", PathOptions(allow_semicolon=True)) == b"/a;v=1/b"


def test_a_matrix_parameter_does_not_hide_a_dot_segment() -> None:
    """``..;x`` is a dot segment to whoever strips the parameter."""
    assert isinstance(canonical(b"/a/..;x/b", PathOptions(allow_semicolon=True)), Denial)
    assert isinstance(canonical(b"/a/..%3Bx/b", PathOptions(allow_semicolon=True)), Denial)


@pytest.mark.parametrize("path", [b"/a/b", b"/%61/%62", b"/caf%C3%A9/x"])
def test_the_canonical_form_is_its_own_canonical_form(path: bytes) -> None:
    """Canonicalising twice changes nothing, so that the app sees what the rules saw."""
    once = canonical(path, STRICT)
    assert isinstance(once, bytes)
    assert canonical(once, STRICT) == once
