"""Which token a call to a destination gets, by method and path, and where that token comes from.

Whose call it is has been found before, and does not depend on it. Obtaining and keeping tokens
belongs to ``sidecar.credentials``.
"""

from collections.abc import Awaitable, Sequence
from math import ceil
from typing import Final, Protocol

from sidecar.core.attachment import DestinationRules
from sidecar.core.obtained import Failure, ObtainedToken
from sidecar.core.outcome import Denial, Reason
from sidecar.core.parts import REST, Parts
from sidecar.core.principal import Credential

MAX_RETRY_AFTER_SECONDS: Final = 3600


class Obtaining(Protocol):
    """A token that is being obtained, for everybody who waits for it."""

    @property
    def outcome(self) -> ObtainedToken | Failure: ...
    def settled(self) -> Awaitable[None]: ...


class Source(Protocol):
    """Where the tokens of one destination come from, other than from callers."""

    def get(self, subject: Credential | None) -> ObtainedToken | Failure | Obtaining:
        """Return the token for *subject*, or for the service itself where that is ``None``."""
        ...

    def still_good(self, token: ObtainedToken) -> bool:
        """Whether *token* may be sent at this moment."""
        ...

    def refused(self, token: ObtainedToken, subject: Credential | None) -> bool:
        """The destination did not take *token*: forget it, and say whether another may come."""
        ...


class TokenChoice:
    """What the calls to one part of a destination get."""

    __slots__ = (
        "asked_for",
        "audiences",
        "for_caller",
        "kind",
        "own",
        "own_kind",
        "rules",
        "source",
    )

    def __init__(
        self,
        rules: DestinationRules,
        kind: str,
        *,
        source: Source | None = None,
        for_caller: bool = True,
        own: Source | None = None,
        own_kind: str = "",
        audiences: frozenset[str] = frozenset(),
        asked_for: str = "",
    ) -> None:
        """*source* has the tokens of calls with a caller: of each its own, or all the same where
        it is not *for_caller*. ``None``: they get what the caller sent. *own* has the token of
        calls that nobody caused. *audiences* are what a caller's token should be for, *asked_for*
        is for whom one is obtained.
        """
        self.rules = rules
        self.kind = kind
        """As configured: what a record of the call says."""
        self.source = source
        self.for_caller = for_caller
        self.own = own
        self.own_kind = own_kind
        self.audiences = audiences
        self.asked_for = asked_for

    def leaves_audience(self, credential: Credential) -> bool:
        """Whether the destination is nobody the caller's token is for (RFC 9700, section 2.3)."""
        if not self.audiences:
            return False
        named = credential.principal.claims.get("aud")
        if isinstance(named, str):
            return named not in self.audiences
        if isinstance(named, list):
            return self.audiences.isdisjoint([each for each in named if isinstance(each, str)])
        return True


class TokenChoices:
    """What each part of one destination gets."""

    __slots__ = ("_choices", "_parts", "rest")

    def __init__(
        self,
        rest: TokenChoice,
        parts: Sequence[tuple[tuple[str, ...], frozenset[bytes] | None, TokenChoice]] = (),
    ) -> None:
        """*parts* are path patterns, methods (``None``: all) and what they get, in their order."""
        self.rest = rest
        self._parts = Parts([(paths, methods) for paths, methods, _ in parts])
        self._choices = [choice for _, _, choice in parts]

    def find(self, method: bytes, target: bytes) -> TokenChoice | Denial:
        """Return what a call gets, or why nobody can tell: its path has two readings."""
        if not self._choices:
            return self.rest
        number = self._parts.find(method, target)
        if isinstance(number, Denial):
            return number
        return self.rest if number == REST else self._choices[number]


_REASONS: Final = {
    "unavailable": Reason.EXCHANGE_UNAVAILABLE,
    "limited": Reason.EXCHANGE_UNAVAILABLE,
    "circuit_open": Reason.EXCHANGE_UNAVAILABLE,
    "misconfigured": Reason.EXCHANGE_MISCONFIGURED,
    "refused": Reason.EXCHANGE_REFUSED,
    "invalid_answer": Reason.EXCHANGE_INVALID,
    "subject_expired": Reason.TOKEN_EXPIRED,
}


def denial_of(failure: Failure) -> Denial:
    """Return the refusal for a call whose token could not be obtained."""
    retry_after: int | None = None
    if failure.retry_after_seconds is not None:
        retry_after = min(max(1, ceil(failure.retry_after_seconds)), MAX_RETRY_AFTER_SECONDS)
    return Denial(_REASONS[failure.kind], failure.detail, retry_after_seconds=retry_after)
