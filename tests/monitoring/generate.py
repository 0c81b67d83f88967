"""Write what is made of one source: ``python -m tests.monitoring.generate``.

The PrometheusRule wraps ``rules.yaml``; the dashboard is ``panels`` as Grafana imports it.
"""

import json
from pathlib import Path
from typing import Any, Final

from tests.monitoring.panels import ROWS, Panel, Row

ROOT: Final = Path(__file__).parents[2]
COMPONENTS: Final = ROOT / "deploy" / "k8s" / "components"
RULES: Final = COMPONENTS / "prometheus-rule" / "rules.yaml"
PROMETHEUS_RULE: Final = COMPONENTS / "prometheus-rule" / "prometheus-rule.yaml"
DASHBOARD: Final = COMPONENTS / "dashboard" / "jwt-sidecar.json"

_HEADER: Final = """\
# Made of rules.yaml by `python -m tests.monitoring.generate`: change that one.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: jwt-sidecar
  namespace: jwt-sidecar-system
  labels:
    app.kubernetes.io/name: jwt-sidecar
    app.kubernetes.io/component: monitoring
spec:
"""
_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_COLUMNS: Final = 24
_EACH: Final = "sidecar_config_last_reload_successful"
"""What every sidecar has, and nothing else."""


def prometheus_rule() -> str:
    """Return the rules as an object of the Prometheus Operator."""
    lines = RULES.read_text().splitlines()
    start = lines.index("groups:")
    return _HEADER + "".join(f"  {line}\n" if line else "\n" for line in lines[start:])


def dashboard() -> str:
    """Return the dashboard as JSON."""
    return json.dumps(_dashboard(), indent=2) + "\n"


def _dashboard() -> dict[str, Any]:
    panels: list[dict[str, Any]] = []
    y = 0
    for row in ROWS:
        y = _add_row(panels, row, y)
    return {
        "title": "jwt-sidecar",
        "uid": "jwt-sidecar",
        "description": "Sidecars that verify callers and attach tokens, and their injector.",
        "tags": ["jwt-sidecar"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "",
        "templating": {"list": _variables()},
        "annotations": {"list": []},
        "links": [],
        "panels": panels,
    }


def _variables() -> list[dict[str, Any]]:
    return [
        {
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
            "current": {},
            "hide": 0,
        },
        _variable("namespace", "Namespace", f"label_values({_EACH}, namespace)"),
        _variable("pod", "Pod", f'label_values({_EACH}{{namespace=~"$namespace"}}, pod)'),
    ]


def _variable(name: str, label: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": f"variable-{name}"},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
        "hide": 0,
    }


def _add_row(panels: list[dict[str, Any]], row: Row, y: int) -> int:
    """Add *row* at height *y*, and return the height after it."""
    panels.append(
        {
            "id": len(panels) + 1,
            "type": "row",
            "title": row.title,
            "collapsed": False,
            "gridPos": {"h": 1, "w": _COLUMNS, "x": 0, "y": y},
            "panels": [],
        }
    )
    y += 1
    x = height = 0
    for panel in row.panels:
        width, tall = (4, 4) if panel.kind == "stat" else (8, 8)
        if x + width > _COLUMNS:
            x, y = 0, y + height
        height = tall
        place = {"h": tall, "w": width, "x": x, "y": y}
        panels.append({"id": len(panels) + 1, "gridPos": place, **_panel(panel)})
        x += width
    return y + height


def _panel(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {"unit": panel.unit, "min": 0}
    if panel.maximum is not None:
        defaults["max"] = panel.maximum
    steps: list[dict[str, Any]] = [{"color": "green", "value": None}]
    if panel.alarming_above is not None:
        steps.append({"color": "red", "value": panel.alarming_above})
    defaults["thresholds"] = {"mode": "absolute", "steps": steps}
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "drawStyle": "line",
            "fillOpacity": 25 if panel.stacked else 5,
            "lineWidth": 1,
            "showPoints": "never",
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
        }
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": _SOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": _STAT if panel.kind == "stat" else _TIMESERIES,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": _SOURCE,
                "editorMode": "code",
                "expr": query.expr,
                "legendFormat": query.legend or "__auto",
                "range": panel.kind == "timeseries",
                "instant": panel.kind == "stat",
            }
            for index, query in enumerate(panel.queries)
        ],
    }


_STAT: Final = {
    "colorMode": "value",
    "graphMode": "none",
    "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
}
_TIMESERIES: Final = {
    "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
    "tooltip": {"mode": "multi", "sort": "desc"},
}


def main() -> None:
    PROMETHEUS_RULE.write_text(prometheus_rule())
    DASHBOARD.parent.mkdir(exist_ok=True)
    DASHBOARD.write_text(dashboard())


if __name__ == "__main__":
    main()
