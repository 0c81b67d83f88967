"""Pods to inject, and short ways to say what should come of them."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from sidecar.kubernetes.injection import inject
from sidecar.kubernetes.results import Injected, Refused, Skipped
from sidecar.kubernetes.settings import InjectorSettings

IMAGE = "registry.example/jwt-sidecar:1"
SETTINGS = InjectorSettings(image=IMAGE)
CONFIG = """\
version: 1
issuers:
  shop: {issuer: "https://idp.example", audiences: [orders]}
"""

NO_TOKEN = {
    "name": "jwt-sidecar-no-token",
    "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
    "readOnly": True,
}
"""Mounted so that the API server mounts no token there."""

Pod = dict[str, Any]


def container(name: str = "app", *ports: Any, **more: Any) -> dict[str, Any]:
    """A container; a port is a number, or a name and a number."""
    declared = [
        {"name": port[0], "containerPort": port[1]}
        if isinstance(port, tuple)
        else {"containerPort": port}
        for port in ports
    ]
    made = {"name": name, "image": f"{name}:1", **({"ports": declared} if declared else {})}
    return made | more


def restricted(name: str = "app", *ports: Any, **more: Any) -> dict[str, Any]:
    """A container that fits the Pod Security level "restricted"."""
    context = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return container(name, *ports, securityContext=context, **more)


def pod(*containers: Any, annotations: Any = None, **spec: Any) -> Pod:
    """A pod with the annotations given without their prefix."""
    prefixed = {
        key if "/" in key else f"jwt-sidecar/{key}": value
        for key, value in (annotations or {}).items()
    }
    metadata: dict[str, Any] = {"name": "orders", "labels": {"app": "orders"}}
    if prefixed:
        metadata["annotations"] = prefixed
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": list(containers or [container("app", ("http", 8080))]), **spec},
    }


def offered(
    given: Mapping[str, Any],
    *,
    config: str | None = CONFIG,
    settings: InjectorSettings = SETTINGS,
    owner_kind: str | None = None,
    services: Sequence[Mapping[str, Any]] = (),
) -> Injected | Skipped | Refused:
    """What ``inject`` says of *given*, which it must not change."""
    before = copy.deepcopy(given)
    result = inject(
        given,
        namespace="shop",
        owner_kind=owner_kind,
        settings=settings,
        config={"jwt-sidecar": config}.get,
        services=services,
    )
    assert given == before
    return result


def injected(given: Pod, **more: Any) -> Injected:
    result = offered(given, **more)
    assert isinstance(result, Injected), result
    return result


def refused(given: Pod, **more: Any) -> str:
    result = offered(given, **more)
    assert isinstance(result, Refused), result
    return result.message


def named(items: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    """The one of *items* that has the name."""
    (found,) = [item for item in items if item["name"] == name]
    return found


def sidecar_of(result: Injected) -> Mapping[str, Any]:
    spec = result.pod["spec"]
    return named([*spec["containers"], *spec.get("initContainers", [])], "jwt-sidecar")


def app_of(result: Injected, name: str = "app") -> Mapping[str, Any]:
    return named(result.pod["spec"]["containers"], name)


def pod_config(result: Injected) -> str:
    """The text of the pod's own part of the configuration."""
    text = named(sidecar_of(result)["env"], "SIDECAR_POD_CONFIG")["value"]
    assert isinstance(text, str)
    return text
