"""How far a handle goes, decided once, when the carrier is loaded.

``strict``: only into work that the request itself waits for. ``standard``: wherever Python copies
its own context, and into the jobs of thread pools. What a grade means is in ``held``, ``pools``
and ``tasks``; which one holds is decided here alone.
"""

from __future__ import annotations

from . import report

STRICT = "strict"
STANDARD = "standard"

chosen = STRICT


def choose(setting: str) -> bool:
    """Read ``SIDECAR_CARRIER``; false means that there is to be no carrier.

    What cannot be read is strict: a misspelt wish must not widen anything.
    """
    global chosen
    wish = setting.strip().lower()
    if wish == "off":
        return False
    if wish not in ("", "grade=" + STRICT, "grade=" + STANDARD):
        report.once(
            "SIDECAR_CARRIER is neither grade=strict, grade=standard nor off; using grade=strict"
        )
    chosen = STANDARD if wish == "grade=" + STANDARD else STRICT
    return True


def is_standard() -> bool:
    return chosen == STANDARD
