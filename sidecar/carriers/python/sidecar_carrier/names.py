"""What the carrier writes on the wire. A carrier imports nothing of the sidecar, so the values
are repeated here; a test compares them with the sidecar's.
"""

from __future__ import annotations

VERSION = "0.1.0"

CONTEXT_HEADER = "x-sidecar-context"
CARRIER_HEADER = "x-sidecar-carrier"

HANDLE_PREFIX = "sdc1"
HANDLE_LENGTH = 32
HANDLE_ALPHABET = frozenset("0123456789abcdefghijklmnopqrstuvwxyz")


def is_handle(value: str) -> bool:
    """Whether *value* has the form of a handle. Whether it is one, only the sidecar knows."""
    return (
        len(value) == HANDLE_LENGTH
        and value.startswith(HANDLE_PREFIX)
        and HANDLE_ALPHABET.issuperset(value)
    )


def self_report(grade: str) -> str:
    """What the carrier says of itself on a call: the version it came with and its grade."""
    return "python/" + VERSION + "; grade=" + grade
