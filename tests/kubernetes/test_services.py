"""Services that would lead past the sidecar."""

from typing import Any

import pytest

from sidecar.kubernetes.services import check_service
from tests.kubernetes.pods import CONFIG, container, injected, pod, refused

NAMED = (
    "Service web: port 80 leads to port 8080, past the sidecar, which listens on 15406: write "
    "`targetPort: http` (the name leads to the sidecar in pods that have one, and to the app in "
    "others)"
)
NUMBERED = (
    "Service web: port 80 leads to port 8080, past the sidecar, which listens on 15406: write "
    "`targetPort: 15406` (or name the container's port and write that name, which leads to the "
    "sidecar in pods that have one, and to the app in others)"
)


def service(*ports: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"selector": {"app": "orders"}, "ports": list(ports), **spec},
    }


BYPASSING = [
    service({"port": 80, "targetPort": 8080}),
    service({"port": 443, "targetPort": 15406}, {"port": 80, "targetPort": 8080}),
    service({"port": 80, "targetPort": 8080, "protocol": "TCP"}, clusterIP="None"),
    service({"port": 80, "targetPort": 8080, "nodePort": 30080}, type="NodePort"),
]

FINE = [
    service({"port": 80, "targetPort": "http"}),
    service({"port": 80, "targetPort": 15406}),
    service({"port": 80, "targetPort": "sidecar-in"}),
    service({"port": 9090, "targetPort": 9090}),
    service({"port": 8080, "targetPort": "http"}),
    service({"port": 80, "targetPort": 8080, "protocol": "UDP"}),
    service({"port": 80, "targetPort": 8080}, selector={"app": "other"}),
    service({"port": 80, "targetPort": 8080}, selector={"app": "orders", "tier": "x"}),
    service({"port": 80, "targetPort": 8080}, selector={}),
    service({"port": 80, "targetPort": 8080}, selector=None),
    service({"port": 80, "targetPort": 8080}, type="ExternalName"),
    service(clusterIP="None"),
    {"kind": "Service", "metadata": {"name": "web"}},
    {"kind": "Service", "spec": {"selector": {"app": "orders"}, "ports": None}},
]


@pytest.mark.parametrize("given", BYPASSING)
def test_bypassing(given: dict[str, Any]) -> None:
    """A number leads to the app itself, at the Service's admission and at the pod's."""
    named, numbered = pod(), pod(container("app", 8080))
    assert check_service(given, pods=[injected(named).pod]) == NAMED
    assert check_service(given, pods=[injected(numbered).pod]) == NUMBERED
    assert refused(named, services=[given]) == NAMED
    assert refused(numbered, services=[given]) == NUMBERED


def test_without_target_port() -> None:
    """Without a target port it is the Service's own."""
    message = check_service(service({"port": 8080}), pods=[injected(pod()).pod])
    assert message is not None
    assert message.startswith("Service web: port 8080 leads to port 8080, past the sidecar")
    assert check_service(service({"port": 80}), pods=[injected(pod()).pod]) is None


@pytest.mark.parametrize("given", FINE)
def test_fine(given: dict[str, Any]) -> None:
    """What leads to the sidecar, or nowhere near the app, is nobody's business here."""
    assert check_service(given, pods=[injected(pod()).pod]) is None
    injected(pod(), services=[given])


def test_of_pods_without_sidecar() -> None:
    """Pods without sidecar, and those that nobody calls, do not count."""
    given = service({"port": 80, "targetPort": 8080})
    others = [pod(), {"metadata": {}, "spec": {}}, {"metadata": None}]
    others += [
        {"metadata": {"annotations": {"jwt-sidecar/port": text}, "labels": {"app": "orders"}}}
        for text in ("8080", "8080=x", "=15406", "x")
    ]
    assert check_service(given, pods=others) is None
    off = injected(pod(), config=CONFIG + "inbound: {listen: off}\n")
    assert check_service(given, pods=[off.pod]) is None
    assert check_service(given, pods=[*others, injected(pod()).pod]) == NAMED


def test_while_rolling_out() -> None:
    """Old pods and new ones behind one named port: each is reached where it should be."""
    given = service({"port": 80, "targetPort": "http"})
    assert check_service(given, pods=[pod(), injected(pod()).pod]) is None


def test_several() -> None:
    """Each Service that leads past the sidecar is told to the pod."""
    services = [service({"port": 80, "targetPort": 8080}) for _ in range(2)]
    services[1]["metadata"]["name"] = "api"
    assert [line.partition(":")[0] for line in refused(pod(), services=services).splitlines()] == [
        "Service web",
        "Service api",
    ]
