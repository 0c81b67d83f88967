"""Names for rules that have none: a metric label that says what the rule is for."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from sidecar.config.model import Allow, Rule
from sidecar.config.values import RESERVED_LABEL

EVERYTHING: Final = Rule("everything", ("/**",), Allow.AUTHENTICATED)
"""The only rule where none is written: a valid token for every path."""


def named(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Return *rules*, each with a name of its own: ``GET /healthz``, then ``GET /healthz (2)``."""
    taken = {rule.name for rule in rules} | {RESERVED_LABEL}
    counts: dict[str, int] = {}
    result: list[Rule] = []
    for rule in rules:
        if rule.name:
            result.append(rule)
            continue
        wanted = _described(rule)
        name = wanted
        while name in taken:
            counts[wanted] = counts.get(wanted, 1) + 1
            name = f"{wanted} ({counts[wanted]})"
        taken.add(name)
        result.append(replace(rule, name=name))
    return tuple(result)


def _described(rule: Rule) -> str:
    words = f"{rule.methods[0]} {rule.paths[0]}" if rule.methods else rule.paths[0]
    return words if len(words) <= 120 else f"{words[:119]}…"
