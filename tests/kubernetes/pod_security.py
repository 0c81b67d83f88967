"""The Pod Security level "restricted", written down from the Pod Security Standards.

https://kubernetes.io/docs/concepts/security/pod-security-standards/, baseline and restricted.
"""

from collections.abc import Iterator, Mapping
from typing import Any

_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "image", "persistentVolumeClaim",
    "projected", "secret",
}  # fmt: skip
_SYSCTLS: set[str] = set()


def violations(pod: Mapping[str, Any]) -> list[str]:
    """Everything in *pod* that the level forbids."""
    return list(_violations(pod["spec"]))


def _violations(spec: Mapping[str, Any]) -> Iterator[str]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            yield key
    context = spec.get("securityContext") or {}
    if context.get("sysctls") or context.get("windowsOptions"):
        yield "pod securityContext"
    for volume in spec.get("volumes") or ():
        kinds = set(volume) - {"name"}
        if not kinds <= _VOLUMES:
            yield f"volume {volume['name']}"
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(kind) or ():
            for message in violations_of_container(container, context):
                yield f"{container['name']}: {message}"


def violations_of_container(
    container: Mapping[str, Any], of_pod: Mapping[str, Any]
) -> Iterator[str]:
    """What the level forbids in one container of a pod with the security context *of_pod*."""
    own = container.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    if own.get("privileged"):
        yield "privileged"
    if own.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation"
    if "ALL" not in capabilities.get("drop", ()):
        yield "capabilities.drop"
    if not set(capabilities.get("add", ())) <= {"NET_BIND_SERVICE"}:
        yield "capabilities.add"
    if own.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot"
    if own.get("runAsUser", of_pod.get("runAsUser")) == 0:
        yield "runAsUser"
    profile = own.get("seccompProfile", of_pod.get("seccompProfile")) or {}
    if profile.get("type") not in ("RuntimeDefault", "Localhost"):
        yield "seccompProfile"
    if own.get("procMount", "Default") != "Default":
        yield "procMount"
    if own.get("seLinuxOptions") or own.get("windowsOptions"):
        yield "seLinuxOptions"
    if any(port.get("hostPort") for port in container.get("ports") or ()):
        yield "hostPort"
    for key in ("startupProbe", "livenessProbe", "readinessProbe"):
        for action in ("httpGet", "tcpSocket"):
            if ((container.get(key) or {}).get(action) or {}).get("host"):
                yield f"{key}.host"
