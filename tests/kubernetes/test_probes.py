"""The kubelet's probes of the app, and its hooks."""

from typing import Any

import pytest
import yaml

from tests.kubernetes.pods import CONFIG, app_of, container, injected, pod, pod_config, refused


def relays(result: Any) -> Any:
    return yaml.safe_load(pod_config(result))["admin"].get("app_probes", [])


RELAYED = [
    ({"httpGet": {"port": 8080}}, {"port": 8080, "path": "/", "timeout": "1s"}),
    (
        {"httpGet": {"path": "live?a=1", "port": "http"}, "timeoutSeconds": 7},
        {"port": 8080, "path": "/live?a=1", "timeout": "7s"},
    ),
    (
        {"httpGet": {"path": "/", "port": "8080", "scheme": "HTTPS"}},
        {"port": 8080, "path": "/", "scheme": "https", "timeout": "1s"},
    ),
    (
        {
            "httpGet": {
                "port": "admin",
                "httpHeaders": [{"name": "Host", "value": "x"}, {"name": "on", "value": "${A}1"}],
            }
        },
        {"port": 9000, "path": "/", "headers": {"Host": "x", "on": "$${A}1"}, "timeout": "1s"},
    ),
    ({"tcpSocket": {"port": "http"}}, {"port": 8080, "tcp": True, "timeout": "1s"}),
]


@pytest.mark.parametrize("key", ["startupProbe", "livenessProbe", "readinessProbe"])
@pytest.mark.parametrize(("probe", "relay"), RELAYED)
def test_relayed(key: str, probe: dict[str, Any], relay: dict[str, Any]) -> None:
    """The kubelet asks the sidecar, which asks what the kubelet would have asked."""
    rest = {"periodSeconds": 3, "failureThreshold": 9, "initialDelaySeconds": 1}
    given = pod(
        container("app", ("http", 8080), ("admin", 9000), **{key: probe | rest}),
        annotations={"app-port": "http"},
    )
    result = injected(given)
    timeout = {"timeoutSeconds": probe["timeoutSeconds"]} if "timeoutSeconds" in probe else {}
    action = {"path": "/app-probe/0", "port": 15490, "scheme": "HTTP"}
    assert app_of(result)[key] == {"httpGet": action, **timeout, **rest}
    assert relays(result) == [relay]


