"""A real Prometheus scrapes two real sidecars under traffic and answers every query of ours."""

from pathlib import Path

import pytest
import yaml

from tests.monitoring.elsewhere import of_a_sidecar, of_an_injector
from tests.monitoring.generate import ROOT, RULES
from tests.monitoring.prometheus import Target, prometheus
from tests.monitoring.stage import stage
from tests.monitoring.test_names import OF_OTHERS, queries, selected

SCRAPE = ROOT / "deploy" / "k8s" / "prometheus" / "scrape.yaml"
_META = "__meta_kubernetes_"


def discovered(address: str, namespace: str, pod: str, port: str, **labels: str) -> Target:
    """What Prometheus' discovery of pods says of one port of one container."""
    return address, {
        f"{_META}namespace": namespace,
        f"{_META}pod_name": pod,
        f"{_META}pod_phase": "Running",
        f"{_META}pod_container_port_name": port,
        **{f"{_META}pod_label_app_kubernetes_io_{name}": value for name, value in labels.items()},
    }


@pytest.mark.timeout(180)
async def test_every_query_of_the_dashboard_and_every_alert(tmp_path: Path) -> None:
    """Each has data, or is evaluated without an error; and the scrape jobs label as they should."""
    async with (
        stage(tmp_path) as running,
        of_a_sidecar() as stand_in,
        of_an_injector() as injector,
    ):
        targets = {
            "jwt-sidecar": [
                discovered(running.user.listener("admin"), "shop", "user-1", "sidecar-admin"),
                discovered(running.profile.listener("admin"), "shop", "profile-1", "sidecar-admin"),
                discovered(stand_in, "shop", "other-1", "sidecar-admin"),
                # The same pod's other ports are no targets.
                discovered(running.user.listener("inbound"), "shop", "user-1", "sidecar-in"),
            ],
            "jwt-sidecar-injector": [
                discovered(
                    injector, "jwt-sidecar-system", "injector-1", "admin", component="injector"
                ),
                discovered(stand_in, "jwt-sidecar-system", "else-1", "admin", component="else"),
            ],
        }
        async with prometheus(tmp_path, SCRAPE, targets, RULES) as server, running.busy():
            found = await server.until_answered({name: _filled(expr) for name, expr in queries()})
            assert len(found) == len(list(queries()))
            named = {name for name, expr in _alerts() for name in selected(expr)}
            await server.until_answered({name: f"count({name})" for name in named - set(OF_OTHERS)})
            await server.until_answered({"evaluated": 'ALERTS{alertname="SidecarInjectorAlone"}'})
            for rule in await server.rules():
                assert (rule["name"], rule["health"]) == (rule["name"], "ok"), rule.get("lastError")
            scraped = {
                (each["labels"]["job"], each["labels"]["namespace"], each["labels"]["pod"])
                for each in await server.targets()
            }
            assert scraped == {
                ("jwt-sidecar", "shop", "user-1"),
                ("jwt-sidecar", "shop", "profile-1"),
                ("jwt-sidecar", "shop", "other-1"),
                ("jwt-sidecar-injector", "jwt-sidecar-system", "injector-1"),
            }
    assert running.statuses == {
        "user": {200},
        "known user": {200},
        "nobody": {401},
        "wrong audience": {401},
        "forged": {401},
        "observed": {200},
        "opaque": {502},
        "unknown opaque": {401},
        "no admin": {403},
        "nightly": {403},
        "background": {202},
    }


def _alerts() -> list[tuple[str, str]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [(rule["alert"], rule["expr"]) for group in groups for rule in group["rules"]]


def _filled(expr: str) -> str:
    """Put in what Grafana would for its variables."""
    return expr.replace("$__rate_interval", "5s").replace("$namespace", ".*").replace("$pod", ".*")
