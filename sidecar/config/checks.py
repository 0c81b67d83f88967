"""What only shows when parts that stand far apart are compared.

Works on the draft that the sections leave behind, so that it also runs where something
else is wrong. What concerns one section alone is checked by that section.
"""

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from sidecar.config import endpoints
from sidecar.config.model import Address, Allow, Config, Introspection, Require, Rule
from sidecar.config.problems import Findings, Place, nearest, quoted
from sidecar.config.reach import best_assurance
from sidecar.config.reading import Draft, Located

MAX_ROUTE_LABELS: Final = 200
"""Values of the metrics' ``route`` label; the routes over it share one."""


def check(draft: Draft, findings: Findings) -> None:
    """Report every conflict between the parts in *draft*."""
    _check_listeners(draft.listeners, findings)
    _check_app(draft, findings)
    _check_issuers(draft.issuer_urls, findings)
    _check_introspecting(draft.introspecting, findings)
    _check_rule_names(draft.rules, findings)
    _check_shadowing(draft.rules, findings)
    for what, located in (("rules", draft.rules), ("destinations", draft.destinations)):
        if len(located) > MAX_ROUTE_LABELS:
            first = located[MAX_ROUTE_LABELS]
            message = (
                f"is past the first {MAX_ROUTE_LABELS} {what}, which have metric labels of their "
                "own; the others share the label `other`"
            )
            findings.warn(first.place, first.path, message)


def check_tokens_can_exist(draft: Draft, place: Place, findings: Findings) -> None:
    """Report rules that ask for a token where no issuer could have signed one."""
    if any(rule.value.access is not Allow.ANYONE for rule in draft.rules):
        message = "no issuer is configured, but a rule asks for a token"
        findings.error(place, "issuers", message)


def check_issuer_names(draft: Draft, known: Collection[str], findings: Findings) -> None:
    """Report issuers that rules mention and that are not *known*."""
    for located in draft.issuer_names:
        if located.value not in known:
            message = f"{quoted(located.value)} is none of `issuers`"
            findings.error(located.place, located.path, message, nearest(located.value, known))


def check_audiences(draft: Draft, config: Config, findings: Findings) -> None:
    """Report audiences of rules that the issuers' own lists leave out.

    Such a rule can still be met, by a token with several audiences.
    """
    for located in draft.rules:
        access = located.value.access
        if not isinstance(access, Require) or access.audiences is None:
            continue
        issuers = [config.issuers[name] for name in access.issuers or config.issuers]
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


def check_attribution(draft: Draft, config: Config, findings: Findings) -> None:
    """Report requests that linger beside others' turns, and assurance that no call can reach."""
    if config.attribution.exclusive != "off":
        for rule in draft.rules:
            if rule.value.linger_seconds:
                message = (
                    "`linger` and `attribution.exclusive` exclude each other: what lingers is in "
                    "the app during the next caller's turn"
                )
                findings.error(rule.place, rule.path, message)
    best = _RANKS[best_assurance(config)]
    for located in draft.destinations:
        if located.value.token == "relay" and _RANKS[located.value.min_assurance] > best:  # noqa: S105
            message = (
                f"`min_assurance: {located.value.min_assurance}` is out of reach with "
                f"`attribution.carrier: {config.attribution.carrier}`: every call will be refused"
            )
            findings.warn(located.place, located.path, message)


_RANKS: Final = {"compat": 1, "standard": 2, "strict": 3}


def _check_listeners(listeners: Sequence[Located[Address]], findings: Findings) -> None:
    taken: dict[tuple[int, int, str | None], Located[Address]] = {}
    for located in listeners:
        if located.value.port == 0:
            continue
        clash = next(filter(None, (taken.get(key) for key in _rivals(located.value))), None)
        if clash is not None:
            message = f"is taken: {clash.path} at {clash.place} listens there"
            findings.error(located.place, located.path, message)
        for version, host in endpoints.interfaces(located.value.host):
            for key in ((located.value.port, version, host), (located.value.port, version, None)):
                taken.setdefault(key, located)


