"""Pods that cannot have a sidecar as they are, and what they are told to write."""

from typing import Any

import pytest

from sidecar.kubernetes.settings import InjectorSettings
from tests.kubernetes.pods import CONFIG, IMAGE, Pod, container, injected, pod, refused

_CLASSIC = InjectorSettings(image=IMAGE, native=False)


def _status(given: Pod) -> Pod:
    given["metadata"]["annotations"] = {"jwt-sidecar/status": "injected"}
    return given


REFUSED: list[tuple[Pod, dict[str, Any], str]] = [
    (
        pod(hostNetwork=True), {},
        "hostNetwork: true: the pod has no network of its own, so the sidecar's ports would be the "
        "node's, and every process there could pass it: remove hostNetwork, or leave the pod alone "
        'with jwt-sidecar/inject: "false"',
    ),
    (
        pod(os={"name": "windows"}), {},
        "the pod is for Windows nodes, and the sidecar's image is for Linux: leave",
    ),
    (pod(nodeSelector={"kubernetes.io/os": "windows"}), {}, "the pod is for Windows nodes"),
    (
        pod(container("app", 8080), container("jwt-sidecar")), {},
        "container jwt-sidecar: names that start with jwt-sidecar are the injector's: rename it",
    ),
    (pod(initContainers=[container("jwt-sidecar-x")]), {}, "init container jwt-sidecar-x: names"),
    (pod(volumes=[{"name": "jwt-sidecar-run"}]), {}, "volume jwt-sidecar-run: names that start"),
    (
        pod(container("app", ("sidecar-in", 8080))), {},
        "container app: the port name sidecar-in is the injector's: rename it",
    ),
    (
        _status(pod()), {},
        "annotation jwt-sidecar/status: is written by the injector: remove it",
    ),
    (
        pod(annotations={"native": "false"}), {"owner_kind": "Job"},
        "annotation jwt-sidecar/native: this Job would never complete, because a sidecar that is "
        'an ordinary container goes on running: write jwt-sidecar/native: "true" (Kubernetes '
        '1.29), or leave the pod alone with jwt-sidecar/inject: "false"',
    ),
    (pod(), {"owner_kind": "CronJob", "settings": _CLASSIC}, "this CronJob would never complete"),
    (
        pod(restartPolicy="OnFailure"), {"settings": _CLASSIC},
        "a pod with restartPolicy: OnFailure would never complete",
    ),
    (
        pod(shareProcessNamespace=True, securityContext={"runAsUser": 10001}), {},
        "container app runs as user 10001, as the sidecar does, and sees its processes: it could "
        "read tokens from its memory. Give it another runAsUser, or remove shareProcessNamespace",
    ),
    (
        pod(container("app", 8080, securityContext={"runAsUser": 10001}), hostPID=True), {},
        "container app runs as user 10001",
    ),
    (
        pod(), {"config": None},
        "ConfigMap jwt-sidecar: there is none in namespace shop with the key config.yaml: create "
        "it, or name another one with jwt-sidecar/config",
    ),
    (
        pod(annotations={"config": "other"}), {},
        "ConfigMap other: there is none in namespace shop",
    ),
    # --- the app's port ---
    (
        pod(container("app", ("http", 8080), 9090)), {},
        "annotation jwt-sidecar/app-port: several ports are declared (app: 8080 (http), 9090); "
        "write the number or the name of the one where the app is called",
    ),
    (
        pod(container("app", ("http", 8080)), container("cache", ("redis", 6379))), {},
        "several ports are declared (app: 8080 (http); cache: 6379 (redis)); write the number",
    ),
    (
        pod(container("app", 8080), container("twin", 8080)), {},
        "annotation jwt-sidecar/app-container: which of the pod's containers listens on port 8080? "
        "write its name: app or twin",
    ),
    (
        pod(container("app"), container("log"), annotations={"app-port": "8080"}), {},
        "which of the pod's containers listens on port 8080? write its name: app or log",
    ),
    (
        pod(container("a", ("http", 80)), container("b", ("http", 81)),
            annotations={"app-port": "http"}), {},
        "annotation jwt-sidecar/app-container: several have a port `http`; write a or b",
    ),
    (
        pod(container("app", 8080), annotations={"app-port": "http"}), {},
        "no container has a TCP port named `http`; write its number",
    ),
    (
        pod(container("app", ports=[{"name": "dns", "containerPort": 53, "protocol": "UDP"}]),
            annotations={"app-port": "dns"}), {},
        "no container has a TCP port named `dns`; write its number",
    ),
    # --- ports that clash ---
    (
        pod(container("app", 15406)), {},
        "declared ports: inbound.app: is where the sidecar itself listens: inbound.listen",
    ),
    (
        pod(container("app", 8080), container("other", 15490), annotations={"app-port": "8080"}),
        {},
        "container other declares port 15490, which is the sidecar's admin port: one of the two",
    ),
    (
        pod(container("app", 8080), container("other", 9001),
            annotations={"app-port": "8080", "destinations": "9001=https://a.shop"}), {},
        "container other declares port 9001, which is the sidecar's outbound.destinations.a.listen",
    ),
    (
        pod(initContainers=[container("proxy", 15406, restartPolicy="Always")]), {},
        "container proxy declares port 15406, which is where the sidecar is called",
    ),
    # --- what the configuration says ---
    (
        pod(), {"config": CONFIG + "inbound: {listen: 127.0.0.1:15406}\n"},
        "ConfigMap jwt-sidecar, config.yaml: inbound.listen: is loopback, where callers cannot "
        "come; write 0.0.0.0:15406",
    ),
    (
        pod(), {"config": CONFIG + "admin: {listen: 127.0.0.1:15490}\n"},
        "admin.listen: is loopback, where the kubelet's probes cannot come; write 0.0.0.0:15490",
    ),
    (
        pod(), {"config": CONFIG + "admin: {listen: 0.0.0.0:0}\n"},
        "admin.listen: must be written out as an address and a port, as in 0.0.0.0:15406",
    ),
    (
        pod(), {"config": CONFIG + 'inbound: {listen: "0.0.0.0:${PORT}"}\n'},
        "inbound.listen: must be written out as an address and a port",
    ),
    (
        pod(), {"config": CONFIG + "admin: {control: off}\n"},
        "ConfigMap jwt-sidecar, config.yaml: admin.control: the pod's hook that lets the sidecar "
        "drain asks unix:/run/sidecar/control.sock: remove the line",
    ),
    (
        pod(annotations={"app-port": "8080"}),
        {"config": CONFIG + "inbound: {app: http://127.0.0.1:9090}\n"},
        "annotation jwt-sidecar/app-port: ConfigMap jwt-sidecar, config.yaml says already where "
        "the app is, in inbound.app: remove one of the two",
    ),
    (
        pod(), {"config": CONFIG + 'inbound: {app: "http://127.0.0.1:${PORT}"}\n'},
        "ConfigMap jwt-sidecar, config.yaml: inbound.app: must be written out, as in "
        "http://127.0.0.1:8080: the pod is made for it",
    ),
    (
        pod(annotations={"carrier": "python"}),
        {"config": CONFIG + "attribution: {carrier: opentelemetry}\n"},
        "ConfigMap jwt-sidecar, config.yaml: attribution.carrier: is `opentelemetry`, but the pod "
        "loads `python`: remove it, or write jwt-sidecar/carrier: none",
    ),
    (
        pod(annotations={"destinations": "a:9001=https://a.shop"}),
        {"config": CONFIG + "outbound: {destinations: {a: {listen: 127.0.0.1:9001, upstream: "
                            "https://a.shop}}}\n"},
        "annotation jwt-sidecar/destinations: outbound.destinations.a.listen: is given twice; the "
        "first is at ConfigMap jwt-sidecar, config.yaml:4:31",
    ),
    # --- what is no pod ---
    ({"spec": {}}, {}, "spec.containers: must have at least one container"),
    ({"metadata": {}, "spec": None}, {}, "spec: must be a map with the pod's containers"),
    ({"spec": {"containers": 1}}, {}, "spec.containers: must be a list"),
    (pod(container("app", ports=[{"containerPort": "80"}])), {}, "spec.containers[0].ports[0]."),
    (pod(container("app", env={"A": "1"})), {}, "spec.containers[0].env: must be a list"),
    (pod({"image": "x"}), {}, "spec.containers[0].name: must be a string"),
    (pod(container("app", livenessProbe=[])), {}, "containers[0].livenessProbe: must be a map"),
    (
        pod(container("app", livenessProbe={"httpGet": {"port": None}})), {},
        "spec.containers[0].livenessProbe.httpGet.port: must be a port's number or name",
    ),
    (
        pod(container("app", livenessProbe={"httpGet": {"port": 1, "httpHeaders": {"a": "b"}}})),
        {}, "livenessProbe.httpGet.httpHeaders: must be a list of names and values",
    ),
    (
        pod(container("app", livenessProbe={"httpGet": {"port": 1}, "timeoutSeconds": True})), {},
        "spec.containers[0].livenessProbe.timeoutSeconds: must be a number",
    ),
    (
        pod(container("app", livenessProbe={"httpGet": {"port": 1, "httpHeaders": [{"name": 1}]}})),
        {}, "livenessProbe.httpGet.httpHeaders: must be a list of names and values",
    ),
    (pod(container("app", livenessProbe={"timeoutSeconds": "1"})), {}, "timeoutSeconds: must be"),
    (pod(container("app", livenessProbe={"grpc": 1})), {}, "livenessProbe.grpc: must be a map"),
    (pod(container("app", lifecycle="x")), {}, "spec.containers[0].lifecycle: must be a map"),
    (pod(terminationGracePeriodSeconds="30"), {}, "terminationGracePeriodSeconds: must be a"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "more", "message"), REFUSED)
