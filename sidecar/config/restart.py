"""What of a configuration cannot change while the process runs.

These are the things that everything in progress refers to. Changing them in a running sidecar is
refused in words, never ignored.
"""

from collections.abc import Iterator
from typing import Final

from sidecar.config.model import Config

_FIXED: Final = (
    "admin.listen",
    "admin.control",
    "admin.app_probes",
    "log.access",
    "log.level",
    "log.decisions",
    "explain.refusals",
    "explain.permits",
    "attribution.carrier",
    "attribution.exclusive",
    "attribution.exclusive_wait",
    "attribution.exclusive_quiet",
    "attribution.exclusive_queue",
    "attribution.ledger_capacity",
)
_FIELDS: Final = {
    "attribution.exclusive_wait": "exclusive_wait_seconds",
    "attribution.exclusive_quiet": "exclusive_quiet_seconds",
}


def needs_restart(old: Config, new: Config) -> tuple[str, ...]:
    """Return the keys that differ and take a restart, in the order of the documentation."""
    return tuple(path for path in _FIXED if _value(old, path) != _value(new, path))


def fixed_keys() -> Iterator[str]:
    """Yield every such key."""
    yield from _FIXED


def _value(config: Config, path: str) -> object:
    section, _, key = path.partition(".")
    value: object = getattr(getattr(config, section), _FIELDS.get(path, key))
    return value
