"""A pod to the same pod with its sidecar: one function, without I/O and without a clock."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sidecar import __version__
from sidecar.config import endpoints
from sidecar.config.elsewhere import RemoteExamination
from sidecar.config.model import Address
from sidecar.kubernetes import (
    app_containers,
    containers,
    guards,
    meshes,
    names,
    patching,
    ports,
    probes,
    quantities,
    services,
)
from sidecar.kubernetes.annotations import (
    Wishes,
    annotations_of,
    at,
    config_of,
    labels_of,
    wants_none,
)
from sidecar.kubernetes.annotations import parse as parse_annotations
from sidecar.kubernetes.composing import compose
from sidecar.kubernetes.pod_config import ConfigMap, reference_warnings
from sidecar.kubernetes.results import Injected, JsonObject, Notes, Refused, Skipped
from sidecar.kubernetes.settings import InjectorSettings, Resources
from sidecar.kubernetes.shape import (
    containers_of,
    init_containers_of,
    is_native_sidecar,
    problems_of,
)

INJECTED: Final = "injected"
_MIRROR: Final = "kubernetes.io/config.mirror"
_SCRAPE: Final = "prometheus.io/"
DEFAULT_GRACE_SECONDS: Final = 30


def config_name(pod: JsonObject, settings: InjectorSettings) -> str:
    """Return the name of the ConfigMap that ``inject`` will ask for, whatever else is wrong."""
    return config_of(pod, settings)


def is_injected(pod: JsonObject) -> bool:
    """Whether *pod* has a sidecar that came from here."""
    return annotations_of(pod).get(names.STATUS) == INJECTED and _has_container(pod)


def _has_container(pod: JsonObject) -> bool:
    spec = pod["spec"]
    both = (*containers_of(spec), *init_containers_of(spec))
    return any(each["name"] == names.CONTAINER for each in both)


def inject(
    pod: Mapping[str, object],
    *,
    namespace: str,
    owner_kind: str | None,
    settings: InjectorSettings,
    config: Callable[[str], str | None],
    services: Sequence[Mapping[str, object]] = (),
) -> Injected | Skipped | Refused:
    """Return *pod* with its sidecar, or why not.

    *pod* has ``metadata`` and ``spec``: a Pod, or the template of a workload. *owner_kind* is
    ``Job``, ``Deployment``, …; ``None`` for a Pod of its own. *config* gives the text under the
    key ``config.yaml`` of the namespace's ConfigMap of that name, or ``None``. *services* are
    those of the namespace, as far as they are known.

    A pod that is injected already stays as it is, whatever the settings are by now: it is
    injected anew when it is made anew, from a template without sidecar.
    """
    if broken := problems_of(pod):
        return Refused("\n".join(broken))
    if wants_none(pod):
        return Skipped('jwt-sidecar/inject: "false"')
    if _MIRROR in annotations_of(pod):
        return Skipped("it is the mirror of a static pod, which only its node can change")
    if is_injected(pod):
        return _again(pod)
    wishes, wrong = parse_annotations(annotations_of(pod))
    if names.STATUS in annotations_of(pod):
        wrong = (*wrong, f"{at(names.STATUS)}: is written by the injector: remove it")
    if wrong:
        return Refused("\n".join(wrong))
    return _Injection(pod, namespace, owner_kind, settings, wishes).run(config, services)


def _again(pod: JsonObject) -> Injected | Refused:
    native = any(
        each["name"] == names.CONTAINER and is_native_sidecar(each)
        for each in init_containers_of(pod["spec"])
    )
    # A mesh may have come after us: the webhook is then asked once more.
    if native and (reason := meshes.deadlock(pod["spec"])) is not None:
        return Refused(reason)
    return Injected(pod, ())


@dataclass(slots=True)
class _Injection:
    """One pod on its way."""

    pod: JsonObject
    namespace: str
    owner_kind: str | None
    settings: InjectorSettings
    wishes: Wishes
    notes: Notes = field(default_factory=Notes)

    def run(
        self, config: Callable[[str], str | None], known: Sequence[JsonObject]
    ) -> Injected | Refused:
        spec = self.pod["spec"]
        self.notes.refusals += guards.refusals(
            self.pod, native=self.native, owner_kind=self.owner_kind
        )
        if self.native and (reason := meshes.deadlock(spec)) is not None:
            self.notes.refusals.append(reason)
        resources = self._resources()
        if (config_map := self._config_map(config)) is None:
            return self._refused()
        app = self._app(config_map)
        inbound = self._inbound_port(config_map, app)
        admin = self._port(config_map, "admin", config_map.admin_listen(), "the kubelet's probes")
        if app is None or admin is None or (inbound is None and app.port is not None):
            return self._refused()
        relays = probes.Relays(admin, self.notes.warnings)
        rewrites = (self.wishes.probes or self.settings.probes) == "rewrite"
        changed = app_containers.led_to(
            containers_of(spec), app, inbound, relays if rewrites else None, self.notes
        )
        changed = self._with_sleep(app, changed)
        loading = self._that_load_the_carrier(app)
        carrier = self.carrier if loading else None
        found, text = compose(config_map, app, relays, self.wishes, carrier, self.notes)
        self._check_ports(app, inbound, admin, found)
        self._check_services(app, inbound, known)
        if self.notes.refusals:
            return self._refused()
        targets = tuple(str(each.value.listen) for each in found.draft.destinations)
        build = containers.Build(
            image=self.wishes.image or self.settings.image,
            image_pull_policy=self.settings.image_pull_policy,
            native=self.native,
            resources=resources,
            config=config_map.name,
            pod_config=text,
            secrets=self.wishes.secrets,
            account_audience=self.wishes.service_account_token,
            inbound_port=inbound,
            admin_port=admin,
        )
        changed = app_containers.with_carriers(changed, loading, targets, self.notes)
        self._warn(app, found, admin)
        pod = self._assembled(changed, build, app, has_carrier=bool(loading))
        patch = patching.difference(self.pod, pod)
        return Injected(pod, patch, tuple(dict.fromkeys(self.notes.warnings)))

    def _refused(self) -> Refused:
        return Refused("\n".join(dict.fromkeys(self.notes.refusals)))

    # --- what is asked for ---

    @property
    def native(self) -> bool:
        return self.settings.native if self.wishes.native is None else self.wishes.native

    @property
    def carrier(self) -> str:
        return self.wishes.carrier or self.settings.carrier

    @property
    def grace_seconds(self) -> int:
        written = self.pod["spec"].get("terminationGracePeriodSeconds")
        return DEFAULT_GRACE_SECONDS if written is None else int(written)

    def _resources(self) -> Resources:
        asked = {
            name: value
            for name in ("cpu_request", "cpu_limit", "memory_request", "memory_limit")
            if (value := getattr(self.wishes, name)) is not None
        }
        resources = replace(self.settings.resources, **asked)
        for what, request, limit in (
            ("cpu", resources.cpu_request, resources.cpu_limit),
            ("memory", resources.memory_request, resources.memory_limit),
        ):
            if request and limit and quantities.amount(request) > quantities.amount(limit):
                # The one that was not written gives way.
                if f"{what}_request" not in asked:
                    resources = replace(resources, **{f"{what}_request": limit})
                elif f"{what}_limit" not in asked:
                    resources = replace(resources, **{f"{what}_limit": request})
                else:
                    message = f"`{request}` is more than jwt-sidecar/{what}-limit, `{limit}`"
                    self.notes.refusals.append(f"{at(f'{what}-request')}: {message}")
        return resources

    def _config_map(self, config: Callable[[str], str | None]) -> ConfigMap | None:
        name = self.wishes.config or self.settings.config
        if (text := config(name)) is not None:
            return ConfigMap(name, text)
        self.notes.refusals.append(
            f"ConfigMap {name}: there is none in namespace {self.namespace} with the key "
            f"{names.CONFIG_KEY}: create it, or name another one with jwt-sidecar/config"
        )
        return None

    def _app(self, config_map: ConfigMap) -> ports.App | None:
        all_containers = containers_of(self.pod["spec"])
        app = ports.find_app(all_containers, self.wishes, config_map.app_port())
        if not isinstance(app, ports.App):
            self.notes.refusals += app
            return None
        if config_map.is_outbound_only:
            if self.wishes.app_port is not None:
                message = f"{config_map.file} says `inbound.listen: off`: remove one of the two"
                self.notes.refusals.append(f"{at('app-port')}: {message}")
            return ports.App(app.container, None)
        return app

    def _inbound_port(self, config_map: ConfigMap, app: ports.App | None) -> int | None:
        """Return where callers find the sidecar; ``None`` where nobody is meant to call."""
        is_open = not config_map.is_outbound_only and config_map.at("inbound", "listen") is not None
        if app is not None and app.port is None and not is_open:
            return None
        return self._port(config_map, "inbound", config_map.inbound_listen(), "callers")

    def _port(
        self, config_map: ConfigMap, section: str, listen: Address | None, who: str
    ) -> int | None:
        """Return the port of a listener that must be known here, and reached from elsewhere."""
        place = f"{config_map.file}: {section}.listen"
        if listen is None or listen.port == 0:
            self.notes.refusals.append(
                f"{place}: must be written out as an address and a port, as in 0.0.0.0:15406: the "
                "pod is made for it"
            )
            return None
        if endpoints.is_loopback(listen.host):
            self.notes.refusals.append(
                f"{place}: is loopback, where {who} cannot come; write 0.0.0.0:{listen.port}"
            )
        return listen.port

    def _that_load_the_carrier(self, app: ports.App) -> tuple[str, ...]:
        asked = self.wishes.carrier_containers
        if self.carrier != "none":
            if self.wishes.carrier is None and app.container is None and not asked:
                return ()  # the injector's default is for apps that are called
            known = containers_of(self.pod["spec"])
            return app_containers.that_load(known, asked, app, self.notes)
        if asked:
            message = 'has no effect without jwt-sidecar/carrier: "python"'
            self.notes.refusals.append(f"{at('carrier-containers')}: {message}")
        return ()

    def _with_sleep(self, app: ports.App, changed: list[JsonObject]) -> list[JsonObject]:
        asked = self.wishes.app_pre_stop_sleep
        seconds = self.settings.app_pre_stop_sleep if asked is None else asked
        if not seconds:
            return changed
        problems = []
        if seconds >= self.grace_seconds:
            problems.append(
                f"`{seconds}` is not less than the pod's terminationGracePeriodSeconds, "
                f"{self.grace_seconds}"
            )
        if app.container is None:
            problems.append("which container is the app's? write jwt-sidecar/app-container")
        if problems and asked is None:
            return changed  # the injector's default is for pods that it fits
        self.notes.refusals += [f"{at('app-pre-stop-sleep')}: {each}" for each in problems]
        return [
            app_containers.sleeping(
                each, seconds, native=self.native, is_asked=asked is not None, notes=self.notes
            )
            if each["name"] == app.container
            else each
            for each in changed
        ]

    # --- what could go wrong ---

    def _check_ports(
        self, app: ports.App, inbound: int | None, admin: int, found: RemoteExamination
    ) -> None:
        taken = {admin: "the sidecar's admin port"}
        if inbound is not None:
            taken[inbound] = "where the sidecar is called"
        for located in found.draft.listeners:
            if located.value.port:
                taken.setdefault(located.value.port, f"the sidecar's {located.path}")
        spec = self.pod["spec"]
        natives = [each for each in init_containers_of(spec) if is_native_sidecar(each)]
        self.notes.refusals += ports.clashes((*containers_of(spec), *natives), taken, app.port)

    def _check_services(
        self, app: ports.App, inbound: int | None, known: Sequence[JsonObject]
    ) -> None:
        if app.port is None or app.container is None or inbound is None:
            return
        container = self._container(app.container)
        for service in known:
            message = services.bypass(
                service,
                labels=labels_of(self.pod),
                ports=services.Ports(
                    app.port, inbound, next(iter(ports.moved_names(container, app.port)), None)
                ),
            )
            if message is not None:
                self.notes.refusals.append(message)

    def _container(self, name: str) -> JsonObject:
        return next(each for each in containers_of(self.pod["spec"]) if each["name"] == name)

    def _warn(self, app: ports.App, found: RemoteExamination, admin: int) -> None:
        self.notes.warnings += guards.warnings(self.pod)
        self.notes.warnings += meshes.warnings(self.pod, admin, native=self.native)
        if app.port is not None and app.container is not None:
            for other in ports.others_of(self._container(app.container), app.port):
                self.notes.warnings.append(
                    f"container {app.container}: port {other} is not behind the sidecar: whoever "
                    "reaches the pod can call it without a token"
                )
        config = found.config
        if config is not None and config.drain_timeout_seconds >= self.grace_seconds:
            self.notes.warnings.append(
                f"terminationGracePeriodSeconds: {self.grace_seconds} is not more than "
                f"drain_timeout, {config.drain_timeout_seconds:g}s: requests in progress may be cut"
            )
        self._warn_of_scraping(admin)
        self.notes.warnings += [str(problem) for problem in found.warnings]
        self.notes.warnings += reference_warnings(found, self.wishes.secrets)
        if self.wishes.service_account_token is None and config is not None:
            self.notes.warnings += [
                f"clients.{client.name}.assertion_file: nothing is mounted at "
                f"{client.assertion_file}: add the annotation {names.PREFIX}service-account-token "
                "with the audience that the identity provider expects"
                for client in config.clients.values()
                if client.assertion_file.startswith(f"{names.ACCOUNT_DIRECTORY}/")
            ]

    def _warn_of_scraping(self, admin: int) -> None:
        present = sorted(key for key in annotations_of(self.pod) if key.startswith(_SCRAPE))
        if present:
            self.notes.warnings.append(
                f"annotation {present[0]}: is kept, so that Prometheus goes on scraping what it "
                f"says, past the sidecar; the sidecar's own metrics are at port {admin}, /metrics: "
                "scrape them with the PodMonitor"
            )

    # --- the result ---

    def _assembled(
        self,
        changed: list[JsonObject],
        build: containers.Build,
        app: ports.App,
        *,
        has_carrier: bool,
    ) -> JsonObject:
        spec: dict[str, Any] = {**self.pod["spec"]}
        init = list(init_containers_of(spec))
        added = [containers.carrier(build)] if has_carrier else []
        if self.native:
            added.append(containers.sidecar(build))
        else:
            changed = [*changed, containers.sidecar(build)]
        where = meshes.position(init)
        init[where:where] = added
        spec["containers"] = changed
        if init:
            spec["initContainers"] = init
        spec["volumes"] = [
            *(spec.get("volumes") or ()),
            *containers.volumes(build, has_carrier=has_carrier),
        ]
        metadata = {**(self.pod.get("metadata") or {})}
        metadata["annotations"] = {**annotations_of(self.pod), **self._annotations(build, app)}
        metadata["labels"] = {**labels_of(self.pod), names.STATUS: INJECTED}
        return {**self.pod, "metadata": metadata, "spec": spec}

    def _annotations(self, build: containers.Build, app: ports.App) -> dict[str, str]:
        added = {names.STATUS: INJECTED, names.VERSION: __version__}
        if app.port is not None:
            added[names.PORT] = f"{app.port}={build.inbound_port}"
        if not any(key.startswith(_SCRAPE) for key in annotations_of(self.pod)):
            added |= {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(build.admin_port),
                "prometheus.io/path": "/metrics",
            }
        return added
