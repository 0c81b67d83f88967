"""Every name of ours that appears on the wire, in one place.

The carriers run inside the app and import nothing of ours, so they repeat these
values; their tests compare them with this module.
"""

from typing import Final

HANDLE_PREFIX: Final = "sdc1"
HANDLE_RANDOM_LENGTH: Final = 28
"""Characters of ``[0-9a-z]`` after the prefix: 144 bits."""
HANDLE_LENGTH: Final = len(HANDLE_PREFIX) + HANDLE_RANDOM_LENGTH

CONTEXT_HEADER: Final = "x-sidecar-context"
"""Carries the handle from the sidecar to the app, and from the app's carrier back."""

CARRIER_HEADER: Final = "x-sidecar-carrier"
"""The carrier's self-report on outbound calls: ``<name>/<version>; grade=<grade>``."""

MEMBER_KEY: Final = "sdctx"
"""Key of our member in ``baggage``, ``correlation-context`` and ``tracestate``."""

REASON_HEADER: Final = "x-sidecar-reason"
"""On answers the sidecar itself wrote: the reason's stable code."""

DECISION_HEADER: Final = "x-sidecar-decision"
"""On answers the sidecar itself wrote: the decision id, also in the access log."""
DECISION_LENGTH: Final = 16
"""Characters of ``[0-9a-z]`` in such an id."""

SIDECAR_PREFIX: Final = "x-sidecar-"
IDENTITY_PREFIX: Final = "x-auth-"
"""Default prefix of the identity headers that the app receives."""

IDENTITY_TYPE: Final = "jwt-sidecar-identity+jwt"
"""``typ`` of what a sidecar signs for its own app (RFC 8725, section 3.11): no access token."""

TRANSACTION_HEADER: Final = "txn-token"
"""Where a transaction token comes and goes (draft-ietf-oauth-transaction-tokens), nowhere else."""
TRANSACTION_TYPE: Final = "txntoken+jwt"
"""``typ`` of a transaction token: no access token."""

PROBLEM_TYPE_PREFIX: Final = "urn:jwt-sidecar:reason:"
"""``type`` of our problem documents (RFC 9457) is this plus the reason's code."""

_FOLD: Final = bytes(c if bytes([c]).isalnum() else ord("-") for c in range(256))


def folded(name: bytes) -> bytes:
    """Return *name* as frameworks may read it: ``X_Request_Id`` is ``X-Request-Id`` to WSGI apps.

    Names are compared with every non-alphanumeric mapped to ``-``.
    """
    return name.translate(_FOLD)
