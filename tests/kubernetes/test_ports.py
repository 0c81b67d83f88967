"""The app's port, and how its name comes to lead to the sidecar."""

from typing import Any

import pytest

from tests.kubernetes.pods import (
    CONFIG,
    Pod,
    app_of,
    container,
    injected,
    pod,
    pod_config,
)


def found_by_name(given: Any, name: str, protocol: str = "TCP") -> int | None:
    """What the endpoints controller finds for a Service's ``targetPort``, before 1.33."""
    for each in given["spec"]["containers"]:
        for port in each.get("ports", ()):
            if port.get("name") == name and port.get("protocol", "TCP") == protocol:
                return int(port["containerPort"])
    return None


@pytest.mark.parametrize("native", ["true", "false"])
def test_name_leads_to_the_sidecar(native: str) -> None:
    """A Service that names the port reaches the sidecar, on clusters of every version."""
    given = pod(annotations={"native": native})
    assert found_by_name(given, "http") == 8080
    assert found_by_name(injected(given).pod, "http") == 15406


def test_entry() -> None:
    """The name's entry gets the sidecar's number, the app's port stays declared."""
    ports = [
        {"name": "http", "containerPort": 8080, "protocol": "TCP"},
        {"name": "dns", "containerPort": 8080, "protocol": "UDP"},
        {"name": "metrics", "containerPort": 9090},
    ]
    given = pod(container("app", ports=ports), annotations={"app-port": "http"})
    assert app_of(injected(given))["ports"] == [
        {"name": "http", "containerPort": 15406, "protocol": "TCP"},
        {"name": "dns", "containerPort": 8080, "protocol": "UDP"},
        {"name": "metrics", "containerPort": 9090},
        {"containerPort": 8080, "protocol": "TCP"},
    ]


def test_host_port() -> None:
    """A port of the node leads to the sidecar too."""
    ports = [{"containerPort": 8080, "hostPort": 80, "hostIP": "10.0.0.1"}]
    assert app_of(injected(pod(container("app", ports=ports))))["ports"] == [
        {"containerPort": 15406, "hostPort": 80, "hostIP": "10.0.0.1"},
        {"containerPort": 8080, "protocol": "TCP"},
    ]


def test_without_name() -> None:
    """A port without name has nothing that could lead elsewhere."""
    assert app_of(injected(pod(container("app", 8080))))["ports"] == [{"containerPort": 8080}]


def test_configured_listener() -> None:
    """The name leads to where the ConfigMap makes the sidecar listen."""
    config = CONFIG + "inbound: {listen: 0.0.0.0:9443}\n"
    result = injected(pod(), config=config)
    assert found_by_name(result.pod, "http") == 9443
    assert result.pod["metadata"]["annotations"]["jwt-sidecar/port"] == "8080=9443"


CHOSEN: list[tuple[Pod, str, str, int | None]] = [
    (pod(container("app", 8080)), CONFIG, "app", 8080),
    (pod(container("app", 8080), annotations={"app-port": "9090"}), CONFIG, "app", 9090),
    (pod(container("log"), container("app", 8080)), CONFIG, "app", 8080),
    (
        pod(container("log", 24224), container("app", 8080), annotations={"app-port": "8080"}),
        CONFIG,
        "app",
        8080,
    ),
    (
        pod(container("log", 24224), container("app", 8080), annotations={"app-container": "app"}),
        CONFIG,
        "app",
        8080,
    ),
    (
        pod(
            container("a", ("http", 80)),
            container("b", ("http", 81)),
            annotations={"app-port": "http", "app-container": "b"},
        ),
        CONFIG,
        "b",
        81,
    ),
    (
        pod(
            container(
                "app", ports=[{"containerPort": 53, "protocol": "UDP"}, {"containerPort": 80}]
            )
        ),
        CONFIG,
        "app",
        80,
    ),
    (
        pod(container("app", 8080, 9090)),
        CONFIG + "inbound: {app: http://127.0.0.1:9090}\n",
        "app",
        9090,
    ),
    (
        pod(
            container("app", 8080), container("istio-proxy", 15021), annotations={"native": "false"}
        ),
        CONFIG,
        "app",
        8080,
    ),
    (pod(container("app", ports=[{"containerPort": 53, "protocol": "UDP"}])), CONFIG, "app", None),
]


@pytest.mark.parametrize(("given", "config", "name", "port"), CHOSEN)
def test_chosen(given: Pod, config: str, name: str, port: int | None) -> None:
    """The app is the container with the port that is named, or the only one that has any."""
    asked = {**given, "metadata": {**given["metadata"]}}
    annotations = given["metadata"].get("annotations", {})
    asked["metadata"]["annotations"] = {**annotations, "jwt-sidecar/app-pre-stop-sleep": "1"}
    result = injected(asked, config=config)
    sleeping = [each["name"] for each in result.pod["spec"]["containers"] if "lifecycle" in each]
    assert name in sleeping
    written = result.pod["metadata"]["annotations"].get("jwt-sidecar/port")
    assert written == (None if port is None else f"{port}=15406")
    if port is not None and "inbound" not in config:
        assert f"app: http://127.0.0.1:{port}\n" in pod_config(result)
