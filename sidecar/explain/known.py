"""What is known besides a decision when it is explained: configuration, keys, clocks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sidecar.config.model import Config
from sidecar.core.claims import IssuerPolicy
from sidecar.core.policy import PolicyRule
from sidecar.explain.near import NearRules
from sidecar.explain.redaction import Redactor
from sidecar.explain.words import span
from sidecar.issuers.keys import IssuerKeys


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFacts:
    """One issuer's keys as they are now."""

    state: str
    kids: tuple[str | None, ...] = ()
    age_seconds: float | None = None
    """Since they were fetched; ``None``: there are none."""
    last_error: str = ""
    clock_offset_seconds: float | None = None
    """How far the issuer's clock was ahead of ours."""
    clock_compared_seconds: float = 0.0
    """How long ago that was."""
    clock_bound_seconds: float = 0.0

    @property
    def age(self) -> str:
        """Say how old the key set is."""
        if self.age_seconds is None:
            return f"there are no keys ({self.state})"
        return f"the key set is {span(self.age_seconds)} old ({self.state})"

    @property
    def clock(self) -> str:
        """Say what is known of the issuer's clock; empty if nothing is."""
        offset = self.clock_offset_seconds
        if offset is None:
            return ""
        way = "ahead of" if offset > 0 else "behind"
        where = (
            "agreed with ours"
            if abs(offset) <= self.clock_bound_seconds
            else f"was {span(offset)} {way} ours"
        )
        return (
            f"the issuer's clock {where} to within {self.clock_bound_seconds:.1f} s, "
            f"{span(self.clock_compared_seconds)} ago"
        )


def key_facts(keys: IssuerKeys, now: float) -> KeyFacts:
    """Return what *keys* say of themselves at *now*."""
    fetched_at, compared_at = keys.fetched_at, keys.clock_compared_at
    return KeyFacts(
        state=keys.state,
        kids=tuple(key.kid for key in keys.keys),
        age_seconds=None if fetched_at is None else max(0.0, now - fetched_at),
        last_error=keys.last_error,
        clock_offset_seconds=keys.clock_offset_seconds,
        clock_compared_seconds=0.0 if compared_at is None else max(0.0, now - compared_at),
        clock_bound_seconds=keys.clock_bound_seconds,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """Everything that the steps are looked up in."""

    config: Config
    rules: tuple[PolicyRule, ...]
    near_rules: NearRules
    issuers: Mapping[str, IssuerPolicy]
    """By ``iss``."""
    keys: Callable[[str], KeyFacts | None]
    """By the issuer's name in the configuration."""
    redactor: Redactor
    cause: Callable[[str], str]
    """What is known of the inbound request with this decision id."""
    ledger: str = ""
    """How full the ledger is now."""
