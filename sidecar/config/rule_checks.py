"""Rules held against each other and against the issuers: names, and rules that never match or help.

What is wrong with one rule by itself is reported where it is read.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from sidecar.config.model import Allow, Config, Require, Rule
from sidecar.config.problems import Findings, nearest, quoted
from sidecar.config.reading import Draft, Located
from sidecar.core.hosts import candidates
from sidecar.core.profiles import profile_of
from sidecar.core.routes import BELOW, RouteTree, pattern_of


def check_rules(rules: Sequence[Located[Rule]], findings: Findings) -> None:
    """Report names that are taken, and rules that never match."""
    _check_names(rules, findings)
    earlier = _Earlier()
    for index, located in enumerate(rules):
        first = earlier.taking(located.value)
        if first is not None:
            message = (
                f"never matches: what it is for is taken before it, first by {rules[first].path}"
            )
            findings.warn(located.place, located.path, message)
        earlier.add(index, located.value)


def _check_names(rules: Sequence[Located[Rule]], findings: Findings) -> None:
    seen: dict[str, Located[Rule]] = {}
    for located in rules:
        name = located.value.name
        if not name:
            continue
        earlier = seen.setdefault(name, located)
        if earlier is not located:
            message = f"is the name of {earlier.path} too"
            findings.error(located.place, f"{located.path}.name", message)


_EVERY: Final = ""
"""In place of a host or method."""


class _Earlier:
    """The rules that were looked at, and which of them takes all that a later one is for."""

    def __init__(self) -> None:
        self._trees: dict[tuple[bool, str, str], RouteTree] = {}

    def add(self, index: int, rule: Rule) -> None:
        folded = _is_folded(rule)
        for host in rule.hosts or (_EVERY,):
            for method in rule.methods or (_EVERY,):
                tree = self._trees.setdefault((folded, host, method), RouteTree())
                for path in rule.paths:
                    tree.insert(pattern_of(path, folded=folded), index)

    def taking(self, rule: Rule) -> int | None:
        """Return the first rule that takes something, if all of *rule* is taken."""
        first: int | None = None
        for path in rule.paths:
            for host in rule.hosts or (_EVERY,):
                for method in rule.methods or (_EVERY,):
                    found = min(self._covering(rule, path, host, method), default=None)
                    if found is None:
                        return None
                    first = found if first is None else min(first, found)
        return first

    def _covering(self, rule: Rule, path: str, host: str, method: str) -> Iterator[int]:
        hosts = (_EVERY, *(each.decode() for each in candidates(host.encode())))
        for of_host in dict.fromkeys(hosts):
            for of_method in dict.fromkeys((_EVERY, method)):
                tree = self._trees.get((True, of_host, of_method))
                if tree is not None:
                    yield from tree.covering(pattern_of(path, folded=True))
                tree = self._trees.get((False, of_host, of_method))
                if tree is None:
                    continue
                if not _is_folded(rule):
                    yield from tree.covering(pattern_of(path, folded=False))
                elif of_host == _EVERY:
                    # It matches letter by letter, so it leaves other spellings to the later one,
                    # unless it is for every path.
                    yield from tree.covering((BELOW,))


def _is_folded(rule: Rule) -> bool:
    return rule.access not in (Allow.ANYONE, Allow.OPTIONAL_TOKEN)


def check_issuer_names(draft: Draft, known: Collection[str], findings: Findings) -> None:
    """Report issuers that rules mention and that are not *known*."""
    for located in draft.issuer_names:
        if located.value not in known:
            message = f"{quoted(located.value)} is none of `issuers`"
            findings.error(located.place, located.path, message, nearest(located.value, known))


def check_client_names(draft: Draft, known: Collection[str], findings: Findings) -> None:
    """Report clients that destinations mention and that are not *known*."""
    for located in draft.client_names:
        if located.value not in known:
            message = f"{quoted(located.value)} is none of `clients`"
            findings.error(located.place, located.path, message, nearest(located.value, known))


def check_audiences(draft: Draft, config: Config, findings: Findings) -> None:
    """Report audiences of rules that the issuers' own lists leave out.

    Such a rule can still be met, by a token with several audiences.
    """
    for located in draft.rules:
        access = located.value.access
        if not isinstance(access, Require) or access.audiences is None:
            continue
        issuers = [config.issuers[name] for name in access.issuers or config.access_issuers]
        accepted: set[str] = set()
        for issuer in issuers:
            accepted.update(access.audiences if issuer.audiences is None else issuer.audiences)
        for audience in access.audiences:
            if audience not in accepted:
                message = (
                    f"the audience {quoted(audience)} is in no `audiences` of its issuers: only a "
                    "token that names it beside one of those will do"
                )
                findings.warn(located.place, f"{located.path}.require.audiences", message)


def check_client_roles(draft: Draft, config: Config, findings: Findings) -> None:
    """Report rules that nobody can meet, because no issuer's tokens have roles of clients."""
    if any(profile_of(each.profile).has_client_roles for each in config.issuers.values()):
        return
    for rule in draft.rules:
        if isinstance(rule.value.access, Require) and rule.value.access.client_roles:
            message = (
                "asks for `client_roles`, which only tokens of an issuer with `profile: keycloak` "
                "have, and there is none: every request will be refused"
            )
            findings.warn(rule.place, rule.path, message)
