"""Where in the claims something stands: ``realm_access.roles``, ``resource_access."my.app".roles``.

Owns the written form and the walk. What is found there, and whether it is of the right type,
belongs to whoever asked.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from sidecar.core.encoding import is_plain

ClaimPath: TypeAlias = tuple[str, ...]

MAX_DEPTH: Final = 8
"""Names in one path; real ones have three."""

ABSENT: Final = object()
"""In place of a value that the claims do not have."""

# A bare name may be any collision-resistant one (RFC 7519, 4.2) without a dot, a quote or a space.
_NAME: Final = re.compile(r'"((?:[^"\\]|\\["\\])+)"|([^\s."\\]+)')


def parse_claim_path(text: str) -> ClaimPath:
    """Return the names that *text* joins by dots; one that holds a dot stands in double quotes.

    Raises ``ValueError`` with words that follow the quoted text in a message.
    """
    names: list[str] = []
    at = 0
    while True:
        match = _NAME.match(text, at)
        if match is None:
            raise ValueError(_problem(text, at))
        names.append(re.sub(r"\\(.)", r"\1", match[1]) if match[1] else match[2])
        at = match.end()
        if at == len(text):
            break
        if text[at] != ".":
            raise ValueError('has something after a name that is no "."')
        at += 1
    if len(names) > MAX_DEPTH:
        raise ValueError(f"has more than {MAX_DEPTH} names")
    if not all(is_plain(name) for name in names):
        raise ValueError("holds control characters")
    return tuple(names)


def _problem(text: str, at: int) -> str:
    if at < len(text) and text[at] == '"':
        return "has a quoted name that is empty or does not end"
    return "has an empty name, or a space outside double quotes"


def show_claim_path(path: ClaimPath) -> str:
    """Return the written form of *path*."""
    return ".".join(
        name if re.fullmatch(r'[^\s."\\]+', name) else '"' + re.sub(r'(["\\])', r"\\\1", name) + '"'
        for name in path
    )


def look_up(claims: Mapping[str, Any], path: ClaimPath) -> Any:
    """Return what stands at *path*, ``ABSENT`` where one of its names is missing.

    A step through something that is no object gives ``None``, which is of no type that anybody
    asks for: what is malformed must not pass for what is absent.
    """
    value: Any = claims
    for name in path:
        if not isinstance(value, dict):
            return None
        value = value.get(name, ABSENT)
        if value is ABSENT:
            return ABSENT
    return value
