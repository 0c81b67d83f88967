"""The parts of a pod that are read here, as lists and maps: nothing else has to ask again.

The API server has checked what reaches the webhook; a file that is injected by hand has been
checked by nobody.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sidecar.kubernetes.results import JsonObject

_LISTS: Final = ("containers", "initContainers", "volumes", "ephemeralContainers")
_CONTAINER_LISTS: Final = ("ports", "env", "envFrom", "volumeMounts")
PROBES: Final = ("startupProbe", "livenessProbe", "readinessProbe")
HOOKS: Final = ("postStart", "preStop")


def containers_of(spec: JsonObject) -> Sequence[JsonObject]:
    found: Sequence[JsonObject] = spec.get("containers") or ()
    return found


def init_containers_of(spec: JsonObject) -> Sequence[JsonObject]:
    found: Sequence[JsonObject] = spec.get("initContainers") or ()
    return found


def ports_of(container: JsonObject) -> Sequence[JsonObject]:
    found: Sequence[JsonObject] = container.get("ports") or ()
    return found


def is_native_sidecar(container: JsonObject) -> bool:
    return container.get("restartPolicy") == "Always"


def problems_of(pod: JsonObject) -> tuple[str, ...]:
    """Return what keeps *pod* from being read as a pod."""
    return tuple(_problems(pod))


def _problems(pod: JsonObject) -> Iterator[str]:
    metadata, spec = pod.get("metadata"), pod.get("spec")
    if metadata is not None and not isinstance(metadata, Mapping):
        yield "metadata: must be a map"
    elif metadata:
        for key in ("annotations", "labels"):
            if not isinstance(metadata.get(key) or {}, Mapping):
                yield f"metadata.{key}: must be a map"
    if not isinstance(spec, Mapping):
        yield "spec: must be a map with the pod's containers"
        return
    for key in ("securityContext", "os", "nodeSelector"):
        if not isinstance(spec.get(key) or {}, Mapping):
            yield f"spec.{key}: must be a map"
    if not spec.get("containers"):
        yield "spec.containers: must have at least one container"
    for key in _LISTS:
        yield from _problems_of_list(spec, key, "spec", is_named=True)
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is not None and not isinstance(grace, int):
        yield "spec.terminationGracePeriodSeconds: must be a number"
    for kind in ("containers", "initContainers"):
        found = spec.get(kind)
        if isinstance(found, list):
            for index, container in enumerate(found):
                if isinstance(container, Mapping):
                    yield from _problems_of_container(container, f"spec.{kind}[{index}]")


def _problems_of_list(holder: JsonObject, key: str, path: str, *, is_named: bool) -> Iterator[str]:
    found = holder.get(key)
    if found is None:
        return
    if not isinstance(found, list):
        yield f"{path}.{key}: must be a list"
        return
    for index, item in enumerate(found):
        if not isinstance(item, Mapping):
            yield f"{path}.{key}[{index}]: must be a map"
        elif is_named and not (isinstance(item.get("name"), str) and item["name"]):
            yield f"{path}.{key}[{index}].name: must be a string"


def _problems_of_container(container: JsonObject, path: str) -> Iterator[str]:
    for key in _CONTAINER_LISTS:
        yield from _problems_of_list(container, key, path, is_named=key == "env")
    for index, port in enumerate(_maps(container.get("ports"))):
        number = port.get("containerPort")
        if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= 65535:
            yield f"{path}.ports[{index}].containerPort: must be a number from 1 to 65535"
        if not isinstance(port.get("name") or "", str):
            yield f"{path}.ports[{index}].name: must be a string"
    handlers = [(key, container.get(key)) for key in PROBES]
    if isinstance(context := container.get("securityContext") or {}, Mapping):
        lifecycle = container.get("lifecycle") or {}
        if isinstance(lifecycle, Mapping):
            handlers += [(f"lifecycle.{key}", lifecycle.get(key)) for key in HOOKS]
        else:
            yield f"{path}.lifecycle: must be a map"
    else:
        yield f"{path}.securityContext: must be a map, not {type(context).__name__}"
    for name, handler in handlers:
        if handler is not None:
            yield from _problems_of_handler(handler, f"{path}.{name}")


def _problems_of_handler(handler: Any, path: str) -> Iterator[str]:
    if not isinstance(handler, Mapping):
        yield f"{path}: must be a map"
        return
    for kind in ("httpGet", "tcpSocket"):
        action = handler.get(kind)
        if action is None:
            continue
        if not isinstance(action, Mapping):
            yield f"{path}.{kind}: must be a map"
            continue
        if isinstance(action.get("port"), bool) or not isinstance(action.get("port"), int | str):
            yield f"{path}.{kind}.port: must be a port's number or name"
        for key in ("path", "scheme", "host"):
            if not isinstance(action.get(key) or "", str):
                yield f"{path}.{kind}.{key}: must be a string"
        fields = action.get("httpHeaders") or []
        is_sound = isinstance(fields, list) and all(
            isinstance(each, Mapping)
            and isinstance(each.get("name"), str)
            and isinstance(each.get("value", ""), str)
            for each in fields
        )
        if not is_sound:
            yield f"{path}.{kind}.httpHeaders: must be a list of names and values"
    if not isinstance(handler.get("grpc") or {}, Mapping):
        yield f"{path}.grpc: must be a map"
    timeout = handler.get("timeoutSeconds")
    if timeout is not None and (not isinstance(timeout, int) or isinstance(timeout, bool)):
        yield f"{path}.timeoutSeconds: must be a number"


def _maps(found: Any) -> Iterator[JsonObject]:
    if isinstance(found, list):
        yield from (item for item in found if isinstance(item, Mapping))
