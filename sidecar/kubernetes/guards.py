"""What a pod must not be, to have a sidecar: each with what to write instead."""

from collections.abc import Iterator
from typing import Final

from sidecar.kubernetes import names
from sidecar.kubernetes.annotations import at
from sidecar.kubernetes.results import JsonObject
from sidecar.kubernetes.shape import containers_of, init_containers_of, ports_of

LEAVE: Final = 'leave the pod alone with jwt-sidecar/inject: "false"'
OPT_OUT: Final = f"or {LEAVE}"

_RUN_TO_COMPLETION: Final = ("Job", "CronJob")


def refusals(pod: JsonObject, *, native: bool, owner_kind: str | None) -> Iterator[str]:
    """Say what stands in the way in *pod*, which has no sidecar yet."""
    spec = pod["spec"]
    if spec.get("hostNetwork"):
        yield (
            "hostNetwork: true: the pod has no network of its own, so the sidecar's ports would be "
            f"the node's, and every process there could pass it: remove hostNetwork, {OPT_OUT}"
        )
    if is_windows(spec):
        yield f"the pod is for Windows nodes, and the sidecar's image is for Linux: {LEAVE}"
    yield from _names_taken(spec)
    if not native:
        yield from _never_done(spec, owner_kind)
    if spec.get("shareProcessNamespace") or spec.get("hostPID"):
        yield from _same_user(spec)


def is_windows(spec: JsonObject) -> bool:
    operating_system = (spec.get("os") or {}).get("name")
    selected = (spec.get("nodeSelector") or {}).get("kubernetes.io/os")
    return "windows" in (operating_system, selected)


def _names_taken(spec: JsonObject) -> Iterator[str]:
    for kind, items in (
        ("container", containers_of(spec)),
        ("init container", init_containers_of(spec)),
        ("volume", spec.get("volumes") or ()),
    ):
        for each in items:
            name = each["name"]
            if name == names.RESERVED or name.startswith(f"{names.RESERVED}-"):
                yield (
                    f"{kind} {name}: names that start with {names.RESERVED} are the injector's: "
                    "rename it, or remove it if it is left over from an earlier injection"
                )
    for container in (*containers_of(spec), *init_containers_of(spec)):
        for port in ports_of(container):
            if port.get("name") in (names.INBOUND_PORT_NAME, names.ADMIN_PORT_NAME):
                yield (
                    f"container {container['name']}: the port name {port['name']} is the "
                    "injector's: rename it"
                )


def _never_done(spec: JsonObject, owner_kind: str | None) -> Iterator[str]:
    what = None
    if owner_kind in _RUN_TO_COMPLETION:
        what = f"this {owner_kind}"
    elif (spec.get("restartPolicy") or "Always") != "Always":
        what = f"a pod with restartPolicy: {spec['restartPolicy']}"
    if what is not None:
        yield (
            f"{at('native')}: {what} would never complete, because a sidecar that is an ordinary "
            'container goes on running: write jwt-sidecar/native: "true" (Kubernetes 1.29), '
            f"{OPT_OUT}"
        )


def _same_user(spec: JsonObject) -> Iterator[str]:
    of_pod = (spec.get("securityContext") or {}).get("runAsUser")
    for container in (*containers_of(spec), *init_containers_of(spec)):
        user = (container.get("securityContext") or {}).get("runAsUser", of_pod)
        if user == names.UID:
            yield (
                f"container {container['name']} runs as user {names.UID}, as the sidecar does, and "
                "sees its processes: it could read tokens from its memory. Give it another "
                "runAsUser, or remove shareProcessNamespace and hostPID"
            )


def warnings(pod: JsonObject) -> Iterator[str]:
    """Say what weakens the sidecar without being in its way."""
    spec = pod["spec"]
    for key in ("shareProcessNamespace", "hostPID"):
        if spec.get(key):
            yield (
                f"{key}: true: containers that run as user {names.UID}, as one with CAP_SYS_PTRACE "
                "or one whose image says so, can read the sidecar's memory, and tokens in it"
            )