def test_refused(given: Pod, more: dict[str, Any], message: str) -> None:
    """Each is refused in words of its own, which say what to write."""
    assert message in refused(given, **more)


def test_all_at_once() -> None:
    """Everything that stands in the way is said at once, a line each."""
    given = pod(
        container("app", ("http", 8080), 9090),
        hostNetwork=True,
        volumes=[{"name": "jwt-sidecar-run"}],
        os={"name": "windows"},
    )
    assert len(refused(given).splitlines()) == 4


CONFIGURATIONS = [
    (
        "version: 1\nissuers: {shop: {issuer: https://idp.example, audiences: [a]}}\n"
        "inbound:\n  rules:\n  - {paths: [healthz], allow: anyone}\n",
        "ConfigMap jwt-sidecar, config.yaml:5:14: inbound.rules[0].paths[0]: `healthz` must start "
        "with `/` (did you mean `/healthz`?)",
    ),
    (
        "version: 1\nissuer: {}\n",
        "ConfigMap jwt-sidecar, config.yaml:2:1: issuer: unknown key (did you mean `issuers`?)",
    ),
    ("version: 1\n\tx", "ConfigMap jwt-sidecar, config.yaml:2:1: "),
    ("", "ConfigMap jwt-sidecar, config.yaml:1:1: the file is empty"),
    ("- a\n", "ConfigMap jwt-sidecar, config.yaml:1:1: must be a map of keys such as"),
    (
        CONFIG + "inbound: {tls: {certificate: a.pem}}\n",
        "ConfigMap jwt-sidecar, config.yaml:4:16: inbound.tls.key: is required",
    ),
    (
        CONFIG + 'inbound: {via: "${BROKEN"}\n',
        "inbound.via: `${BROKEN` holds `${` without a variable name and `}`; `$${` is a literal",
    ),
    (CONFIG + "x" * (1 << 20) + ": 1\n", "ConfigMap jwt-sidecar, config.yaml: is larger than"),
]


