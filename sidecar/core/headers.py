"""Field names that are ours to set or to remove, and the identity lines the app receives.

A reserved name is removed wherever somebody else wrote it: on the way in, on the way out and in
responses. Frameworks fold names differently (``X_Auth_Subject`` reaches a WSGI app as
``X-Auth-Subject``), so names are compared with every non-alphanumeric mapped to ``-``.
"""

from collections.abc import Callable
from typing import Final

from sidecar.core.field_values import encode
from sidecar.core.names import (
    CARRIER_HEADER,
    CONTEXT_HEADER,
    DECISION_HEADER,
    IDENTITY_PREFIX,
    SIDECAR_PREFIX,
    TRANSACTION_HEADER,
    folded,
)
from sidecar.core.principal import Principal
from sidecar.core.propagation import MARKS

# Marks that the wire reports for these names; its own are below 16.
RESERVED: Final = 16
"""Only we may write it."""
AUTHORIZATION: Final = 17
CONTEXT: Final = 18
"""The dedicated header, in exactly its own spelling."""
CARRIER: Final = 19
"""The carrier's self-report, in exactly its own spelling."""
OVERRIDE: Final = 20
"""Tells an app to read another method or path than the one the rules saw."""

_OVERRIDES: Final = frozenset(
    (
        # gunicorn believes both from loopback, which is where we are (``forwarder_headers``).
        "path-info",
        "script-name",
        "x-envoy-original-path",  # CVE-2023-27487
        "x-forwarded-method",
        "x-forwarded-path",
        "x-forwarded-uri",  # CVE-2026-40575
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
        "x-middleware-subrequest",  # CVE-2025-29927: skips an app's own checks
        "x-original-method",
        "x-original-path",
        "x-original-uri",
        "x-original-url",
        "x-rewrite-uri",
        "x-rewrite-url",
    )
)
_NO_NAMES: Final[frozenset[str]] = frozenset()


def decision_line(decision: str) -> bytes:
    """Return the field line that tells whoever asked the id of the decision."""
    return f"{DECISION_HEADER}: {decision}\r\n".encode()


def classify(lower_name: bytes) -> int:
    """Return the mark of a lower-case field name, 0 for one that passes untouched."""
    return _mark(lower_name, IDENTITY_PREFIX, _NO_NAMES)


def classifier(prefix: str, names: frozenset[str]) -> Callable[[bytes], int]:
    """Return ``classify`` for identity headers with *prefix*, and those that *names* has besides.

    *names* are lower-case, with ``-`` for whatever is no letter or digit.
    """

    def classify_with_names(lower_name: bytes) -> int:
        return _mark(lower_name, prefix, names)

    return classify_with_names


def mark_apart_from_identity(lower_name: bytes) -> int:
    """Return the mark that a lower-case name has whatever the identity headers are called."""
    return _mark(lower_name, SIDECAR_PREFIX, _NO_NAMES)


def _mark(lower_name: bytes, prefix: str, names: frozenset[str]) -> int:
    if lower_name == b"authorization":
        return AUTHORIZATION
    name = lower_name.decode("ascii")
    if name == CONTEXT_HEADER:
        return CONTEXT
    if name == CARRIER_HEADER:
        return CARRIER
    name = folded(lower_name).decode("ascii")
    if (
        name.startswith((prefix, SIDECAR_PREFIX))
        or name in names
        # Removed on the way wherever it is not verified, and written by us alone.
        or name == TRANSACTION_HEADER
    ):
        return RESERVED
    if name in _OVERRIDES:
        return OVERRIDE
    return MARKS.get(name, 0)


def identity_lines(principal: Principal, prefix: str = IDENTITY_PREFIX) -> bytes:
    """Return the lines that tell the app who calls: subject, issuer, scopes, roles.

    Values are percent-encoded (``sidecar.core.field_values``), so that any claim fits in a field
    value and ``unquote`` gives it back. Scopes are separated by spaces (RFC 6749, 3.3), roles by
    commas; a comma within a role is encoded.
    """
    subject, issuer = principal.subject, principal.issuer
    scopes, roles = sorted(principal.scopes), sorted(principal.roles)
    if not _fit(f"{subject}{issuer}{''.join(scopes)}{''.join(roles)}"):
        subject, issuer = encode(subject), encode(issuer)
        scopes = [encode(scope, " ") for scope in scopes]
        roles = [encode(role, ",") for role in roles]
    lines = f"{prefix}subject: {subject}\r\n{prefix}issuer: {issuer}\r\n"
    if scopes:
        lines += f"{prefix}scopes: {' '.join(scopes)}\r\n"
    if roles:
        lines += f"{prefix}roles: {','.join(roles)}\r\n"
    return lines.encode("ascii")


def _fit(values: str) -> bool:
    """Say whether nothing in *values* has to be encoded."""
    return (
        values.isascii()
        and values.isprintable()
        and "%" not in values
        and "," not in values
        and " " not in values
    )
