"""The alerts: right for Prometheus, each tried with series that fire it and series that do not."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.alert_cases import CASES, Case, Series
from tests.monitoring.generate import PROMETHEUS_RULE, ROOT, RULES, prometheus_rule
from tests.support.programs import needs_program

PAGE = ROOT / "docs" / "alerts.md"


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def promtool(*arguments: str) -> None:
    done = subprocess.run(
        [needs_program("promtool"), *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules() -> None:
    """Expressions, durations and templates are right."""
    promtool("check", "rules", str(RULES))


def test_the_object_for_the_operator_says_the_same() -> None:
    """If not: ``python -m tests.monitoring.generate``."""
    assert PROMETHEUS_RULE.read_text() == prometheus_rule()
    wrapped = yaml.safe_load(PROMETHEUS_RULE.read_text())
    assert wrapped["spec"] == yaml.safe_load(RULES.read_text())


def test_each_fires_when_it_should_and_not_otherwise(tmp_path: Path) -> None:
    """Every alert, by promtool: at the minute given, with exactly the labels given, or never."""
    assert [case.alert for case in CASES] == [rule["alert"] for rule in alerts()]
    written = [_write(tmp_path, *each) for each in zip(CASES, alerts(), strict=True)]
    promtool("test", "rules", *written)


def _write(directory: Path, case: Case, rule: dict[str, Any]) -> str:
    """Write the tests of one alert; alone, so that the others need not be evaluated each time."""
    rules = directory / f"{case.alert}.yaml"
    rules.write_text(yaml.safe_dump({"groups": [{"name": "one", "rules": [rule]}]}))
    tests = directory / f"{case.alert}.test.yaml"
    written = {"rule_files": [str(rules)], "tests": [_firing(case), _quiet(case)]}
    tests.write_text(yaml.safe_dump({**written, "evaluation_interval": "1m"}))
    return str(tests)


def _firing(case: Case) -> dict[str, Any]:
    fires = {"alertname": case.alert, "alertstate": "firing", **case.labels}
    shown = ",".join(f'{name}="{value}"' for name, value in sorted(fires.items()))
    return _tested(case, case.fires, [{"labels": f"ALERTS{{{shown}}}", "value": 1}])


def _quiet(case: Case) -> dict[str, Any]:
    return _tested(case, case.quiet, [])


def _tested(case: Case, series: Series, expected: list[dict[str, Any]]) -> dict[str, Any]:
    firing = f'ALERTS{{alertname="{case.alert}",alertstate="firing"}}'
    expr = firing if expected else f"max_over_time({firing}[{case.after}m])"
    return {
        "interval": "1m",
        "input_series": [{"series": each, "values": values} for each, values in series.items()],
        "promql_expr_test": [
            {"expr": expr, "eval_time": f"{case.after}m", "exp_samples": expected}
        ],
    }


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_each_says_how_grave_it_is_and_where_to_read_on(rule: dict[str, Any]) -> None:
    """Severity, how long, a summary, and the entry of docs/alerts.md."""
    assert rule["labels"]["severity"] in {"warning", "critical"}
    assert "for" in rule or rule["alert"] == "SidecarRestarting"  # half an hour is in the query
    assert {"summary", "description", "runbook_url"} == set(rule["annotations"])
    assert rule["annotations"]["runbook_url"] == f"docs/alerts.md#{rule['alert'].lower()}"


def test_the_page_has_an_entry_for_each_alert_and_no_other() -> None:
    """In the order of the rules, each with what it means, how to look, and what to do."""
    sections = re.split(r"^### ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    titles = [section.partition("\n")[0] for section in sections]
    assert titles == [rule["alert"] for rule in alerts()]
    for section in sections:
        for part in ("**Means.**", "**Look.**", "**Do.**"):
            assert part in section, section.partition("\n")[0]
