"""Which rule a request falls under, and whether its caller meets what the rule requires.

Rules are compiled once into trees of path segments (``sidecar.core.routes``), one for each host
that rules name, so that finding the first match costs the same with one rule and with ten thousand.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from sidecar.core.attribution import CallTerms
from sidecar.core.conditions import Actors, Authentication, Condition, refuse_claims
from sidecar.core.encoding import printable
from sidecar.core.hosts import candidates, host_name
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import NO_NAMES, Principal
from sidecar.core.routes import MAX_SEGMENTS, Pattern, RouteTree, pattern_of, segments_of


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
    client_roles: tuple[tuple[str, Names], ...] = ()
    """Roles that must be held at each of these clients."""
    conditions: tuple[Condition, ...] = ()
    """What single claims must say; all of them."""
    actors: Actors | None = None
    authentication: Authentication | None = None


@dataclass(frozen=True, slots=True)
class PolicyRule:
    """One rule. *requirement* ``None`` means anyone: no token is looked at, unless *optional*."""

    name: str
    paths: tuple[str, ...]
    methods: frozenset[bytes] | None
    requirement: Requirement | None
    terms: CallTerms
    """For how long its requests may cause calls."""
    enforced: bool = True
    """False observes: a caller who lacks rights is counted and let through."""
    hosts: tuple[str, ...] | None = None
    """In lower case, ``*.`` for one label; ``None``: every host."""
    optional: bool = False
    """Anyone may call, and whoever sends a token sends a good one."""

    @property
    def looks_at_tokens(self) -> bool:
        return self.optional or self.requirement is not None

    @property
    def asks_for_time(self) -> bool:
        """Whether meeting it depends on the time of the request."""
        return self.requirement is not None and self.requirement.authentication is not None


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


class _Routes:
    """The patterns of rules for one host, or for every host."""

    __slots__ = ("exact", "folded")

    def __init__(self) -> None:
        self.exact: Final = RouteTree()
        """Of rules that let anyone in."""
        self.folded: Final = RouteTree()


class Policy:
    """The rules of one listener. First match wins; no match is no permit.

    A rule that requires something matches case-insensitively and ignores one trailing slash, and a
    trailing dot of the host, because an app may do either; a rule that lets anyone in matches
    exactly.
    """

    def __init__(self, rules: Iterable[PolicyRule]) -> None:
        self._rules = tuple(rules)
        self._everywhere = _Routes()
        self._by_host: dict[bytes, _Routes] = {}
        self._taken: dict[tuple[bytes, bool, Pattern], frozenset[bytes] | None] = {}
        for index, rule in enumerate(self._rules):
            for path in rule.paths:
                self._insert(index, rule, path)
        self._taken.clear()
        self.asks_for_host: Final = bool(self._by_host)
        """Whether the host of a request matters at all."""

    def match(self, method: bytes, path: bytes, host: bytes = b"") -> PolicyRule | None:
        """Return the first rule for *method*, the canonical *path* and *host*, as ``Host`` has it.

        A request without ``Host`` falls under the rules for every host only.
        """
        segments = segments_of(path, folded=False)
        if len(segments) > MAX_SEGMENTS:
            return None
        folded = segments_of(path, folded=True)
        found = self._everywhere.exact.matching(segments)
        found += self._everywhere.folded.matching(folded)
        if self._by_host and host:
            found += self._of_host(host_name(host), segments, folded)
        found.sort()
        for index in found:
            rule = self._rules[index]
            if rule.methods is None or method in rule.methods:
                return rule
        return None

    def _of_host(self, name: bytes, segments: list[bytes], folded: list[bytes]) -> list[int]:
        found: list[int] = []
        for pattern in candidates(name):
            routes = self._by_host.get(pattern)
            if routes is not None:
                found += routes.exact.matching(segments)
        for pattern in candidates(name[:-1] if name.endswith(b".") else name):
            routes = self._by_host.get(pattern)
            if routes is not None:
                found += routes.folded.matching(folded)
        return found

    def _insert(self, index: int, rule: PolicyRule, path: str) -> None:
        is_folded = rule.requirement is not None
        pattern = pattern_of(path, folded=is_folded)
        if rule.hosts is None:
            if not self._is_taken(rule, (b"", is_folded, pattern)):
                _insert_into(self._everywhere, is_folded, pattern, index)
            return
        for name in rule.hosts:
            host = name.encode()
            if not self._is_taken(rule, (host, is_folded, pattern)):
                routes = self._by_host.get(host)
                if routes is None:
                    routes = self._by_host[host] = _Routes()
                _insert_into(routes, is_folded, pattern, index)

    def _is_taken(self, rule: PolicyRule, place: tuple[bytes, bool, Pattern]) -> bool:
        """Whether earlier rules with the same pattern leave no method to *rule*.

        That keeps short what is looked at one by one.
        """
        taken = self._taken.get(place, _NO_METHODS)
        if taken is None or (rule.methods is not None and rule.methods <= taken):
            return True
        self._taken[place] = None if rule.methods is None else taken | rule.methods
        return False


_NO_METHODS: Final[frozenset[bytes]] = frozenset()


def _insert_into(routes: _Routes, is_folded: bool, pattern: Pattern, index: int) -> None:
    (routes.folded if is_folded else routes.exact).insert(pattern, index)


def authorize(
    rule: PolicyRule, principal: Principal | None, path: bytes = b"/", now: float = 0.0
) -> Permit | Denial:
    """Decide whether *principal* meets *rule* for the canonical *path*.

    *now* is in seconds since the epoch, and needed where the rule asks for it. A missing token is
    refused even by an observing rule: observing is for rights, not for identity.
    """
    requirement = rule.requirement
    if requirement is None:
        return Permit(rule, principal if rule.optional else None)
    if principal is None:
        return Denial(Reason.TOKEN_MISSING)
    unmet = _unmet(requirement, principal, path, now)
    if unmet is None or not rule.enforced:
        return Permit(rule, principal, unmet)
    return unmet


def _unmet(
    requirement: Requirement, principal: Principal, path: bytes, now: float
) -> Denial | None:
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
    if requirement.client_roles:
        denial = _missing_at_client(requirement, principal)
        if denial is not None:
            return denial
    if requirement.conditions:
        segments = segments_of(path, folded=False)
        denial = refuse_claims(requirement.conditions, principal.claims, segments)
        if denial is not None:
            return denial
    if requirement.actors is not None:
        denial = requirement.actors.refuse(principal.claims)
        if denial is not None:
            return denial
    # The last, because whoever lacks anything else would log in again for nothing.
    if requirement.authentication is not None:
        return requirement.authentication.refuse(principal.claims, now)
    return None


def _missing_at_client(requirement: Requirement, principal: Principal) -> Denial | None:
    for client, names in requirement.client_roles:
        held = principal.client_roles.get(client, NO_NAMES)
        if names.missing_from(held):
            return Denial(
                Reason.ROLE_MISSING,
                f"the rule requires {names} of the client {printable(client)}; the token has"
                f" {_listed(held)}",
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
