"""Reserved names in every spelling, and the identity lines."""

from urllib.parse import unquote

import pytest

from sidecar.core.headers import (
    AUTHORIZATION,
    CARRIER,
    CONTEXT,
    OVERRIDE,
    RESERVED,
    classify,
    identity_lines,
)
from sidecar.core.principal import Principal
from sidecar.core.propagation import BAGGAGE, CORRELATION, REQUEST_ID, TRACE_ID, TRACEPARENT


@pytest.mark.parametrize(
    ("name", "mark"),
    [
        (b"x-auth-subject", RESERVED),
        (b"x_auth_subject", RESERVED),
        (b"x.auth.subject", RESERVED),
        (b"x-auth_roles", RESERVED),
        (b"x-auth-anything", RESERVED),
        (b"x-sidecar-reason", RESERVED),
        (b"x_sidecar_context", RESERVED),
        (b"x-sidecar_carrier", RESERVED),
        (b"x-sidecar-context", CONTEXT),
        (b"x-sidecar-carrier", CARRIER),
        (b"authorization", AUTHORIZATION),
        (b"x-http-method-override", OVERRIDE),
        (b"x_original_url", OVERRIDE),
        (b"x-rewrite-url", OVERRIDE),
        (b"accept", 0),
        (b"x-authority", 0),
        (b"x-request-id", REQUEST_ID),
        (b"x_request_id", REQUEST_ID),
        (b"traceparent", TRACEPARENT),
        (b"baggage", BAGGAGE),
        (b"correlation_context", CORRELATION),
        (b"x_b3_traceid", TRACE_ID),
        (b"x-b3-spanid", 0),
    ],
)
def test_names_are_recognised_in_every_spelling(name: bytes, mark: int) -> None:
    """Frameworks fold separators differently, so all of them count as the same."""
    assert classify(name) == mark


def test_identity_lines_name_subject_issuer_scopes_and_roles() -> None:
    """Scopes are separated by spaces, roles by commas, both sorted."""
    principal = Principal(
        "shop", "https://id.example", "alice", frozenset({"b", "a"}), frozenset({"Y", "X"})
    )
    assert identity_lines(principal) == (
        b"x-auth-subject: alice\r\n"
        b"x-auth-issuer: https://id.example\r\n"
        b"x-auth-scopes: a b\r\n"
        b"x-auth-roles: X,Y\r\n"
    )


def test_empty_scopes_and_roles_have_no_line() -> None:
    """Nothing is said about what the token does not have."""
    assert identity_lines(Principal("s", "i", "a")) == b"x-auth-subject: a\r\nx-auth-issuer: i\r\n"


@pytest.mark.parametrize("subject", ["Zoë", "a\r\nx-auth-roles: ADMIN", "50%", "日本", "\ud800"])
def test_a_claim_can_neither_break_a_line_nor_lose_its_meaning(subject: str) -> None:
    """Everything but visible ASCII is percent-encoded, and decoding gives the claim back."""
    line = identity_lines(Principal("s", "i", subject)).split(b"\r\n")[0].decode("ascii")
    assert line.startswith("x-auth-subject: ")
    expected = subject.encode("utf-8", "replace").decode()
    assert unquote(line.removeprefix("x-auth-subject: ")) == expected


def test_a_comma_in_a_role_does_not_make_two_roles() -> None:
    """The separator is encoded inside a name."""
    lines = identity_lines(Principal("s", "i", "a", roles=frozenset({"A,ADMIN", "B"})))
    assert b"x-auth-roles: A%2CADMIN,B\r\n" in lines