@pytest.mark.parametrize(("config", "message"), CONFIGURATIONS)
def test_configuration(config: str, message: str) -> None:
    """What is wrong with the ConfigMap is said as `sidecar check` says it, line and column too."""
    assert message in refused(pod(), config=config)


def test_elsewhere() -> None:
    """References and files are where the sidecar will run: nothing of them is missed here."""
    config = """\
version: 1
issuers:
  shop:
    issuer: https://idp.example
    audiences: ["${SIDECAR_POD_NAMESPACE}"]
    ca: ca.pem
    introspection:
      url: https://idp.example/introspect
      client_id: orders
      client_secret: file:/etc/sidecar-secrets/idp/secret
  second: {issuer: https://other.example, audiences: [a], jwks_file: keys.json}
inbound:
  tls: {certificate: /etc/sidecar-secrets/tls/tls.crt, key: /etc/sidecar-secrets/tls/tls.key}
"""
    assert injected(pod(annotations={"secrets": "idp,tls"}), config=config).warnings == ()
    assert injected(pod(annotations={"secrets": "tls"}), config=config).warnings == (
        "ConfigMap jwt-sidecar, config.yaml:10:22: warning: issuers.shop.introspection."
        "client_secret: `file:/etc/sidecar-secrets/idp/secret` is in a Secret that the pod does "
        "not mount: add idp to jwt-sidecar/secrets",
    )


