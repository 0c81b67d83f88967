"""Services that would lead past the sidecar: found at admission, whichever comes second.

A Service whose ``targetPort`` is a name follows the pod: the name leads to the sidecar where
there is one, so that a rollout needs no moment at which both change. A number does not. Only
Services that choose pods by labels are looked at: others (``ExternalName``, endpoints kept by
hand) lead where the API server does not see. A headless Service is no exception: controllers
and SRV records read the port of its endpoints, though nothing here can stop a caller that
connects to a pod's address and a port of its own choice. A NetworkPolicy can.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sidecar.kubernetes import names
from sidecar.kubernetes.annotations import annotations_of, labels_of
from sidecar.kubernetes.results import JsonObject
from sidecar.kubernetes.shape import containers_of, ports_of


@dataclass(frozen=True, slots=True)
class Ports:
    """The app's port, the sidecar's in front of it, and a name that leads to the latter."""

    app: int
    inbound: int
    name: str | None


def check_service(service: JsonObject, *, pods: Iterable[JsonObject]) -> str | None:
    """Say why *service* would bypass the sidecars of *pods*, and the line to write; or nothing.

    *pods* are the injected ones of the Service's namespace (``metadata`` and ``spec``, as the
    API server has them); those that the selector does not choose are passed over here.
    """
    for pod in pods:
        if (ports := ports_of_injected(pod)) is not None:
            message = bypass(service, labels=labels_of(pod), ports=ports)
            if message is not None:
                return message
    return None


def ports_of_injected(pod: JsonObject) -> Ports | None:
    """Return the ports of an injected *pod*; ``None`` where it has none, or is not injected."""
    app, _, inbound = str(annotations_of(pod).get(names.PORT, "")).partition("=")
    if not (app.isdecimal() and inbound.isdecimal()):
        return None
    spec = pod.get("spec")
    named = (
        port["name"]
        for container in (containers_of(spec) if isinstance(spec, Mapping) else ())
        for port in ports_of(container)
        if port.get("containerPort") == int(inbound)
        and port.get("name")
        and container.get("name") != names.CONTAINER
    )
    return Ports(int(app), int(inbound), next(named, None))


def bypass(service: JsonObject, *, labels: Mapping[str, Any], ports: Ports) -> str | None:
    """Say how *service* leads to the app's port of a pod with *labels*, or nothing."""
    if not _chooses(service, labels):
        return None
    for port in _tcp_ports(service):
        target = port.get("targetPort")
        if target is None or target == 0:
            target = port.get("port")
        if str(target) != str(ports.app):
            continue
        metadata = service.get("metadata")
        name = metadata.get("name", "") if isinstance(metadata, Mapping) else ""
        if ports.name is not None:
            line = f"targetPort: {ports.name}"
            more = "the name leads to the sidecar in pods that have one, and to the app in others"
        else:
            line = f"targetPort: {ports.inbound}"
            more = (
                "or name the container's port and write that name, which leads to the sidecar in "
                "pods that have one, and to the app in others"
            )
        return (
            f"Service {name}: port {port.get('port')} leads to port {ports.app}, past the sidecar, "
            f"which listens on {ports.inbound}: write `{line}` ({more})"
        )
    return None


def _chooses(service: JsonObject, labels: Mapping[str, Any]) -> bool:
    spec = service.get("spec")
    if not isinstance(spec, Mapping) or spec.get("type") == "ExternalName":
        return False
    selector = spec.get("selector")
    if not isinstance(selector, Mapping) or not selector:
        return False
    return all(labels.get(key) == value for key, value in selector.items())


def _tcp_ports(service: JsonObject) -> Iterator[JsonObject]:
    ports = service["spec"].get("ports")
    for port in ports if isinstance(ports, list) else ():
        if isinstance(port, Mapping) and (port.get("protocol") or "TCP") == "TCP":
            yield port
