"""What was nearly right: the names, paths and claims that a refused request probably meant."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, Final

from sidecar.core.policy import Policy, PolicyRule, Requirement

_LONGEST_COMPARED: Final = 128
_MOST_COMPARED: Final = 200
_MOST_WALKED: Final = 4000
_DEEPEST: Final = 6
_ALIKE: Final = 0.75
_PREFIXES: Final = ("ROLE_", "SCOPE_", "role:", "scope:")


def near_name(wanted: str, found: Iterable[str]) -> str | None:
    """Return the one of *found* that was probably meant to be *wanted*."""
    names = sorted(found)[:_MOST_COMPARED]
    bare = _bare(wanted)
    for name in names:
        if _bare(name) == bare:
            return name
    if len(wanted) > _LONGEST_COMPARED:
        return None
    short = [name for name in names if len(name) <= _LONGEST_COMPARED]
    matches = get_close_matches(wanted, short, 1, _ALIKE)
    return matches[0] if matches else None


def _bare(name: str) -> str:
    """Return what is left of *name* without what families of issuers put around it."""
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    name = name.rstrip("/")
    for separator in "/:":
        # https://api.example/orders.read, api://1234/orders.read, urn:x:orders.read
        name = name.rpartition(separator)[2] or name
    return name.casefold()


def pairs(wanted: Iterable[str], found: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield what is wanted and missing, with what is there and nearly it."""
    held = set(found)
    for name in sorted(set(wanted) - held)[:_MOST_COMPARED]:
        if (near := near_name(name, held)) is not None:
            yield name, near


def elsewhere(name: str, claims: Mapping[str, Any]) -> str | None:
    """Return the dotted path of a claim that holds *name*, if one does."""
    left = [_MOST_WALKED]
    return _find(name, claims, (), left)


def _find(name: str, value: object, path: tuple[str, ...], left: list[int]) -> str | None:
    left[0] -= 1
    if left[0] < 0 or len(path) > _DEEPEST:
        return None
    match value:
        case str():
            held = value == name or name in value.split()
            return ".".join(path) if path and held else None
        case list():
            inside: Iterable[tuple[tuple[str, ...], object]] = ((path, each) for each in value)
        case dict():
            inside = (((*path, str(key)), each) for key, each in value.items())
        case _:
            return None
    for where, each in inside:
        if (found := _find(name, each, where, left)) is not None:
            return found
    return None


class NearRules:
    """Finds the rule that a request without one probably meant. Made when first asked."""

    def __init__(self, rules: Iterable[PolicyRule]) -> None:
        self._rules = tuple(rules)
        self._by_name = {rule.name: rule for rule in self._rules}
        self._lax: Policy | None = None
        self._any_method: Policy | None = None
        self._any_host: Policy | None = None

    def near(self, method: bytes, path: bytes, host: bytes) -> str:
        """Return one sentence, empty where nothing is near."""
        if self._lax is None or self._any_method is None or self._any_host is None:
            # A rule that requires something ignores case and one trailing slash.
            lax = [replace(rule, requirement=rule.requirement or Requirement())
                   for rule in self._rules]  # fmt: skip
            self._lax = Policy(lax)
            self._any_method = Policy([replace(rule, methods=None) for rule in lax])
            self._any_host = Policy([replace(rule, hosts=None) for rule in lax])
        if (rule := self._lax.match(method, path, host)) is not None:
            return (
                f"rule {rule.name} matches {_listed(rule.paths)} to the letter, because it lets "
                "anyone in: they differ in case, or in a slash at the end"
            )
        if (rule := self._any_method.match(method, path, host)) is not None:
            meant = self._by_name[rule.name].methods
            methods = sorted(each.decode("latin-1") for each in meant or ())
            return f"rule {rule.name} matches this path, for {_listed(methods)} alone"
        if (rule := self._any_host.match(method, path)) is not None:
            hosts = self._by_name[rule.name].hosts
            return f"rule {rule.name} matches this path, on {_listed(hosts or ())} alone"
        patterns = {path: rule for rule in self._rules[:_MOST_COMPARED] for path in rule.paths}
        text = path.decode("latin-1")
        if len(text) <= _LONGEST_COMPARED:
            for near in get_close_matches(text, patterns, 1, _ALIKE):
                return f"rule {patterns[near].name} is for the path {near}"
        return ""


def _listed(names: Iterable[str]) -> str:
    return ", ".join(list(names)[:8])
