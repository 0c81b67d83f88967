"""The carrier in the app's containers: a volume, a mount, and variables, as
``sidecar carrier env python`` prints them."""

from collections.abc import Sequence
from typing import Final

from sidecar.kubernetes import names
from sidecar.kubernetes.results import JsonObject

DIRECTORY: Final = f"{names.CARRIERS_DIRECTORY}/python"
_PATH: Final = "PYTHONPATH"
_MOUNT: Final = {"name": names.CARRIER, "mountPath": names.CARRIERS_DIRECTORY, "readOnly": True}


def problems_with(container: JsonObject) -> Sequence[str]:
    """Return what keeps the carrier out of *container* although the pod asked for it."""
    problems = [
        f"container {container['name']} mounts a volume of its own at {mount['mountPath']}, where "
        "the carrier goes"
        for mount in container.get("volumeMounts") or ()
        if str(mount.get("mountPath", "")).rstrip("/") == names.CARRIERS_DIRECTORY
    ]
    if any(mount.get("name") == names.CARRIER for mount in container.get("volumeMounts") or ()):
        problems.append(f"container {container['name']} mounts a volume named {names.CARRIER}")
    return problems


def obstacle(container: JsonObject) -> str | None:
    """Say why the carrier is not loaded into *container*, or nothing."""
    inherited = _last(container, _PATH)
    if inherited is not None and inherited.get("valueFrom") is not None:
        return (
            f"container {container['name']}: the carrier is not loaded, because {_PATH} comes from "
            f"a valueFrom, to which nothing can be added: write its value out, {DIRECTORY} first"
        )
    return None


def loaded(container: JsonObject, targets: Sequence[str]) -> tuple[JsonObject, tuple[str, ...]]:
    """Return *container* with the carrier, and what there is to say about it.

    *targets* are the listeners that calls must go to for a handle.
    """
    env = [dict(each) for each in container.get("env") or ()]
    warnings: list[str] = []
    inherited = _last(container, _PATH)
    if inherited is None:
        env.append({"name": _PATH, "value": DIRECTORY})
        if container.get("envFrom"):
            warnings.append(
                f"container {container['name']}: a {_PATH} from an envFrom is replaced; write it "
                "under env, so that it is kept behind the carrier's"
            )
    else:
        # The last of several is the one that counts.
        index = max(i for i, each in enumerate(env) if each["name"] == _PATH)
        env[index]["value"] = _prefixed(str(inherited.get("value") or ""))
    given = {each["name"] for each in env}
    variables = {"SIDECAR_CARRIER": "grade=strict"}
    if targets:
        variables["SIDECAR_TARGETS"] = ",".join(targets)
    env += [{"name": k, "value": v} for k, v in variables.items() if k not in given]
    mounts = [*(container.get("volumeMounts") or ()), dict(_MOUNT)]
    return {**container, "env": env, "volumeMounts": mounts}, tuple(warnings)


def _prefixed(inherited: str) -> str:
    if inherited.split(":")[0] == DIRECTORY:
        return inherited
    return f"{DIRECTORY}:{inherited}" if inherited else DIRECTORY


def _last(container: JsonObject, name: str) -> JsonObject | None:
    found = [each for each in container.get("env") or () if each["name"] == name]
    return found[-1] if found else None
