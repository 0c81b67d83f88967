"""Values as an operator reads them: lists, instants, spans of time, requirements of a rule."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sidecar.config.problems import printable
from sidecar.core.policy import PolicyRule, Requirement

_MOST_NAMES: Final = 12
_LONGEST: Final = 200


def shown(value: object) -> str:
    """Return *value*, which somebody else chose, as one short line."""
    text = printable(str(value))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def listed(names: Iterable[object]) -> str:
    """Return ``[a, b]``, bounded."""
    each = [shown(name) for name in names]
    more = f" and {len(each) - _MOST_NAMES} more" if len(each) > _MOST_NAMES else ""
    return f"[{', '.join(each[:_MOST_NAMES])}]{more}"


def instant(seconds: float) -> str:
    """Return RFC 3339 in UTC, with milliseconds; the number itself where no calendar has it."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + (
            f".{int(seconds * 1000) % 1000:03d}Z"
        )
    except (OverflowError, ValueError, OSError):
        return f"{seconds}"


def span(seconds: float) -> str:
    """Return a length of time in the two largest units that matter."""
    whole = round(abs(seconds))
    if whole < 120:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 120:
        return f"{minutes} min" + (f" {rest} s" if rest and minutes < 10 else "")
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def relative(at: float, now: float) -> str:
    """Say where *at* lies, seen from *now*."""
    return f"{span(at - now)} {'from then' if at > now else 'before'}"


def names_of(value: object) -> list[str]:
    """Return a claim that is a string or a list of strings as a list."""
    match value:
        case str():
            return [value]
        case list():
            return [each for each in value if isinstance(each, str)]
        case _:
            return []


def rule_words(rule: PolicyRule) -> str:
    """Return what *rule* matches."""
    methods = "every method" if rule.methods is None else ", ".join(
        sorted(shown(each.decode("latin-1")) for each in rule.methods)
    )  # fmt: skip
    hosts = f", hosts {listed(rule.hosts)}" if rule.hosts else ""
    return f"{rule.name}: {methods} on {', '.join(rule.paths[:_MOST_NAMES])}{hosts}"


def required(requirement: Requirement) -> str:
    """Return what *requirement* asks of a token, beside being good."""
    parts: list[str] = []
    if requirement.scopes is not None:
        parts.append(f"scopes: {requirement.scopes}")
    if requirement.roles is not None:
        parts.append(f"roles: {requirement.roles}")
    parts += [f"roles of the client {shown(client)}: {names}"
              for client, names in requirement.client_roles]  # fmt: skip
    if requirement.issuers is not None:
        parts.append(f"issuer: one of {listed(sorted(requirement.issuers))}")
    if requirement.audiences is not None:
        parts.append(f"audience: one of {listed(sorted(requirement.audiences))}")
    parts += [shown(condition) for condition in requirement.conditions]
    if requirement.actors is not None:
        subjects = requirement.actors.subjects
        parts.append(f"actor: one of {listed(sorted(subjects))}" if subjects else "no actor")
    if requirement.authentication is not None:
        acr, most = requirement.authentication.acr, requirement.authentication.max_age_seconds
        parts += [f"acr: one of {listed(acr)}"] if acr else []
        parts += [] if most is None else [f"authenticated within {span(most)}"]
    return "; ".join(parts) or "any token that is good"


def held(
    scopes: Iterable[str], roles: Iterable[str], client_roles: Mapping[str, Iterable[str]]
) -> str:
    """Return what a token grants."""
    parts = [f"scopes: {listed(sorted(scopes))}", f"roles: {listed(sorted(roles))}"]
    parts += [f"roles of the client {shown(client)}: {listed(sorted(names))}"
              for client, names in sorted(client_roles.items())[:_MOST_NAMES]]  # fmt: skip
    return "; ".join(parts)


def claim(claims: Mapping[str, Any], name: str) -> str:
    """Return one claim for showing, ``none`` where it is absent."""
    value = claims.get(name)
    if name not in claims:
        return "none"
    return listed(value) if isinstance(value, list) else shown(value)
