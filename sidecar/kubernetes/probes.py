"""The kubelet's probes of the app, asked by the sidecar on its behalf.

The kubelet has no token, and an app that listens on loopback alone, so that nobody gets past
the sidecar, is out of its reach. So a probe goes to a fixed relay on the admin port, which asks
one path of one port and hands back the status. Hooks stay as they are: one may do something, and
whoever reaches the admin port could then do it too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.kubernetes.results import JsonObject
from sidecar.kubernetes.shape import HOOKS, PROBES

RELAY: Final = "/app-probe/"
_MESH_PORTS: Final = frozenset((15020, 15021, 4191))
"""Where Istio and Linkerd answer probes, their own and those that they took over."""


@dataclass(slots=True)
class Relays:
    """What the sidecar is to ask: each once, however many probes want to know."""

    admin_port: int
    warnings: list[str]
    """Gets what is not relayed, and why."""
    items: list[dict[str, Any]] = field(default_factory=list)
    places: list[str] = field(default_factory=list)
    """For each, the probe that it was first made for."""

    def action(self, relay: dict[str, Any], place: str) -> JsonObject:
        """Return the kubelet's new question."""
        if relay not in self.items:
            self.items.append(relay)
            self.places.append(place)
        path = f"{RELAY}{self.items.index(relay)}"
        return {"path": path, "port": self.admin_port, "scheme": "HTTP"}


def rewritten(container: JsonObject, relays: Relays, only_port: int | None) -> JsonObject:
    """Return *container* with its probes sent to *relays*; those of *only_port* if it is given."""
    changed = dict(container)
    for key in PROBES:
        probe = container.get(key)
        if probe:
            changed[key] = _rewritten(probe, container, key, relays, only_port)
    return changed


def _rewritten(
    probe: JsonObject, container: JsonObject, key: str, relays: Relays, only_port: int | None
) -> JsonObject:
    place = f"container {container['name']}, {key}"
    if probe.get("grpc") and only_port in (None, probe["grpc"].get("port")):
        relays.warnings.append(
            f"{place}: a gRPC probe is not relayed: it reaches the app only as long as that "
            "listens on the pod's address"
        )
    kind = "httpGet" if probe.get("httpGet") else "tcpSocket"
    action = probe.get(kind)
    if not action:
        return probe
    port = number_of(action["port"], container)
    if port in _MESH_PORTS or (only_port is not None and port != only_port):
        return probe
    if (reason := _reason_to_keep(action, port)) is not None:
        relays.warnings.append(f"{place}: is not relayed and stays as it is: {reason}")
        return probe
    timeout = f"{probe.get('timeoutSeconds') or 1}s"
    relay: dict[str, Any] = {"port": port}
    relay |= _http(action) if kind == "httpGet" else {"tcp": True}
    others = {name: value for name, value in probe.items() if name != kind}
    return {"httpGet": relays.action({**relay, "timeout": timeout}, place), **others}


def _reason_to_keep(action: JsonObject, port: int | None) -> str | None:
    if port is None:
        return f"the container has no port named `{action['port']}`"
    if action.get("host"):
        return f"it asks another host, {action['host']}"
    names = [each["name"].lower() for each in action.get("httpHeaders") or ()]
    if len(set(names)) < len(names):
        return "it names a header twice"
    for each in action.get("httpHeaders") or ():
        if str(each.get("value", "")).startswith("file:"):
            return f"the value of {each['name']} would be read as the name of a file"
    return None


def _http(action: JsonObject) -> dict[str, Any]:
    path = action.get("path") or "/"
    relay: dict[str, Any] = {"path": _literal(path if path.startswith("/") else f"/{path}")}
    if (action.get("scheme") or "HTTP") == "HTTPS":
        relay["scheme"] = "https"
    fields = action.get("httpHeaders") or ()
    if fields:
        relay["headers"] = {each["name"]: _literal(each.get("value", "")) for each in fields}
    return relay


def _literal(text: str) -> str:
    """Return *text* as a configuration writes it: ``${`` would be a reference there."""
    return text.replace("${", "$${")


def number_of(port: int | str, container: JsonObject) -> int | None:
    """Return the number that the kubelet finds for *port* of *container*."""
    if isinstance(port, int):
        return port
    for declared in container.get("ports") or ():
        if declared.get("name") == port:
            return int(declared["containerPort"])
    return int(port) if port.isascii() and port.isdecimal() else None


def direct(container: JsonObject, moved: Mapping[str, int], keys: Sequence[str]) -> JsonObject:
    """Return *container* with names of ports that were *moved* replaced in the probes *keys*."""
    changed = {
        key: _with_number(container[key], moved) for key in keys if container.get(key) is not None
    }
    return {**container, **changed}


def with_direct_hooks(
    container: JsonObject, moved: Mapping[str, int], warnings: list[str]
) -> JsonObject:
    """As ``direct``, for the hooks; *warnings* get what those that call the app depend on."""
    lifecycle = container.get("lifecycle")
    if not lifecycle:
        return container
    changed = dict(lifecycle)
    for key in HOOKS:
        hook = lifecycle.get(key)
        if hook and hook.get("httpGet"):
            changed[key] = _with_number(hook, moved)
            warnings.append(
                f"container {container['name']}, lifecycle.{key}: the kubelet calls the app "
                "directly, which works only as long as the app listens on the pod's address"
            )
    return {**container, "lifecycle": changed}


def _with_number(handler: JsonObject, moved: Mapping[str, int]) -> JsonObject:
    changed = dict(handler)
    for kind in ("httpGet", "tcpSocket"):
        action = handler.get(kind)
        if action and action.get("port") in moved:
            changed[kind] = {**action, "port": moved[action["port"]]}
    return changed
