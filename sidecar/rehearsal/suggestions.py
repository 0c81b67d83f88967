"""Evidence as a change to the configuration's own text, with its comments where they were.

Only what leaves every recorded call as it was and lets nobody in who was out: names of which a rule
asks for one and that no permit depended on, and rules that need not observe any more.
"""

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from sidecar.config.merge import merge
from sidecar.config.parser import parse
from sidecar.config.positions import MappingNode, compose
from sidecar.config.problems import Findings
from sidecar.rehearsal.evidence import Evidence, RuleEvidence, Where

FEW_CALLS: Final = 1_000
SHORT_SECONDS: Final = 7 * 86_400
"""Less than this is little evidence: a week has its Mondays and its batch jobs."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One change. *why* is one line."""

    rule: str
    why: str
    where: Where = ()
    unused: tuple[str, ...] = ()
    """Names to remove at *where*; none: enforce the rule."""


@dataclass(frozen=True, slots=True)
class _Edit:
    start: int
    end: int
    text: str


def suggestions(evidence: Evidence) -> Iterator[Suggestion]:
    """Yield what *evidence* speaks for."""
    for name, rule in evidence.rules.items():
        if rule.undecidable:
            continue
        for alternatives in rule.alternatives:
            if unused := alternatives.unused():
                what = f"{' '.join(alternatives.where)} {', '.join(unused)}"
                why = f"{what}: no permit of {rule.permitted} depended on it"
                yield Suggestion(name, why, alternatives.where, unused)
        if rule.rule.mode == "observe" and rule.calls and not rule.observed.total:
            yield Suggestion(name, f"observe: enforcing would refuse none of {rule.calls} calls")


def little(evidence: Evidence) -> str:
    """Say why *evidence* is little; empty where it is not."""
    few = evidence.counts.records < FEW_CALLS
    short = evidence.counts.seconds < SHORT_SECONDS
    if not few and not short:
        return ""
    days = evidence.counts.seconds / 86_400
    return f"{evidence.counts.records} calls in {days:.1f} days is little evidence"


def diff(
    texts: Mapping[str, str],
    evidence: Evidence,
    found: tuple[Suggestion, ...],
    environ: Mapping[str, str],
) -> str:
    """Return the suggestions *found* as a unified diff of the files in *texts*, by path.

    Empty where there is nothing to change, or the changed text would not be accepted.
    """
    changed = {path: _edited(text, evidence, found) for path, text in texts.items()}
    if changed == dict(texts) or not _is_accepted(changed, environ):
        return ""
    parts: list[str] = []
    for path, text in texts.items():
        before, after = (each.splitlines(keepends=True) for each in (text, changed[path]))
        parts += (
            line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
            for line in difflib.unified_diff(before, after, path, path)
        )
    return "".join(parts)


def _is_accepted(texts: Mapping[str, str], environ: Mapping[str, str]) -> bool:
    findings = Findings(list(texts))
    root: MappingNode | None = None
    for path, text in texts.items():
        tree = compose(text, path, findings)
        if not isinstance(tree, MappingNode):
            return False
        root = tree if root is None else merge(root, tree, findings)
    return root is not None and parse(root, findings, environ) is not None


def _edited(text: str, evidence: Evidence, found: tuple[Suggestion, ...]) -> str:
    nodes = _rule_nodes(text)
    edits: list[_Edit] = []
    for suggestion in found:
        index = list(evidence.rules).index(suggestion.rule)
        if index < len(nodes):
            edits += _edits(text, nodes[index], suggestion, evidence.rules[suggestion.rule])
    for edit in sorted(edits, key=lambda edit: -edit.start):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _edits(text: str, rule: Any, suggestion: Suggestion, evidence: RuleEvidence) -> Iterator[_Edit]:
    if not suggestion.unused:
        mode = _value(rule, "mode")
        if mode is not None and evidence.rule.mode == "observe":
            yield _Edit(mode.start_mark.index, mode.end_mark.index, "enforce")
        return
    listed = _value(rule, "require", *suggestion.where, "any")
    if not isinstance(listed, yaml.SequenceNode):
        return
    kept = [item for item in listed.value if item.value not in suggestion.unused]
    if listed.flow_style:
        for item in listed.value:
            if item.value in suggestion.unused:
                yield _without(text, item, is_first=item is listed.value[0], has_kept=bool(kept))
        return
    for item in listed.value:
        if item.value in suggestion.unused:
            start = text.rfind("\n", 0, item.start_mark.index) + 1
            end = text.find("\n", item.end_mark.index)
            yield _Edit(start, len(text) if end < 0 else end + 1, "")


def _without(text: str, item: Any, *, is_first: bool, has_kept: bool) -> _Edit:
    """Remove *item* of a list in brackets with the comma before it, or the one after the first."""
    start, end = item.start_mark.index, item.end_mark.index
    if not is_first:
        return _Edit(text.rindex(",", 0, start), end, "")
    comma = text.index(",", end) + 1 if has_kept else end
    while comma < len(text) and text[comma] == " ":
        comma += 1
    return _Edit(start, comma, "")


def _rule_nodes(text: str) -> list[Any]:
    # The loader in Python: that of libyaml counts bytes where we need characters.
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    listed = _value(root, "inbound", "rules")
    return list(listed.value) if isinstance(listed, yaml.SequenceNode) else []


def _value(node: Any, *keys: str) -> Any:
    for key in keys:
        if not isinstance(node, yaml.MappingNode):
            return None
        node = next((value for name, value in node.value if name.value == key), None)
    return node
