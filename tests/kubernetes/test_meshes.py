"""Istio and Linkerd in the same pod."""

from typing import Any

import pytest

from tests.kubernetes.pods import Pod, container, injected, offered, pod, refused

ISTIO = {"sidecar.istio.io/status": "{}"}
EXCLUDED = {"traffic.sidecar.istio.io/excludeInboundPorts": "9999, 15490"}
LINKERD = {"linkerd.io/proxy-version": "edge-26.1.1", "linkerd.io/inject": "enabled"}


def mesh(proxy: str, *before: str, native: bool, **more: Any) -> Pod:
    """A pod with a mesh's proxy and its init containers, and one of the app's."""
    init = [container(name) for name in before]
    containers = [container("app", ("http", 8080))]
    if native:
        init.append(container(proxy, restartPolicy="Always"))
    else:
        containers.append(container(proxy))
    return pod(*containers, initContainers=[*init, container("migrate")], **more)


@pytest.mark.parametrize(
    ("proxy", "before", "annotations"),
    [
        ("istio-proxy", ("istio-validation",), ISTIO | EXCLUDED),
        ("istio-proxy", ("istio-init",), ISTIO | EXCLUDED),
        ("linkerd-proxy", ("linkerd-init",), LINKERD),
        ("linkerd-proxy", ("linkerd-network-validator",), LINKERD),
    ],
)
def test_native(proxy: str, before: tuple[str, ...], annotations: dict[str, str]) -> None:
    """Behind a native proxy the sidecar starts with a network, and before the app's own."""
    result = injected(mesh(proxy, *before, native=True, annotations=annotations))
    assert [each["name"] for each in result.pod["spec"]["initContainers"]] == [
        *before, proxy, "jwt-sidecar", "migrate",
    ]  # fmt: skip
    assert result.warnings == ()


REFUSED = [
    (
        "istio-proxy",
        "Istio's proxy is an ordinary container here, and starts only after the sidecar, which "
        "could not fetch keys without it: let Istio use native sidecars (istiod's "
        'ENABLE_NATIVE_SIDECARS=true), or write jwt-sidecar/native: "false"',
    ),
    (
        "linkerd-proxy",
        "Linkerd's proxy is an ordinary container here, and starts only after the sidecar, which "
        "could not fetch keys without it: let Linkerd use one "
        '(config.alpha.linkerd.io/proxy-enable-native-sidecar: "true"), or write '
        'jwt-sidecar/native: "false"',
    ),
]


@pytest.mark.parametrize(("proxy", "message"), REFUSED)
def test_deadlock(proxy: str, message: str) -> None:
    """A proxy that starts after the sidecar keeps the sidecar from ever being ready."""
    assert refused(mesh(proxy, native=False)) == message


@pytest.mark.parametrize(("proxy", "message"), REFUSED)
def test_deadlock_afterwards(proxy: str, message: str) -> None:
    """A mesh that comes after us is noticed when the pod is shown to us once more."""
    done = injected(pod()).pod
    spec = {**done["spec"], "containers": [*done["spec"]["containers"], container(proxy)]}
    assert refused({**done, "spec": spec}) == message


@pytest.mark.parametrize(("proxy", "annotations"), [("istio-proxy", ISTIO | EXCLUDED),
                                                    ("linkerd-proxy", LINKERD)])  # fmt: skip
def test_classic(proxy: str, annotations: dict[str, str]) -> None:
    """As ordinary containers both start at once; the proxy is not taken for an app."""
    given = mesh(proxy, native=False, annotations={**annotations, "native": "false"})
    given["spec"]["initContainers"].append(container("warm", restartPolicy="Always"))
    result = injected(given)
    assert [each["name"] for each in result.pod["spec"]["containers"]] == [
        "app", proxy, "jwt-sidecar",
    ]  # fmt: skip
    assert result.warnings == ()
    again = offered(result.pod)
    assert again.patch == ()  # type: ignore[union-attr]


def test_istio_takes_probes() -> None:
    """Istio hands only mTLS to ports that it captures: the kubelet's probes have none."""
    result = injected(mesh("istio-proxy", native=True, annotations=ISTIO))
    assert result.warnings == (
        "Istio takes the kubelet's probes and Prometheus to port 15490 for callers without mTLS: "
        'add traffic.sidecar.istio.io/excludeInboundPorts: "15490" to the pod template',
    )


def test_istio_probes_stay() -> None:
    """Probes that Istio has taken over already go on asking Istio."""
    given = mesh("istio-proxy", native=True, annotations=ISTIO | EXCLUDED)
    probe = {"httpGet": {"path": "/app-health/app/readyz", "port": 15020}}
    own = {"httpGet": {"path": "/healthz/ready", "port": 15021}}
    given["spec"]["containers"][0]["readinessProbe"] = probe
    given["spec"]["initContainers"][0]["readinessProbe"] = own
    spec = injected(given).pod["spec"]
    assert spec["containers"][0]["readinessProbe"] == probe
    assert spec["initContainers"][0]["readinessProbe"] == own


def test_linkerd_to_come() -> None:
    """Linkerd's injector may come after ours: what it will do is said before it does."""
    (found,) = injected(pod(annotations={"linkerd.io/inject": "enabled"})).warnings
    assert found.startswith("Linkerd will add its proxy as an ordinary container")
    native = {
        "linkerd.io/inject": "enabled",
        "config.alpha.linkerd.io/proxy-enable-native-sidecar": "true",
    }
    assert injected(pod(annotations=native)).warnings == ()
    classic = {"linkerd.io/inject": "enabled", "native": "false"}
    assert injected(pod(annotations=classic)).warnings == ()
