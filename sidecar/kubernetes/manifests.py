"""A stream of manifests with sidecars in its workloads: what ``sidecar inject`` does.

ConfigMaps and Services of the same stream are what the injector would ask the API server for.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sidecar.kubernetes import names
from sidecar.kubernetes.documents import Document, DocumentError
from sidecar.kubernetes.injection import inject
from sidecar.kubernetes.results import Injected, JsonObject, Refused, Skipped
from sidecar.kubernetes.services import bypass, ports_of_injected
from sidecar.kubernetes.settings import InjectorSettings

_TEMPLATES: Final[Mapping[str, tuple[str, ...]]] = {
    "Pod": (),
    "Deployment": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
"""By kind, where the pod is."""


@dataclass(frozen=True, slots=True)
class Source:
    """A document and the name of the file it came from."""

    file: str
    document: Document


@dataclass(slots=True)
class Outcome:
    """What was done, and what there is to say of it: lines that begin with file and object."""

    refusals: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    injected: int = 0


@dataclass(frozen=True, slots=True)
class _Object:
    source: Source
    at: tuple[str | int, ...]
    """Its path inside the document."""
    value: JsonObject
    namespace: str

    @property
    def kind(self) -> str:
        return str(self.value.get("kind"))

    @property
    def name(self) -> str:
        metadata = self.value.get("metadata")
        found = metadata if isinstance(metadata, Mapping) else {}
        return str(found.get("name") or found.get("generateName") or "")

    def __str__(self) -> str:
        return f"{self.source.file}: {self.kind.lower()}/{self.name}"


def inject_all(
    sources: Sequence[Source],
    known: Sequence[Source],
    *,
    namespace: str,
    settings: InjectorSettings,
) -> Outcome:
    """Put sidecars into all workloads of *sources*, whose documents are changed in place.

    *known* holds more ConfigMaps and Services. *namespace* is that of objects that name none.
    """
    outcome = Outcome()
    objects = list(_objects(sources, namespace, outcome))
    others = list(_objects(known, namespace, outcome))
    config_maps = _config_maps([*objects, *others])
    services = [each for each in (*objects, *others) if each.kind == "Service"]
    for each in objects:
        if (where := _TEMPLATES.get(each.kind)) is not None:
            pod = _inside(each.value, where)
            _inject_one(each, pod, where, config_maps, services, settings, outcome)
    return outcome


def _inject_one(
    each: _Object,
    pod: Any,
    where: tuple[str, ...],
    config_maps: Mapping[tuple[str, str], str],
    services: Sequence[_Object],
    settings: InjectorSettings,
    outcome: Outcome,
) -> None:
    if not isinstance(pod, Mapping):
        outcome.refusals.append(f"{each}: {'.'.join(where)}: must be a map")
        return
    if where and _has_ours(each.value):
        outcome.warnings.append(
            f"{each}: annotations that start with {names.PREFIX} have an effect in "
            f"{'.'.join(where)}.metadata.annotations only"
        )
    here = [other for other in services if other.namespace == each.namespace]
    result = inject(
        pod,
        namespace=each.namespace,
        owner_kind=each.kind if where else None,
        settings=settings,
        config=_of_namespace(config_maps, each.namespace),
        services=[other.value for other in here],
    )
    match result:
        case Skipped(reason=reason):
            outcome.warnings.append(f"{each}: is left as it is: {reason}")
        case Refused(message=message):
            outcome.refusals += [f"{each}: {line}" for line in message.splitlines()]
        case Injected(pod=changed, patch=patch, warnings=warnings):
            outcome.injected += bool(patch)
            outcome.warnings += [f"{each}: {line}" for line in warnings]
            if not patch:
                outcome.refusals += [f"{each}: {line}" for line in _bypassed(changed, here)]
            each.source.document.apply(patch, (*each.at, *where))


def _bypassed(pod: JsonObject, services: Sequence[_Object]) -> Iterator[str]:
    """Say which of *services* lead past the sidecar that *pod* has had before."""
    ports = ports_of_injected(pod)
    labels = (pod.get("metadata") or {}).get("labels") or {}
    for service in services if ports is not None else ():
        assert ports is not None
        if (message := bypass(service.value, labels=labels, ports=ports)) is not None:
            yield message


def _of_namespace(
    config_maps: Mapping[tuple[str, str], str], namespace: str
) -> Callable[[str], str | None]:
    return lambda name: config_maps.get((namespace, name))


def _has_ours(workload: JsonObject) -> bool:
    metadata = workload.get("metadata")
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    return isinstance(annotations, Mapping) and any(
        str(key).startswith(names.PREFIX) for key in annotations
    )


def _config_maps(objects: Sequence[_Object]) -> Mapping[tuple[str, str], str]:
    found: dict[tuple[str, str], str] = {}
    for each in objects:
        data = each.value.get("data")
        text = data.get(names.CONFIG_KEY) if isinstance(data, Mapping) else None
        if each.kind == "ConfigMap" and isinstance(text, str):
            found.setdefault((each.namespace, each.name), text)
    return found


def _objects(sources: Sequence[Source], namespace: str, outcome: Outcome) -> Iterator[_Object]:
    for source in sources:
        try:
            value = source.document.value
        except DocumentError as error:
            outcome.refusals.append(f"{source.file}:{error}")
            continue
        yield from _flattened(source, (), value, namespace, outcome)


def _flattened(
    source: Source, at: tuple[str | int, ...], value: Any, namespace: str, outcome: Outcome
) -> Iterator[_Object]:
    if not isinstance(value, Mapping) or not isinstance(value.get("kind"), str):
        place = f"{source.file}:{source.document.line}"
        outcome.refusals.append(f"{place}: is no Kubernetes object: it has no kind")
        return
    items = value.get("items")
    if value["kind"].endswith("List") and isinstance(items, list):
        for index, item in enumerate(items):
            yield from _flattened(source, (*at, "items", index), item, namespace, outcome)
        return
    metadata = value.get("metadata")
    own = metadata.get("namespace") if isinstance(metadata, Mapping) else None
    yield _Object(source, at, value, own if isinstance(own, str) and own else namespace)


def _inside(value: Any, path: tuple[str, ...]) -> Any:
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
