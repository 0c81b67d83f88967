"""What a rule may ask of a token besides scopes and roles.

Conditions on single claims, on the segment of the path that names somebody, on the actor (RFC 8693,
section 4.1), and on how and when the subject was authenticated (RFC 9470). Each function returns
why the condition is not met. A detail names what was asked for and never the claim's value: it may
be anybody's address.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import unquote_to_bytes

from sidecar.core.claim_paths import ABSENT, ClaimPath, look_up, show_claim_path
from sidecar.core.encoding import printable
from sidecar.core.outcome import Denial, Reason

Claims: TypeAlias = Mapping[str, Any]
Scalar: TypeAlias = str | int | bool

MAX_CLOCK_DIFFERENCE_SECONDS: Final = 60.0
"""How far in the future ``auth_time`` may be; beyond it the claim says nothing."""
_MAX_SHOWN: Final = 200


@dataclass(frozen=True, slots=True)
class OneOf:
    """The claim is one of these values: of the same JSON type, and equal."""

    claim: ClaimPath
    values: tuple[Scalar, ...]

    def is_met(self, claims: Claims, _segments: list[bytes]) -> bool:
        found = look_up(claims, self.claim)
        return any(_same(found, value) for value in self.values)

    def __str__(self) -> str:
        listed = ", ".join(_shown(value) for value in self.values)
        of = f"be {listed}" if len(self.values) == 1 else f"be one of [{listed}]"
        return f"{printable(show_claim_path(self.claim))} to {of}"


@dataclass(frozen=True, slots=True)
class Contains:
    """The claim is a list that has all, or one, of these strings; a string is a list of one."""

    claim: ClaimPath
    values: frozenset[str]
    match: Literal["all", "any"] = "all"

    def is_met(self, claims: Claims, _segments: list[bytes]) -> bool:
        found = look_up(claims, self.claim)
        listed = [found] if isinstance(found, str) else found
        if not isinstance(listed, list):
            return False
        held = frozenset(each for each in listed if isinstance(each, str))
        return self.values <= held if self.match == "all" else not self.values.isdisjoint(held)

    def __str__(self) -> str:
        listed = ", ".join(_shown(value) for value in sorted(self.values))
        of = "all" if self.match == "all" else "one"
        return f"{printable(show_claim_path(self.claim))} to contain {of} of [{listed}]"


@dataclass(frozen=True, slots=True)
class SameAsSegment:
    """The claim is what a segment of the path says, octet by octet once that is decoded.

    Letters keep their case also where the rule's path matches in any.
    """

    claim: ClaimPath
    name: str
    index: int
    """Of the segment, from 0 for the first."""

    def is_met(self, claims: Claims, segments: list[bytes]) -> bool:
        found = look_up(claims, self.claim)
        if isinstance(found, int) and not isinstance(found, bool):
            found = str(found)
        if not isinstance(found, str) or not found or self.index >= len(segments):
            return False
        try:
            return unquote_to_bytes(segments[self.index]) == found.encode()
        except UnicodeEncodeError:  # half a surrogate pair, which no path can say
            return False

    def __str__(self) -> str:
        return f"{printable(show_claim_path(self.claim))} to be the path's {{{self.name}}}"


Condition: TypeAlias = OneOf | Contains | SameAsSegment


def refuse_claims(
    conditions: tuple[Condition, ...], claims: Claims, segments: list[bytes]
) -> Denial | None:
    """Say which of *conditions* the token does not meet; *segments* are those of the path."""
    for condition in conditions:
        if not condition.is_met(claims, segments):
            absent = look_up(claims, condition.claim) is ABSENT
            has = "has no such claim" if absent else "says otherwise"
            return Denial(Reason.CLAIM_CONDITION, f"the rule requires {condition}; the token {has}")
    return None


@dataclass(frozen=True, slots=True)
class Actors:
    """Who may use a token on its subject's behalf, by ``sub`` of ``act``; none: nobody else."""

    subjects: frozenset[str]

    def refuse(self, claims: Claims) -> Denial | None:
        """Say why the actor will not do. Only the outermost one counts (RFC 8693, 4.1)."""
        if "act" not in claims:
            if not self.subjects:
                return None
            return Denial(
                Reason.ACTOR_REFUSED,
                f"the rule takes tokens that {self._listed()} use for somebody;"
                " this one has no act",
            )
        if not self.subjects:
            return Denial(
                Reason.ACTOR_REFUSED, "the rule takes no token that is used for somebody else (act)"
            )
        actor = claims["act"]
        subject = actor.get("sub") if isinstance(actor, dict) else None
        if isinstance(subject, str) and subject in self.subjects:
            return None
        shown = printable(subject, _MAX_SHOWN) if isinstance(subject, str) else "nobody"
        return Denial(
            Reason.ACTOR_REFUSED,
            f"the rule takes tokens that {self._listed()} use for somebody; this one names {shown}"
            " (act.sub)",
        )

    def _listed(self) -> str:
        return printable(f"[{', '.join(sorted(self.subjects))}]", _MAX_SHOWN)


@dataclass(frozen=True, slots=True)
class Authentication:
    """How strongly (``acr``) and how recently (``auth_time``) the subject was authenticated."""

    acr: tuple[str, ...] = ()
    """One of these, in order of preference; empty: any or none."""
    max_age_seconds: int | None = None

    def refuse(self, claims: Claims, now: float) -> Denial | None:
        """Say what is not strong or not recent enough at *now*, in seconds since the epoch."""
        problem = self._weakness(claims) or self._age(claims, now)
        if problem is None:
            return None
        challenge: tuple[tuple[str, str], ...] = ()
        if self.acr:
            challenge += (("acr_values", " ".join(self.acr)),)
        if self.max_age_seconds is not None:
            challenge += (("max_age", str(self.max_age_seconds)),)
        return Denial(Reason.AUTHENTICATION_INSUFFICIENT, problem, challenge=challenge)

    def _weakness(self, claims: Claims) -> str | None:
        if not self.acr or claims.get("acr") in self.acr:
            return None
        found = claims.get("acr")
        shown = f"is {printable(found)}" if isinstance(found, str) else "is absent"
        return f"the rule requires acr to be one of [{', '.join(self.acr)}]; the token's {shown}"

    def _age(self, claims: Claims, now: float) -> str | None:
        most = self.max_age_seconds
        if most is None:
            return None
        at = claims.get("auth_time")
        if not isinstance(at, (int, float)) or isinstance(at, bool):
            return (
                f"the rule requires an authentication within {most} s; the token does not say when"
                " it was (auth_time)"
            )
        if -MAX_CLOCK_DIFFERENCE_SECONDS <= now - at <= most:
            return None
        if now < at:
            return "the token's auth_time is in the future; compare the clocks"
        return (
            f"the rule requires an authentication within {most} s; the token's was {now - at:.0f} s"
            " ago (auth_time)"
        )


def _same(found: object, value: Scalar) -> bool:
    # ``True == 1`` in Python, and not in JSON.
    if isinstance(found, bool) or isinstance(value, bool):
        return found is value
    if isinstance(value, str):
        return isinstance(found, str) and found == value
    return isinstance(found, (int, float)) and found == value


def _shown(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return printable(value) if isinstance(value, str) else str(value)
