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
from sidecar.core.paths import PathOptions, canonical
from sidecar.core.principal import Credential
from sidecar.core.routes import MAX_SEGMENTS, RouteTree, pattern_of, segments_of

MAX_REMEMBERED_PATHS: Final = 1024
MAX_REMEMBERED_BYTES: Final = 256
"""Longer ones are looked up each time."""
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

    def refused(self, token: ObtainedToken, subject: Credential | None) -> None:
        """The destination did not take *token*: it is not to be given again."""
        ...


class TokenChoice:
    """What the calls to one part of a destination get."""

    __slots__ = ("audiences", "for_caller", "kind", "own", "rules", "source")

    def __init__(
        self,
        rules: DestinationRules,
        kind: str,
        *,
        source: Source | None = None,
        for_caller: bool = True,
        own: Source | None = None,
        audiences: frozenset[str] = frozenset(),
    ) -> None:
        """*source* has the tokens of calls with a caller: of each its own, or all the same where
        it is not *for_caller*. ``None``: they get what the caller sent. *own* has the token of
        calls that nobody caused. *audiences* are what a caller's token should be for.
        """
        self.rules = rules
        self.kind = kind
        """As configured: what a record of the call says."""
        self.source = source
        self.for_caller = for_caller
        self.own = own
        self.audiences = audiences

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
    """The parts of one destination: the first that matches, or the rest."""

    __slots__ = ("_choices", "_found", "_methods", "_tree", "rest")

    def __init__(
        self,
        rest: TokenChoice,
        parts: Sequence[tuple[tuple[str, ...], frozenset[bytes] | None, TokenChoice]] = (),
    ) -> None:
        """*parts* are path patterns, methods (``None``: all) and what they get, in their order."""
        self.rest = rest
        self._tree = RouteTree()
        self._methods = [methods for _, methods, _ in parts]
        self._choices = [choice for _, _, choice in parts]
        self._found: dict[tuple[bytes, bytes], TokenChoice] = {}
        for number, (paths, _, _) in enumerate(parts):
            for path in paths:
                self._tree.insert(pattern_of(path, folded=True), number)

    def find(self, method: bytes, target: bytes) -> TokenChoice | Denial:
        """Return what a call gets, or why nobody can tell: its path has two readings."""
        if not self._choices:
            return self.rest
        raw_path = target.partition(b"?")[0]
        key = (method, raw_path)
        found = self._found.get(key)
        if found is not None:
            return found
        path = raw_path if raw_path == b"*" else canonical(raw_path, _STRICT)
        if isinstance(path, Denial):
            return path
        found = self._match(method, path)
        if len(method) + len(raw_path) <= MAX_REMEMBERED_BYTES:
            if len(self._found) >= MAX_REMEMBERED_PATHS:
                self._found.clear()
            self._found[key] = found
        return found

    def _match(self, method: bytes, path: bytes) -> TokenChoice:
        # A server may take paths in any case, and with a slash at the end or without.
        segments = segments_of(path, folded=True)
        if len(segments) <= MAX_SEGMENTS:
            for number in sorted(self._tree.matching(segments)):
                methods = self._methods[number]
                if methods is None or method in methods:
                    return self._choices[number]
        return self.rest


_STRICT: Final = PathOptions()

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
