"""What the pod's own part of the configuration says, beside what the ConfigMap says already.

Where the ConfigMap says something itself, that stands, unless the pod says otherwise: no value
may be given twice, so that is refused.
"""

from sidecar.config.elsewhere import RemoteExamination
from sidecar.kubernetes import names
from sidecar.kubernetes.annotations import Wishes, at
from sidecar.kubernetes.pod_config import OFF, ConfigMap, PodConfig, examine
from sidecar.kubernetes.ports import App
from sidecar.kubernetes.probes import Relays
from sidecar.kubernetes.results import Notes


def compose(
    config_map: ConfigMap,
    app: App,
    relays: Relays,
    wishes: Wishes,
    carrier: str | None,
    notes: Notes,
) -> tuple[RemoteExamination, str]:
    """Return what can be said of both parts together, and the text of the pod's.

    *carrier* is the one that the pod loads. *notes* get everything that is wrong.
    """
    part = PodConfig.empty()
    _add_app(part, config_map, app, wishes, notes)
    part.add_destinations(wishes)
    _add_control(part, config_map, notes)
    _add_relays(part, config_map, relays, notes)
    if carrier is not None:
        _add_carrier(part, config_map, carrier, notes)
    found = examine(config_map, part)
    for problem in found.errors:
        way_out = "; or write jwt-sidecar/probes: keep" if problem.file in relays.places else ""
        notes.refusals.append(f"{problem}{way_out}")
    return found, part.text()


def _add_app(
    part: PodConfig, config_map: ConfigMap, app: App, wishes: Wishes, notes: Notes
) -> None:
    written = config_map.at("inbound", "app")
    if app.port is None:
        if written is None and config_map.at("inbound", "listen") is None:
            part.add({"inbound": {"listen": OFF}}, "pod without ports")
    elif written is None:
        place = "declared ports" if wishes.app_port is None else at("app-port")
        part.add({"inbound": {"app": f"http://127.0.0.1:{app.port}"}}, place)
    elif config_map.app_port() is None:
        notes.refusals.append(
            f"{config_map.file}: inbound.app: must be written out, as in http://127.0.0.1:8080: "
            "the pod is made for it"
        )
    elif app.port != config_map.app_port():
        notes.refusals.append(
            f"{at('app-port')}: {config_map.file} says already where the app is, in inbound.app: "
            "remove one of the two"
        )


def _add_control(part: PodConfig, config_map: ConfigMap, notes: Notes) -> None:
    ours = f"unix:{names.CONTROL_SOCKET}"
    if config_map.at("admin", "control") is None:
        part.add({"admin": {"control": ours}}, "injector")
    elif config_map.text_at("admin", "control") != ours:
        notes.refusals.append(
            f"{config_map.file}: admin.control: the pod's hook that lets the sidecar drain asks "
            f"{ours}: remove the line"
        )


def _add_relays(part: PodConfig, config_map: ConfigMap, relays: Relays, notes: Notes) -> None:
    if not relays.items:
        return
    if config_map.at("admin", "app_probes") is None:
        part.add_relays(relays.items, relays.places)
    else:
        notes.refusals.append(
            f"{config_map.file}: admin.app_probes: is written by the injector for each pod: remove "
            "it, or write jwt-sidecar/probes: keep"
        )


def _add_carrier(part: PodConfig, config_map: ConfigMap, carrier: str, notes: Notes) -> None:
    written = config_map.text_at("attribution", "carrier")
    if written is None:
        part.add({"attribution": {"carrier": carrier}}, at("carrier"))
    elif written not in (carrier, "auto"):
        notes.refusals.append(
            f"{config_map.file}: attribution.carrier: is `{written}`, but the pod loads "
            f"`{carrier}`: remove it, or write jwt-sidecar/carrier: none"
        )
