"""Istio and Linkerd beside us: what their proxies do to ours.

Both leave connections to loopback alone, so that the app reaches the sidecar, and both hand
what they took from the network to the port it was for, so that the sidecar is reached. What
matters is the order of the start: once such a proxy's init container has redirected the
pod's traffic, nothing is reached before that proxy runs. A native sidecar of ours would then
wait for keys, and the proxy, an ordinary container, for us.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sidecar.kubernetes.annotations import annotations_of
from sidecar.kubernetes.results import JsonObject
from sidecar.kubernetes.shape import containers_of, init_containers_of, is_native_sidecar


@dataclass(frozen=True, slots=True)
class _Mesh:
    name: str
    proxy: str
    prepares: tuple[str, ...]
    """Its init containers that run once."""
    how_native: str


_MESHES: Final = (
    _Mesh(
        "Istio", "istio-proxy", ("istio-init", "istio-validation"),
        "let Istio use native sidecars (istiod's ENABLE_NATIVE_SIDECARS=true)",
    ),
    _Mesh(
        "Linkerd", "linkerd-proxy", ("linkerd-init", "linkerd-network-validator"),
        'let Linkerd use one (config.alpha.linkerd.io/proxy-enable-native-sidecar: "true")',
    ),
)  # fmt: skip

PROXIES: Final = frozenset(each.proxy for each in _MESHES)
_BEFORE_US: Final = PROXIES.union(*(each.prepares for each in _MESHES))

_EXCLUDED: Final = "traffic.sidecar.istio.io/excludeInboundPorts"
_LINKERD_INJECT: Final = "linkerd.io/inject"
_LINKERD_NATIVE: Final = "config.alpha.linkerd.io/proxy-enable-native-sidecar"


def position(init_containers: list[JsonObject]) -> int:
    """Return where a native sidecar of ours belongs: first, but after a mesh's.

    First, because the app's own init containers may call out, and are then served too.
    """
    after = [index + 1 for index, each in enumerate(init_containers) if each["name"] in _BEFORE_US]
    return max(after, default=0)


def deadlock(spec: JsonObject) -> str | None:
    """Say why a native sidecar of ours would never start, or nothing."""
    beside = {each["name"] for each in containers_of(spec)}
    for mesh in _MESHES:
        if mesh.proxy in beside:
            return (
                f"{mesh.name}'s proxy is an ordinary container here, and starts only after the "
                f"sidecar, which could not fetch keys without it: {mesh.how_native}, or write "
                'jwt-sidecar/native: "false"'
            )
    return None


def warnings(pod: JsonObject, admin_port: int, *, native: bool) -> Iterator[str]:
    """Say what a mesh in *pod* needs to be told."""
    spec, annotations = pod["spec"], annotations_of(pod)
    running = {each["name"] for each in containers_of(spec)}
    running |= {each["name"] for each in init_containers_of(spec) if is_native_sidecar(each)}
    if "istio-proxy" in running:
        excluded = str(annotations.get(_EXCLUDED, "")).replace(" ", "").split(",")
        if str(admin_port) not in excluded and "*" not in excluded:
            yield (
                f"Istio takes the kubelet's probes and Prometheus to port {admin_port} for callers "
                f'without mTLS: add {_EXCLUDED}: "{admin_port}" to the pod template'
            )
    is_expected = annotations.get(_LINKERD_INJECT) in ("enabled", "ingress")
    is_native = annotations.get(_LINKERD_NATIVE) == "true"
    if native and is_expected and not is_native and "linkerd-proxy" not in running:
        yield (
            "Linkerd will add its proxy as an ordinary container, and the sidecar cannot fetch "
            f'keys before that runs: add {_LINKERD_NATIVE}: "true", or jwt-sidecar/native: "false"'
        )
