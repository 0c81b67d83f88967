"""Who uses a token for its subject: the chain of ``act`` (RFC 8693, section 4.1), for records.

Only the outermost actor may be asked for in decisions; the others are what led to it.
"""

from collections.abc import Mapping
from typing import Any, Final

MAX_ACTORS: Final = 8
"""Of a chain; what is deeper is left out."""
MAX_ACTOR_LENGTH: Final = 256
"""Characters of one; longer ones are cut and end in an ellipsis."""


def actor_chain(claims: Mapping[str, Any]) -> tuple[str, ...]:
    """Return ``sub`` of each actor, the outermost first; empty for one without a name."""
    chain: list[str] = []
    while "act" in claims and len(chain) < MAX_ACTORS:
        actor = claims["act"]
        if not isinstance(actor, dict):
            chain.append("")
            break
        subject = actor.get("sub")
        chain.append(_shortened(subject) if isinstance(subject, str) else "")
        claims = actor
    return tuple(chain)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_ACTOR_LENGTH else text[: MAX_ACTOR_LENGTH - 1] + "…"