REFERENCES = [
    (
        "${CLIENT_SECRET}",
        "`${CLIENT_SECRET}` names a variable that the injected container does not",
    ),
    ("file:/run/secret", "`file:/run/secret` is not in the injected container: only the ConfigMap"),
]


@pytest.mark.parametrize(("reference", "warning"), REFERENCES)
def test_references(reference: str, warning: str) -> None:
    """A reference that leads nowhere in the pod is warned about, with a way that does."""
    config = (
        "version: 1\nissuers:\n  shop:\n    issuer: https://idp.example\n    audiences: [a]\n"
        "    introspection: {url: https://idp.example/i, client_id: a, client_secret: "
        f"'{reference}'}}\n"
    )
    (found,) = injected(pod(), config=config).warnings
    assert found.startswith("ConfigMap jwt-sidecar, config.yaml:6:")
    assert warning in found


@pytest.mark.parametrize(
    "reference", ["file:secret", "file:/etc/sidecar/secret", "${SIDECAR_POD_NAME}"]
)
def test_references_that_are_there(reference: str) -> None:
    """What is in the ConfigMap itself, and what the injector sets, is there."""
    config = (
        "version: 1\nissuers:\n  shop:\n    issuer: https://idp.example\n    audiences: [a]\n"
        "    introspection: {url: https://idp.example/i, client_id: a, client_secret: "
        f"'{reference}'}}\n"
    )
    assert injected(pod(), config=config).warnings == ()


def test_configuration_warnings() -> None:
    """What `sidecar check` warns about is passed on."""
    config = 'version: 1\nissuers: {shop: {issuer: "https://idp.example", audiences: any}}\n'
    (found,) = injected(pod(), config=config).warnings
    assert found.startswith("ConfigMap jwt-sidecar, config.yaml:2:")
    assert "`any` accepts a token" in found


def test_shared_processes() -> None:
    """Containers that see the sidecar's processes are warned about, if they are not refused."""
    for key in ("shareProcessNamespace", "hostPID"):
        (found,) = injected(pod(**{key: True})).warnings
        assert found.startswith(f"{key}: true: containers that run as user 10001")


def test_same_user_apart() -> None:
    """The sidecar's user is the app's to have, as long as neither sees the other's processes."""
    assert injected(pod(securityContext={"runAsUser": 10001})).warnings == ()
