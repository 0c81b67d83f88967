"""Which rules are for a host (RFC 9110, section 7.2), by the name in ``Host`` without its port.

Owns the comparison. How a name may be written in the configuration belongs to ``sidecar.config``.
"""

from typing import Final

WILDCARD: Final = "*."
"""Begins a pattern in which it stands for exactly one label, as in certificates (RFC 9525, 6.3)."""


def host_name(field: bytes) -> bytes:
    """Return the host of ``Host`` in lower case, without its port; brackets of IPv6 stay."""
    name = field.lower()
    if name.startswith(b"["):
        return name[: name.find(b"]") + 1]
    return name.partition(b":")[0]


def candidates(name: bytes) -> tuple[bytes, ...]:
    """Return the patterns that *name* can be found under: itself, and that with a wildcard."""
    if name.startswith(b"["):
        return (name,)
    label, dot, rest = name.partition(b".")
    return (name, b"*." + rest) if label and dot and rest else (name,)
