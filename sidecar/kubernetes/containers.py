"""The containers and volumes that are added to a pod.

All of them fit the Pod Security level "restricted", whatever the pod's own security context
says: every field of it that could weaken a container of ours is set on the container.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sidecar.kubernetes import names
from sidecar.kubernetes.settings import Resources

_DOWNWARD: Final[Mapping[str, str]] = {
    "SIDECAR_POD_NAME": "metadata.name",
    "SIDECAR_POD_NAMESPACE": "metadata.namespace",
    "SIDECAR_POD_IPS": "status.podIPs",
    "SIDECAR_NODE_NAME": "spec.nodeName",
}
ENVIRONMENT: Final = frozenset((*_DOWNWARD, names.POD_CONFIG))
"""All variables that the sidecar has besides those of its image."""


_NO_TOKEN: Final = {
    "name": names.NO_TOKEN_VOLUME,
    "mountPath": names.TOKEN_DIRECTORY,
    "readOnly": True,
}
"""Where something is mounted already, the API server puts no token of the pod's account."""


_ACCOUNT: Final = {
    "name": names.ACCOUNT_VOLUME,
    "mountPath": names.ACCOUNT_DIRECTORY,
    "readOnly": True,
}


@dataclass(frozen=True, slots=True)
class Build:
    """What the container is made of."""

    image: str
    image_pull_policy: str
    native: bool
    resources: Resources
    config: str
    """Name of the ConfigMap."""
    pod_config: str
    """Text of the pod's own part."""
    secrets: Sequence[str]
    account_audience: str | None
    """For whom a token of the pod's account is mounted; ``None``: none is."""
    inbound_port: int | None
    """``None``: nobody calls the app."""
    admin_port: int


def sidecar(build: Build) -> dict[str, Any]:
    """Return the container of the sidecar itself."""
    ports = [{"name": names.ADMIN_PORT_NAME, "containerPort": build.admin_port, "protocol": "TCP"}]
    if build.inbound_port is not None:
        port = {"name": names.INBOUND_PORT_NAME, "containerPort": build.inbound_port}
        ports.insert(0, {**port, "protocol": "TCP"})
    drain = ["sidecar", "drain", "--control", names.CONTROL_SOCKET]
    if not build.native:
        drain.append("--wait")  # for the app, whose end Kubernetes would not wait for
    container = {
        "name": names.CONTAINER,
        "image": build.image,
        "imagePullPolicy": build.image_pull_policy,
        "command": [
            "sidecar", "run", "--config", f"{names.CONFIG_DIRECTORY}/{names.CONFIG_KEY}",
            "--config", f"env:{names.POD_CONFIG}",
        ],
        "env": [
            *(
                {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
                for name, path in _DOWNWARD.items()
            ),
            {"name": names.POD_CONFIG, "value": build.pod_config},
            # For `kubectl exec POD -c jwt-sidecar -- sidecar status`, which then needs no option.
            {"name": names.CONTROL_VARIABLE, "value": names.CONTROL_SOCKET},
        ],
        "ports": ports,
        # Ready once keys are loaded. An issuer that is away comes back without a restart of ours.
        "startupProbe": _probe("/startupz", build.admin_port, period=1, failures=600),
        "livenessProbe": _probe("/livez", build.admin_port, period=10, failures=6),
        "readinessProbe": _probe("/readyz", build.admin_port, period=5, failures=2),
        "lifecycle": {"preStop": {"exec": {"command": drain}}},
        "resources": _resources(build.resources),
        "securityContext": _security_context(),
        # What is wrong with a configuration is then in the pod's status.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": names.CONFIG_VOLUME, "mountPath": names.CONFIG_DIRECTORY, "readOnly": True},
            {"name": names.RUN_VOLUME, "mountPath": names.RUN_DIRECTORY},
            dict(_NO_TOKEN),
            *(
                {
                    "name": f"{names.SECRET_VOLUME}-{index}",
                    "mountPath": f"{names.SECRETS_DIRECTORY}/{secret}",
                    "readOnly": True,
                }
                for index, secret in enumerate(build.secrets)
            ),
            *([dict(_ACCOUNT)] if build.account_audience is not None else []),
        ],
    }  # fmt: skip
    return {**container, "restartPolicy": "Always"} if build.native else container


def carrier(build: Build) -> dict[str, Any]:
    """Return the init container that brings the carrier."""
    return {
        "name": names.CARRIER,
        "image": build.image,
        "imagePullPolicy": build.image_pull_policy,
        "command": ["sidecar", "carrier", "install", "/carriers"],
        "resources": _resources(build.resources),
        "securityContext": _security_context(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": names.CARRIER, "mountPath": "/carriers"}, dict(_NO_TOKEN)],
    }


def volumes(build: Build, *, has_carrier: bool) -> list[dict[str, Any]]:
    """Return the volumes of both."""
    added: list[dict[str, Any]] = [
        {
            # A whole directory, so that the kubelet's change of the ConfigMap arrives.
            "name": names.CONFIG_VOLUME,
            "configMap": {"name": build.config, "defaultMode": 0o444},
        },
        {"name": names.RUN_VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": names.NO_TOKEN_VOLUME, "emptyDir": {"sizeLimit": "1Mi"}},
        *(
            {
                "name": f"{names.SECRET_VOLUME}-{index}",
                "secret": {"secretName": secret, "defaultMode": 0o444},
            }
            for index, secret in enumerate(build.secrets)
        ),
    ]
    if build.account_audience is not None:
        token = {
            "audience": build.account_audience,
            "expirationSeconds": 3600,
            "path": "token",
        }
        sources = [{"serviceAccountToken": token}]
        projected = {"sources": sources, "defaultMode": 0o444}
        added.append({"name": names.ACCOUNT_VOLUME, "projected": projected})
    if has_carrier:
        added.append({"name": names.CARRIER, "emptyDir": {"sizeLimit": "16Mi"}})
    return added


def _probe(path: str, port: int, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _resources(resources: Resources) -> dict[str, Any]:
    requests = {"cpu": resources.cpu_request, "memory": resources.memory_request}
    limits = {"cpu": resources.cpu_limit, "memory": resources.memory_limit}
    parts = {"requests": requests, "limits": limits}
    return {
        part: written
        for part, amounts in parts.items()
        if (written := {name: amount for name, amount in amounts.items() if amount})
    }


def _security_context() -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": names.UID,
        "runAsGroup": names.UID,
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
