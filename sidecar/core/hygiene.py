"""What is unwise about a token that is good: it lives long, is large, or says too much.

Owns the judgement, made once per token. Counting and warning belong to
``sidecar.telemetry.hygiene``; nothing is ever refused for it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

HygieneKind: TypeAlias = Literal["lifetime", "size", "claim"]


@dataclass(frozen=True, slots=True)
class HygieneLimits:
    """What an operator finds worth a warning; ``None`` or empty: not looked at."""

    max_lifetime_seconds: float | None = None
    """From ``iat`` (or ``nbf``) to ``exp``; a token without ``exp`` lives longer than any."""
    max_size_bytes: int | None = None
    unwanted_claims: frozenset[str] = frozenset()


def unclean(
    limits: HygieneLimits, claims: Mapping[str, Any], size_bytes: int
) -> Iterator[HygieneKind]:
    """Yield each kind of *limits* that the token with these checked *claims* exceeds."""
    longest = limits.max_lifetime_seconds
    if longest is not None:
        begins, ends = claims.get("iat", claims.get("nbf")), claims.get("exp")
        if ends is None or (begins is not None and ends - begins > longest):
            yield "lifetime"
    if limits.max_size_bytes is not None and size_bytes > limits.max_size_bytes:
        yield "size"
    if not limits.unwanted_claims.isdisjoint(claims):
        yield "claim"
