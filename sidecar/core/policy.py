"""Which rule a request falls under, and whether its caller meets what the rule requires.

Rules are compiled once into a tree of path segments, so that finding the first match costs the
same with one rule and with ten thousand.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from sidecar.core.attribution import CallTerms
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import Principal

MAX_SEGMENTS: Final = 128


@dataclass(frozen=True, slots=True)
class Names:
    """Scopes or roles that must be present: all of them, or at least one."""

    names: frozenset[str]
    match: Literal["all", "any"] = "all"

    def missing_from(self, held: frozenset[str]) -> bool:
        if self.match == "all":
            return not self.names <= held
        return not self.names & held

    def __str__(self) -> str:
        listed = ", ".join(sorted(self.names))
        return f"all of [{listed}]" if self.match == "all" else f"one of [{listed}]"


@dataclass(frozen=True, slots=True)
class Requirement:
    """What the caller of a rule must have; an empty one asks for any valid token."""

    scopes: Names | None = None
    roles: Names | None = None
    issuers: frozenset[str] | None = None
    """Names of the issuers whose tokens will do; ``None``: all that are trusted."""
    audiences: frozenset[str] | None = None
    """One of them must be in ``aud``, beside one that the issuer's own list accepts."""


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One rule. *requirement* ``None`` means anyone: no token is looked at."""

    name: str
    paths: tuple[str, ...]
    methods: frozenset[bytes] | None
    requirement: Requirement | None
    terms: CallTerms
    """For how long its requests may cause calls."""
    enforced: bool = True
    """False observes: a caller who lacks rights is counted and let through."""


@dataclass(init=False, slots=True)
class Permit:
    """Evidence that a request may be forwarded. *unmet* is a denial that is only observed."""

    rule: Final[PolicyRule]
    principal: Final[Principal | None]
    unmet: Final[Denial | None]

    def __init__(
        self, rule: PolicyRule, principal: Principal | None, unmet: Denial | None = None
    ) -> None:
        self.rule = rule
        self.principal = principal
        self.unmet = unmet


@dataclass(slots=True)
class _Node:
    children: dict[bytes, "_Node"] = field(default_factory=dict)
    wildcard: "_Node | None" = None
    here: list[int] = field(default_factory=list)
    """Rules whose pattern ends at this segment."""
    below: list[int] = field(default_factory=list)
    """Rules whose pattern is this prefix and ``**``."""


class Policy:
    """The rules of one listener. First match wins; no match is no permit.

    A rule that requires something matches case-insensitively and ignores one trailing slash,
    because an app may do either; a rule that lets anyone in matches exactly.
    """

    def __init__(self, rules: Iterable[PolicyRule]) -> None:
        self._rules = tuple(rules)
        self._exact = _Node()
        self._folded = _Node()
        for index, rule in enumerate(self._rules):
            for path in rule.paths:
                self._insert(index, rule, path)

    def match(self, method: bytes, path: bytes) -> PolicyRule | None:
        """Return the first rule for *method* and the canonical *path*."""
        segments = path[1:].split(b"/")
        if len(segments) > MAX_SEGMENTS:
            return None
        folded = path.lower()[1:].split(b"/")
        if len(folded) > 1 and folded[-1] == b"":
            folded.pop()
        candidates = [*_walk(self._exact, segments), *_walk(self._folded, folded)]
        for index in sorted(candidates):
            rule = self._rules[index]
            if rule.methods is None or method in rule.methods:
                return rule
        return None

    def _insert(self, index: int, rule: PolicyRule, path: str) -> None:
        if rule.requirement is None:
            node, segments = self._exact, path.encode()[1:].split(b"/")
        else:
            node, segments = self._folded, path.encode().lower()[1:].split(b"/")
            if len(segments) > 1 and segments[-1] == b"":
                segments.pop()
        for segment in segments:
            if segment == b"**":
                node.below.append(index)
                return
            if segment == b"*":
                node.wildcard = node.wildcard or _Node()
                node = node.wildcard
            else:
                node = node.children.setdefault(segment, _Node())
        node.here.append(index)


def _walk(root: _Node, segments: list[bytes]) -> Iterator[int]:
    """Give every rule whose pattern matches *segments*, following all branches at once."""
    nodes = [root]
    for segment in segments:
        following: list[_Node] = []
        for node in nodes:
            yield from node.below
            child = node.children.get(segment)
            if child is not None:
                following.append(child)
            if node.wildcard is not None and segment:
                following.append(node.wildcard)
        if not following:
            return
        nodes = following
    for node in nodes:
        yield from node.here
        yield from node.below


def authorize(rule: PolicyRule, principal: Principal | None) -> Permit | Denial:
    """Decide whether *principal* meets *rule*.

    A missing token is refused even by an observing rule: observing is for rights, not for
    identity.
    """
    requirement = rule.requirement
    if requirement is None:
        return Permit(rule, None)
    if principal is None:
        return Denial(Reason.TOKEN_MISSING)
    unmet = _unmet(requirement, principal)
    if unmet is None or not rule.enforced:
        return Permit(rule, principal, unmet)
    return unmet


def _unmet(requirement: Requirement, principal: Principal) -> Denial | None:
    scopes, roles = requirement.scopes, requirement.roles
    issuers, audiences = requirement.issuers, requirement.audiences
    if issuers is not None and principal.issuer_name not in issuers:
        return Denial(
            Reason.ISSUER_MISMATCH,
            f"the rule takes tokens of {_listed(issuers)}; this one is of {principal.issuer_name}",
        )
    if audiences is not None and audiences.isdisjoint(_audiences_of(principal)):
        return Denial(
            Reason.AUDIENCE_MISMATCH,
            f"the rule takes tokens for {_listed(audiences)}; this one is for "
            f"{_listed(_audiences_of(principal))}",
        )
    if scopes is not None and scopes.missing_from(principal.scopes):
        return Denial(
            Reason.SCOPE_MISSING,
            f"the rule requires {scopes}; the token has {_listed(principal.scopes)}",
            scope=" ".join(sorted(scopes.names)),
        )
    if roles is not None and roles.missing_from(principal.roles):
        return Denial(
            Reason.ROLE_MISSING,
            f"the rule requires {roles}; the token has {_listed(principal.roles)}",
        )
    return None


def _audiences_of(principal: Principal) -> frozenset[str]:
    """Return ``aud``, which was read before and is a string or a list of strings, if anything."""
    audience = principal.claims.get("aud", ())
    return frozenset((audience,) if isinstance(audience, str) else audience)


def _listed(names: frozenset[str]) -> str:
    shown = sorted(names)[:10]
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    text = ", ".join(shown).encode("ascii", "backslashreplace").decode("ascii")
    return f"[{text[:200]}]{more}"
