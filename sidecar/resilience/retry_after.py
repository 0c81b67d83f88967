"""How long a server asks to be left alone (RFC 9110, section 10.2.3).

Pure: the clock is an argument. What follows from it belongs to whoever asks the server.
"""

import re
from email.utils import parsedate_to_datetime
from typing import Final

from sidecar.fetch.client import AnswerFields

_SECONDS: Final = re.compile(r"[0-9]{1,10}", re.ASCII)


def wait_seconds(fields: AnswerFields, now: float) -> float:
    """Return how long the sender asks not to be asked again; 0 where it does not say.

    *now* is in seconds since the epoch. A date is held against the sender's own clock, if it
    said what that shows.
    """
    if (seconds := number(fields.retry_after)) is not None:
        return seconds
    until = instant(fields.retry_after)
    if until is None:
        return 0.0
    said = instant(fields.date)
    return max(0.0, until - (now if said is None else said))


def number(text: str) -> float | None:
    """Return the number of seconds that *text* is (RFC 9110, ``delay-seconds``), if it is one."""
    text = text.strip()
    return float(text) if _SECONDS.fullmatch(text) else None


def instant(text: str) -> float | None:
    """Return the time that *text* is (RFC 9110, ``HTTP-date``), if it is one."""
    try:
        return parsedate_to_datetime(text[:64]).timestamp()
    except (ValueError, OverflowError, TypeError, IndexError):
        return None