def test_numbered() -> None:
    """Each question is relayed once, and has the number of its place in the list."""
    given = pod(
        container(
            "app",
            ("http", 8080),
            startupProbe={"httpGet": {"path": "/a", "port": 8080}},
            livenessProbe={"httpGet": {"path": "/b", "port": "http"}},
            readinessProbe={"httpGet": {"path": "/a", "port": "http"}},
        )
    )
    result = injected(given)
    asked = {
        key: app_of(result)[key]["httpGet"]["path"]
        for key in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert asked == {
        "startupProbe": "/app-probe/0",
        "livenessProbe": "/app-probe/1",
        "readinessProbe": "/app-probe/0",
    }
    assert [each["path"] for each in relays(result)] == ["/a", "/b"]


KEPT = [
    ({"exec": {"command": ["true"]}}, ""),
    ({"grpc": {"port": 8080}}, "a gRPC probe is not relayed: it reaches the app only as long as"),
    ({"httpGet": {"port": 8080, "host": "10.0.0.1"}}, "it asks another host, 10.0.0.1"),
    ({"httpGet": {"port": "nope"}}, "the container has no port named `nope`"),
    (
        {"httpGet": {"port": 8080, "httpHeaders": [{"name": "A", "value": "1"}, {"name": "a"}]}},
        "it names a header twice",
    ),
    (
        {"httpGet": {"port": 8080, "httpHeaders": [{"name": "A", "value": "file:/etc/passwd"}]}},
        "the value of A would be read as the name of a file",
    ),
    ({"httpGet": {"port": 15020, "path": "/app-health/app/readyz"}}, ""),
    ({"tcpSocket": {"port": 4191}}, ""),
]


@pytest.mark.parametrize(("probe", "warning"), KEPT)
def test_kept(probe: dict[str, Any], warning: str) -> None:
    """A probe that cannot be relayed, or needs not be, stays as it is."""
    result = injected(pod(container("app", ("http", 8080), livenessProbe=probe)))
    assert app_of(result)["livenessProbe"] == probe
    assert relays(result) == []
    if warning:
        assert len(result.warnings) == 1
        assert result.warnings[0].startswith("container app, livenessProbe: ")
        assert warning in result.warnings[0]
    else:
        assert result.warnings == ()


def test_all_kept() -> None:
    """Where probes are kept, a name that now leads to the sidecar becomes the app's number."""
    given = pod(
        container(
            "app",
            ("http", 8080),
            livenessProbe={"httpGet": {"path": "/", "port": "http"}, "periodSeconds": 2},
            readinessProbe={"tcpSocket": {"port": "http"}},
            startupProbe={"grpc": {"port": 8080}},
        ),
        annotations={"probes": "keep"},
    )
    result = injected(given)
    found = app_of(result)
    assert found["livenessProbe"] == {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 2}
    assert found["readinessProbe"] == {"tcpSocket": {"port": 8080}}
    assert found["startupProbe"] == {"grpc": {"port": 8080}}
    assert relays(result) == []
    assert result.warnings == ()


def test_other_containers() -> None:
    """Another container's probe is relayed if it asks the app, and else stays."""
    given = pod(
        container("app", ("http", 8080)),
        container(
            "log",
            livenessProbe={"httpGet": {"port": 9000}},
            readinessProbe={"httpGet": {"port": 8080}},
            startupProbe={"grpc": {"port": 9000}},
        ),
    )
    result = injected(given)
    assert app_of(result, "log")["livenessProbe"] == {"httpGet": {"port": 9000}}
    assert app_of(result, "log")["readinessProbe"]["httpGet"]["path"] == "/app-probe/0"
    assert result.warnings == ()


@pytest.mark.parametrize("key", ["postStart", "preStop"])
@pytest.mark.parametrize("port", ["http", 8080])
def test_hooks(key: str, port: str | int) -> None:
    """A hook does something, so nobody else may cause it: it goes to the app itself."""
    hook = {key: {"httpGet": {"path": "/quit", "port": port}}}
    result = injected(pod(container("app", ("http", 8080), lifecycle=hook)))
    assert app_of(result)["lifecycle"] == {key: {"httpGet": {"path": "/quit", "port": 8080}}}
    assert relays(result) == []
    assert result.warnings == (
        f"container app, lifecycle.{key}: the kubelet calls the app directly, which works only as "
        "long as the app listens on the pod's address",
    )


def test_hooks_without_request() -> None:
    """Hooks that call nobody stay, without a word."""
    hook = {"postStart": {"exec": {"command": ["a"]}}, "preStop": {"sleep": {"seconds": 1}}}
    result = injected(pod(container("app", ("http", 8080), lifecycle=hook)))
    assert app_of(result)["lifecycle"] == hook
    assert result.warnings == ()


def test_configured_relays() -> None:
    """Relays that the ConfigMap has already would be given twice."""
    config = CONFIG + "admin:\n  app_probes:\n  - {port: 1, path: /}\n"
    probe = {"httpGet": {"port": 8080}}
    told = refused(pod(container("app", 8080, livenessProbe=probe)), config=config)
    assert told.splitlines()[0] == (
        "ConfigMap jwt-sidecar, config.yaml: admin.app_probes: is written by the injector for each "
        "pod: remove it, or write jwt-sidecar/probes: keep"
    )


UNRELAYED = [
    (
        {"httpGet": {"port": 8080, "httpHeaders": [{"name": "X-Auth-Subject", "value": "me"}]}},
        "admin.app_probes[1].headers.X-Auth-Subject: is reserved: the app believes the sidecar "
        "what it says",
    ),
    ({"tcpSocket": {"port": 15406}}, "admin.app_probes[1].port: is where the sidecar itself"),
    (
        {"httpGet": {"port": 8080}, "timeoutSeconds": 61},
        "admin.app_probes[1].timeout: `61s` must be from 100ms to 60s",
    ),
]


@pytest.mark.parametrize(("probe", "message"), UNRELAYED)
def test_not_to_be_relayed(probe: dict[str, Any], message: str) -> None:
    """What the sidecar would not ask is refused by the name of the probe, with a way out."""
    first = {"httpGet": {"path": "/first", "port": 8080}}
    given = pod(container("app", ("http", 8080), startupProbe=first, readinessProbe=probe))
    told = refused(given)
    assert told.startswith(f"container app, readinessProbe: {message}")
    assert told.endswith("; or write jwt-sidecar/probes: keep")
    assert len(told.splitlines()) == 1
