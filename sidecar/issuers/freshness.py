"""What an answer says about when to ask again, and what time its sender thinks it is.

Owns reading the fields (RFC 9110 and 9111). What follows from them belongs to
``sidecar.issuers.keys``.
"""

import re
from email.utils import parsedate_to_datetime
from typing import Final

from sidecar.fetch.client import AnswerFields

_DIRECTIVE: Final = re.compile(r'([!#$%&\'*+.^_`|~0-9A-Za-z-]+)(?:=(?:"([^"\\]*)"|([^\s",;]*)))?')
_SECONDS: Final = re.compile(r"[0-9]{1,10}", re.ASCII)
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
            lifetimes.append(_seconds(quoted or plain) or 0.0)
    if not lifetimes:
        return None
    return max(0.0, min(lifetimes) - (_seconds(fields.age) or 0.0))


def wait_seconds(fields: AnswerFields, now: float) -> float:
    """Return how long the sender asks not to be asked again (RFC 9110, section 10.2.3)."""
    if (seconds := _seconds(fields.retry_after)) is not None:
        return seconds
    until = _instant(fields.retry_after)
    if until is None:
        return 0.0
    said = _instant(fields.date)
    return max(0.0, until - (now if said is None else said))


def clock_offset_seconds(fields: AnswerFields, now: float) -> float | None:
    """Return how far the sender's clock is ahead of *now*, to the second; ``None``: unknown."""
    said = _instant(fields.date)
    return None if said is None else said + (_seconds(fields.age) or 0.0) - now


def _seconds(text: str) -> float | None:
    text = text.strip()
    return float(text) if _SECONDS.fullmatch(text) else None


def _instant(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text[:64]).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
