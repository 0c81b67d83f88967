"""The pod's own containers as they are beside a sidecar: ports, probes, hooks, the carrier."""

from collections.abc import Sequence

from sidecar.kubernetes import carriers, ports, probes
from sidecar.kubernetes.annotations import at
from sidecar.kubernetes.meshes import PROXIES
from sidecar.kubernetes.results import JsonObject, Notes
from sidecar.kubernetes.shape import PROBES


def led_to(
    containers: Sequence[JsonObject],
    app: ports.App,
    inbound: int | None,
    relays: probes.Relays | None,
    notes: Notes,
) -> list[JsonObject]:
    """Return *containers* with what led to the app leading to the sidecar.

    Probes go to *relays*, or stay where they are if there are none.
    """
    if app.port is None or inbound is None:
        return list(containers)
    changed: list[JsonObject] = []
    for container in containers:
        is_app = container["name"] == app.container
        result = container
        if relays is not None and container["name"] not in PROXIES:
            result = probes.rewritten(container, relays, None if is_app else app.port)
        if is_app:
            moved = ports.moved_names(container, app.port)
            result = probes.direct(result, moved, PROBES)
            result = probes.with_direct_hooks(result, moved, notes.warnings)
            result = ports.moved(result, app.port, inbound)
        changed.append(result)
    return changed


def sleeping(
    container: JsonObject, seconds: int, *, native: bool, is_asked: bool, notes: Notes
) -> JsonObject:
    """Return *container* with a hook that keeps it serving for a while.

    A hook of its own stays; that is refused if the pod itself *is_asked* for both.
    """
    lifecycle = container.get("lifecycle") or {}
    if lifecycle.get("preStop"):
        if is_asked:
            notes.refusals.append(
                f"{at('app-pre-stop-sleep')}: container {container['name']} has a preStop hook of "
                "its own, and there can be one: sleep there, or remove it"
            )
        return container
    # Clusters without native sidecars have no sleep of their own either.
    command = {"exec": {"command": ["sleep", str(seconds)]}}
    hook = {"sleep": {"seconds": seconds}} if native else command
    return {**container, "lifecycle": {**lifecycle, "preStop": hook}}


def that_load(
    containers: Sequence[JsonObject], asked: Sequence[str], app: ports.App, notes: Notes
) -> tuple[str, ...]:
    """Return the names of those that will load the carrier: the ones *asked* for, or the app's."""
    known = {each["name"]: each for each in containers}
    listed = ", ".join(known)
    chosen = asked or ((app.container,) if app.container is not None else ())
    if not chosen:
        message = f"which containers load the carrier? the pod has {listed}"
        notes.refusals.append(f"{at('carrier-containers')}: {message}")
    loading: list[str] = []
    for name in chosen:
        if (container := known.get(name)) is None:
            wrong = f"there is no container `{name}`; the pod has {listed}"
            notes.refusals.append(f"{at('carrier-containers')}: {wrong}")
            continue
        notes.refusals += carriers.problems_with(container)
        if (obstacle := carriers.obstacle(container)) is not None:
            notes.warnings.append(obstacle)
        else:
            loading.append(name)
    return tuple(loading)


def with_carriers(
    containers: Sequence[JsonObject], loading: Sequence[str], targets: Sequence[str], notes: Notes
) -> list[JsonObject]:
    """Return *containers*, those that are *loading* with the carrier for *targets*."""
    changed: list[JsonObject] = []
    for container in containers:
        result = container
        if container["name"] in loading:
            result, remarks = carriers.loaded(container, targets)
            notes.warnings += remarks
        changed.append(result)
    return changed
