"""Alerts and dashboard ask for metrics and labels that exist."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
import yaml

from sidecar.core.outcome import REASONS_BY_CODE
from sidecar.kubernetes.admission import RESULTS
from sidecar.telemetry import token_endpoint, token_exchanges
from sidecar.telemetry.catalogue import CATALOGUE
from sidecar.telemetry.introspection import CIRCUIT_STATES
from sidecar.telemetry.metrics import ISSUER_STATES
from tests.monitoring.elsewhere import ELSEWHERE
from tests.monitoring.generate import DASHBOARD, RULES, dashboard

OF_OTHERS = {
    "up": set[str](),
    "process_start_time_seconds": set[str](),
    "process_cpu_seconds_total": set[str](),
    "process_resident_memory_bytes": set[str](),
    "process_open_fds": set[str](),
    "kube_networkpolicy_created": {"networkpolicy"},
}
"""Of Prometheus, of its client library, and of kube-state-metrics."""
OF_THE_TARGET = {"job", "namespace", "pod"}
_SELECTOR = re.compile(r"\b(up|(?:sidecar|process|kube)_[a-z_]+)\b(?:\{([^}]*)\})?")
KNOWN_VALUES = {
    "reason": set(REASONS_BY_CODE),
    "outcome": set(REASONS_BY_CODE),
    "state": {*ISSUER_STATES, *CIRCUIT_STATES},
    "result": {
        *RESULTS,
        "hit",
        *get_args(token_endpoint.Result),
        *get_args(token_exchanges.Result),
    },
    "direction": {"inbound", "outbound"},
    "enforced": {"true", "false"},
}
_VALUES = re.compile(rf'\b({"|".join(KNOWN_VALUES)})\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
_LABEL = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPED = re.compile(r"\b(?:by|on|group_left)\s*\(([^)]*)\)")


def families() -> dict[str, set[str]]:
    ours = (*ELSEWHERE, *CATALOGUE)
    known = {family.name: set(family.labels) for family in ours}
    for family in ours:
        if family.kind == "histogram":
            known[f"{family.name}_bucket"] = {*family.labels, "le"}
    return {**known, **OF_OTHERS}


def expressions() -> Iterator[tuple[str, str]]:
    for group in yaml.safe_load(RULES.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    yield from queries()


def queries() -> Iterator[tuple[str, str]]:
    """Yield the panel's title and the expression of every query of the dashboard."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", target["expr"]


def selected(expr: str) -> dict[str, set[str]]:
    """Return the metrics that *expr* names, with the labels it asks each for."""
    found: dict[str, set[str]] = {}
    for name, inside in _SELECTOR.findall(_GROUPED.sub("", expr)):
        found.setdefault(name, set()).update(_LABEL.findall(inside))
    return found


@pytest.mark.parametrize(("where", "expr"), list(expressions()))
def test_metrics_and_labels_exist(where: str, expr: str) -> None:
    """As the catalogue has them, or another program that everybody runs."""
    known = families()
    named = selected(expr)
    assert named, f"{where}: no metric found in {expr}"
    assert named.keys() <= known.keys(), where
    for name, labels in named.items():
        assert labels <= known[name] | OF_THE_TARGET, (where, name)
    grouped = {
        label.strip() for group in _GROUPED.findall(expr) for label in group.split(",") if label
    }
    # Whatever is left after an operator is in one of its operands.
    assert grouped <= OF_THE_TARGET.union(*(known[name] for name in named)), where


@pytest.mark.parametrize(("where", "expr"), list(expressions()))
def test_values_of_labels_exist(where: str, expr: str) -> None:
    """A reason, state, result or direction that is asked for by name is one that is counted."""
    for label, written in _VALUES.findall(expr):
        for value in written.split("|"):
            assert any(re.fullmatch(value, each) for each in KNOWN_VALUES[label]), (where, value)


def test_the_dashboard_is_the_one_of_the_panels() -> None:
    """If not: ``python -m tests.monitoring.generate``."""
    assert DASHBOARD.read_text() == dashboard()


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    """Ids and places are different, every query goes through the variables."""
    board: dict[str, Any] = json.loads(DASHBOARD.read_text())
    assert board["uid"]
    assert board["schemaVersion"] >= 36
    assert "id" not in board  # it is given by the Grafana that imports it
    names = [variable["name"] for variable in board["templating"]["list"]]
    assert names == ["datasource", "namespace", "pod"]
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            ours = "injector" not in target["expr"]
            assert not ours or 'namespace=~"$namespace", pod=~"$pod"' in target["expr"]