def _rivals(address: Address) -> Iterator[tuple[int, int, str | None]]:
    """Yield port, IP version and host of what cannot be bound besides; no host stands for any."""
    for version, host in endpoints.interfaces(address.host):
        wildcard = endpoints.WILDCARDS[version]
        yield address.port, version, None if host == wildcard else host
        yield address.port, version, wildcard


def _check_app(draft: Draft, findings: Findings) -> None:
    if draft.app is None:
        return
    for listener in draft.listeners:
        if endpoints.overlap(draft.app.value.address, listener.value):
            message = f"is where the sidecar itself listens: {listener.path} at {listener.place}"
            findings.error(draft.app.place, draft.app.path, message)


def _check_issuers(urls: Sequence[Located[str]], findings: Findings) -> None:
    seen: dict[str, Located[str]] = {}
    for located in urls:
        earlier = seen.setdefault(located.value, located)
        if earlier is not located:
            message = f"is the same issuer as {earlier.path} at {earlier.place}"
            findings.error(located.place, located.path, message)


def _check_introspecting(found: Sequence[Located[Introspection]], findings: Findings) -> None:
    for located in found[1:]:
        message = (
            f"asks about opaque tokens, as {found[0].path} at {found[0].place} does, and such a "
            "token does not say whose it is; write `for: jwt` in all but one"
        )
        findings.error(located.place, located.path, message)


def _check_rule_names(rules: Sequence[Located[Rule]], findings: Findings) -> None:
    seen: dict[str, Located[Rule]] = {}
    for located in rules:
        name = located.value.name
        if not name:
            continue
        earlier = seen.setdefault(name, located)
        if earlier is not located:
            message = f"is the name of {earlier.path} too"
            findings.error(located.place, f"{located.path}.name", message)


def _check_shadowing(rules: Sequence[Located[Rule]], findings: Findings) -> None:
    seen: dict[tuple[bool, str, str | None], str] = {}
    for located in rules:
        rule = located.value
        earlier = _shadowing(rule, seen)
        if earlier is not None:
            message = f"never matches: what it is for is taken before it, first by {earlier}"
            findings.warn(located.place, located.path, message)
        is_exact = rule.access is Allow.ANYONE
        for path in rule.paths:
            for method in rule.methods or (None,):
                seen.setdefault((is_exact, _normal(path, is_exact=is_exact), method), located.path)


def _shadowing(rule: Rule, seen: dict[tuple[bool, str, str | None], str]) -> str | None:
    """Return the path of an earlier rule, if each path and method has one that takes it."""
    found: str | None = None
    for path in rule.paths:
        for method in rule.methods or (None,):
            name = _taken(path, method, seen, is_exact=rule.access is Allow.ANYONE)
            if name is None:
                return None
            found = found or name
    return found


def _taken(
    path: str,
    method: str | None,
    seen: dict[tuple[bool, str, str | None], str],
    *,
    is_exact: bool,
) -> str | None:
    for wanted in dict.fromkeys((method, None)):
        for covering in _covering(_normal(path, is_exact=False)):
            if (name := seen.get((False, covering, wanted))) is not None:
                return name
        # A rule for anyone matches letter by letter, so it leaves other spellings to the later.
        for covering in _covering(path) if is_exact else ("/**",):
            if (name := seen.get((True, covering, wanted))) is not None:
                return name
    return None


def _covering(path: str) -> Iterator[str]:
    """Yield *path* and each ``/**`` pattern above it."""
    yield path
    parts = path.removesuffix("/**").split("/")
    for count in range(len(parts), 0, -1):
        yield "/".join(parts[:count]) + "/**"


def _normal(path: str, *, is_exact: bool) -> str:
    if is_exact:
        return path
    folded = path.lower()
    return folded[:-1] if folded.endswith("/") and folded != "/" else folded
