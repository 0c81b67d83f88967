"""The carrier in the app's containers."""

from typing import Any

import pytest

from sidecar.kubernetes.settings import InjectorSettings
from tests.kubernetes.pods import (
    CONFIG,
    IMAGE,
    NO_TOKEN,
    Pod,
    app_of,
    container,
    injected,
    named,
    pod,
    pod_config,
    refused,
)

PATH = "/jwt-sidecar/carriers/python"


def asking(*containers: Any, **annotations: str) -> Pod:
    prefixed = {key.replace("_", "-"): value for key, value in annotations.items()}
    return pod(*containers, annotations={"carrier": "python", **prefixed})


def variables(result: Any, name: str = "app") -> dict[str, str]:
    return {each["name"]: each.get("value") for each in app_of(result, name).get("env", [])}


def test_loaded() -> None:
    """An init container brings it, the app's container mounts it, variables make it load."""
    result = injected(asking(destinations="9001=https://a.shop, 9002=https://b.shop"))
    init = result.pod["spec"]["initContainers"]
    assert [each["name"] for each in init] == ["jwt-sidecar-carrier", "jwt-sidecar"]
    assert init[0]["command"] == ["sidecar", "carrier", "install", "/carriers"]
    assert init[0]["volumeMounts"] == [
        {"name": "jwt-sidecar-carrier", "mountPath": "/carriers"},
        NO_TOKEN,
    ]
    assert named(result.pod["spec"]["volumes"], "jwt-sidecar-carrier") == {
        "name": "jwt-sidecar-carrier",
        "emptyDir": {"sizeLimit": "16Mi"},
    }
    assert app_of(result)["volumeMounts"] == [
        {"name": "jwt-sidecar-carrier", "mountPath": "/jwt-sidecar/carriers", "readOnly": True}
    ]
    assert variables(result) == {
        "PYTHONPATH": PATH,
        "SIDECAR_CARRIER": "grade=strict",
        "SIDECAR_TARGETS": "127.0.0.1:9001,127.0.0.1:9002",
    }
    assert pod_config(result).endswith("attribution:\n  carrier: python\n")


def test_not_loaded() -> None:
    """Without being asked for it is nowhere."""
    result = injected(pod())
    assert "carrier" not in str(result.pod)


def test_targets_of_the_config_map() -> None:
    """Destinations of the ConfigMap are targets too; without any, every loopback call is."""
    config = CONFIG + (
        "outbound: {destinations: {a: {listen: 127.0.0.1:9009, upstream: https://a.shop}}}\n"
    )
    given = asking(destinations="9001=https://b.shop")
    assert variables(injected(given, config=config))["SIDECAR_TARGETS"] == (
        "127.0.0.1:9009,127.0.0.1:9001"
    )
    assert "SIDECAR_TARGETS" not in variables(injected(asking()))


@pytest.mark.parametrize(
    ("env", "path"),
    [
        ([{"name": "PYTHONPATH", "value": "/app:/lib"}], f"{PATH}:/app:/lib"),
        ([{"name": "PYTHONPATH", "value": ""}], PATH),
        ([{"name": "PYTHONPATH"}], PATH),
        ([{"name": "PYTHONPATH", "value": "$(HOME)/x"}], f"{PATH}:$(HOME)/x"),
        ([{"name": "PYTHONPATH", "value": f"{PATH}:/app"}], f"{PATH}:/app"),
        (
            [{"name": "PYTHONPATH", "value": "/a"}, {"name": "PYTHONPATH", "value": "/b"}],
            f"{PATH}:/b",
        ),
    ],
)
def test_prefixed(env: list[dict[str, str]], path: str) -> None:
    """What the app has in its path stays, behind the carrier, and is not doubled."""
    result = injected(asking(container("app", 8080, env=env)))
    assert variables(result)["PYTHONPATH"] == path


def test_value_from() -> None:
    """A path from elsewhere cannot be added to: the carrier is left out, and that is said."""
    env = [
        {"name": "PYTHONPATH", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
    ]
    result = injected(asking(container("app", 8080, env=env)))
    assert app_of(result)["env"] == env
    assert [each["name"] for each in result.pod["spec"]["initContainers"]] == ["jwt-sidecar"]
    assert "attribution" not in pod_config(result)
    assert result.warnings == (
        "container app: the carrier is not loaded, because PYTHONPATH comes from a valueFrom, to "
        "which nothing can be added: write its value out, /jwt-sidecar/carriers/python first",
    )


def test_env_from() -> None:
    """A path that may come from an envFrom is hidden by ours, which is warned about."""
    given = asking(container("app", 8080, envFrom=[{"configMapRef": {"name": "c"}}]))
    (found,) = injected(given).warnings
    assert found.startswith("container app: a PYTHONPATH from an envFrom is replaced")


def test_own_settings() -> None:
    """What the pod says of the carrier itself stays."""
    env = [{"name": "SIDECAR_CARRIER", "value": "grade=standard"}]
    result = injected(asking(container("app", 8080, env=env)))
    assert variables(result)["SIDECAR_CARRIER"] == "grade=standard"


def test_chosen_containers() -> None:
    """Other containers than the app's load it if they are named."""
    given = asking(container("app", 8080), container("w"), carrier_containers="app, w")
    result = injected(given)
    assert variables(result)["PYTHONPATH"] == variables(result, "w")["PYTHONPATH"] == PATH
    only = injected(asking(container("app", 8080), container("w"), carrier_containers="w"))
    assert variables(only) == {}


REFUSED = [
    (
        asking(container("app", 80, volumeMounts=[{"name": "jwt-sidecar-carrier"}])),
        "container app mounts a volume named jwt-sidecar-carrier",
    ),
    (
        asking(carrier_containers="worker"),
        "annotation jwt-sidecar/carrier-containers: there is no container `worker`; the pod has "
        "app",
    ),
    (
        asking(container("a"), container("b")),
        "annotation jwt-sidecar/carrier-containers: which containers load the carrier? the pod "
        "has a, b",
    ),
    (
        asking(
            container(
                "app", 80, volumeMounts=[{"name": "x", "mountPath": "/jwt-sidecar/carriers/"}]
            )
        ),
        "container app mounts a volume of its own at /jwt-sidecar/carriers/, where the carrier "
        "goes",
    ),
]


@pytest.mark.parametrize(("given", "message"), REFUSED)
def test_refused(given: Pod, message: str) -> None:
    """Where the carrier cannot go, it is said so."""
    assert refused(given) == message


def test_by_setting() -> None:
    """The injector may load it into every app, and a pod may decline."""
    settings = InjectorSettings(image=IMAGE, carrier="python")
    assert variables(injected(pod(), settings=settings))["PYTHONPATH"] == PATH
    uncalled = injected(pod(container("a"), container("b")), settings=settings)
    assert variables(uncalled, "a") == variables(uncalled, "b") == {}
    declining = pod(annotations={"carrier": "none"})
    assert variables(injected(declining, settings=settings)) == {}


@pytest.mark.parametrize("written", ["python", "auto"])
def test_configured(written: str) -> None:
    """A ConfigMap that expects it already is not told again."""
    config = CONFIG + f"attribution: {{carrier: {written}}}\n"
    assert "attribution" not in pod_config(injected(asking(), config=config))
