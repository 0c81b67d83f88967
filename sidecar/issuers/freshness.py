"""How long an answer stays fresh, and what time its sender thinks it is.

Owns reading the fields (RFC 9111). What follows from them belongs to
``sidecar.issuers.keys``.
"""

import re
from typing import Final

from sidecar.fetch.client import AnswerFields
from sidecar.resilience.retry_after import instant, number

_DIRECTIVE: Final = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:=(?:"([^"\\]*)"|([^\s",;]*)))?')
_NOT_KEPT: Final = frozenset({"no-store", "no-cache"})


def fresh_seconds(fields: AnswerFields) -> float | None:
    """Return how long the answer stays fresh; ``None`` where it says nothing of it.

    Zero where it must not be kept, and where what it says cannot be understood (RFC 9111,
    section 4.2.1). Of several ``max-age`` the smallest counts. ``s-maxage`` is for caches that
    serve many; we are one client.
    """
    lifetimes: list[float] = []
    for name, quoted, plain in _DIRECTIVE.findall(fields.cache_control):
        if name.lower() in _NOT_KEPT:
            return 0.0
        if name.lower() == "max-age":
            lifetimes.append(number(quoted or plain) or 0.0)
    if not lifetimes:
        return None
    return max(0.0, min(lifetimes) - (number(fields.age) or 0.0))


def clock_offset_seconds(fields: AnswerFields, now: float) -> float | None:
    """Return how far the sender's clock is ahead of *now*, to the second; ``None``: unknown."""
    said = instant(fields.date)
    return None if said is None else said + (number(fields.age) or 0.0) - now
