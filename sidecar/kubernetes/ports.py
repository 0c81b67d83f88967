"""Where the app listens, and how the names of its port come to lead to the sidecar.

A Service that says ``targetPort: http`` finds the number under that name in the pod. So the
name stays where it is, in the app's container, and gets the sidecar's number: a port is a line
of documentation there and binds nothing. Moving the entry to the sidecar's own container
would do only from Kubernetes 1.33 on: before it (kubernetes/kubernetes#128850), and in some
network plugins, names in init containers are not looked for. A ``hostPort`` goes with its entry.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sidecar.kubernetes.annotations import Wishes, at
from sidecar.kubernetes.meshes import PROXIES
from sidecar.kubernetes.results import JsonObject
from sidecar.kubernetes.shape import ports_of


@dataclass(frozen=True, slots=True)
class App:
    """The container that the sidecar stands before."""

    container: str | None
    """``None``: several could be, and nothing depends on which."""
    port: int | None
    """``None``: nothing is known to listen, so that only calls of the app pass the sidecar."""


def find_app(
    containers: Sequence[JsonObject], wishes: Wishes, configured: int | None
) -> App | tuple[str, ...]:
    """Return the app, or what must be said to know it. *configured* is the ConfigMap's port."""
    candidates = [each for each in containers if each["name"] not in PROXIES]
    if wishes.app_container is not None:
        candidates = [each for each in candidates if each["name"] == wishes.app_container]
        if not candidates:
            listed = ", ".join(each["name"] for each in containers)
            wrong = f"there is no container `{wishes.app_container}`; the pod has {listed}"
            return (f"{at('app-container')}: {wrong}",)
    port = _port(candidates, wishes, configured)
    if isinstance(port, tuple):
        return port
    if port is None:
        return App(candidates[0]["name"] if len(candidates) == 1 else None, None)
    declaring = [each for each in candidates if port in _numbers(each)] or candidates
    if len(declaring) == 1:
        return App(declaring[0]["name"], port)
    listed = " or ".join(each["name"] for each in declaring)
    message = f"which of the pod's containers listens on port {port}? write its name: {listed}"
    return (f"{at('app-container')}: {message}",)


def _port(
    candidates: Sequence[JsonObject], wishes: Wishes, configured: int | None
) -> int | tuple[str, ...] | None:
    match wishes.app_port:
        case int(number):
            return number
        case str(name):
            return _named(candidates, name)
        case None:
            pass
    if configured is not None:
        return configured
    declared = {number for each in candidates for number in _numbers(each)}
    if len(declared) > 1:
        shown = "; ".join(_described(each) for each in candidates if _numbers(each))
        message = (
            f"several ports are declared ({shown}); write the number or the name of the one where "
            "the app is called"
        )
        return (f"{at('app-port')}: {message}",)
    return next(iter(declared), None)


def _named(candidates: Sequence[JsonObject], name: str) -> int | tuple[str, ...]:
    numbers = {
        port["containerPort"]
        for each in candidates
        for port in _tcp(each)
        if port.get("name") == name
    }
    if len(numbers) == 1:
        return int(numbers.pop())
    if numbers:
        listed = " or ".join(each["name"] for each in candidates)
        return (f"{at('app-container')}: several have a port `{name}`; write {listed}",)
    known = [port["name"] for each in candidates for port in _tcp(each) if port.get("name")]
    instead = f"; the names are {', '.join(known)}" if known else "; write its number"
    return (f"{at('app-port')}: no container has a TCP port named `{name}`{instead}",)


def _numbers(container: JsonObject) -> set[int]:
    return {port["containerPort"] for port in _tcp(container)}


def _tcp(container: JsonObject) -> Iterator[JsonObject]:
    return (port for port in ports_of(container) if is_tcp(port))


def is_tcp(port: JsonObject) -> bool:
    return (port.get("protocol") or "TCP") == "TCP"


def _described(container: JsonObject) -> str:
    shown = [
        f"{port['containerPort']} ({port['name']})" if port.get("name") else port["containerPort"]
        for port in _tcp(container)
    ]
    return f"{container['name']}: {', '.join(map(str, shown))}"


def others_of(container: JsonObject, app_port: int) -> tuple[int, ...]:
    """Return the TCP ports of the app's container that are not behind the sidecar."""
    return tuple(sorted(_numbers(container) - {app_port}))


def moved_names(container: JsonObject, app_port: int) -> Mapping[str, int]:
    """Return the names that lead to the sidecar from now on, with what they led to."""
    return {
        port["name"]: app_port
        for port in _tcp(container)
        if port["containerPort"] == app_port and port.get("name")
    }


def moved(container: JsonObject, app_port: int, inbound_port: int) -> JsonObject:
    """Return *container* with what led to the app's port leading to the sidecar's."""
    ports = ports_of(container)
    moving = [_leads_to(port, app_port) and _is_followed(port) for port in ports]
    if not any(moving):
        return container
    changed = [
        {**port, "containerPort": inbound_port} if moves else port
        for port, moves in zip(ports, moving, strict=True)
    ]
    if not any(_leads_to(port, app_port) for port in changed):
        changed.append({"containerPort": app_port, "protocol": "TCP"})
    return {**container, "ports": changed}


def _leads_to(port: JsonObject, number: int) -> bool:
    return port["containerPort"] == number and is_tcp(port)


def _is_followed(port: JsonObject) -> bool:
    return bool(port.get("name") or port.get("hostPort"))


def clashes(
    containers: Iterable[JsonObject], taken: Mapping[int, str], app_port: int | None
) -> Iterator[str]:
    """Say which declared ports the sidecar needs for itself; *taken* has a word for each.

    Not the app's: the configuration's own check sees that one, declared or not.
    """
    for container in containers:
        for port in _tcp(container):
            number = port["containerPort"]
            if number in taken and number != app_port:
                yield (
                    f"container {container['name']} declares port {number}, which is "
                    f"{taken[number]}: one of the two must change"
                )
