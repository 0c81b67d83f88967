"""The document that ``/drain`` gives and ``sidecar drain`` reads: one type for both ends.

Fields are added and never renamed.
"""

from typing import Final

from msgspec import Struct

DRAIN_PATH: Final = "/drain"


class DrainStatus(Struct, frozen=True, kw_only=True):
    """How far it is."""

    draining_seconds: float | None
    """Since it began; ``None``: it did not."""
    timeout_seconds: float
    """What the configuration allows the end to take."""
    requests: int
    """Of callers, in progress."""
    app_gone: bool
    """The app's port does not answer, and it has no connection open to call others."""
