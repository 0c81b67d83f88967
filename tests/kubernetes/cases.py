"""Every kind of pod that can have a sidecar: what comes of each must be a valid pod."""

from collections.abc import Mapping
from typing import Any

from sidecar.kubernetes.settings import InjectorSettings
from tests.kubernetes.pods import CONFIG, IMAGE, container, pod, restricted

_PROBES = {
    "startupProbe": {"tcpSocket": {"port": "http"}, "periodSeconds": 3},
    "livenessProbe": {
        "httpGet": {
            "path": "/live?full=1",
            "port": 8080,
            "scheme": "HTTPS",
            "httpHeaders": [{"name": "X-Probe", "value": "${A} on"}],
        },
        "timeoutSeconds": 4,
        "terminationGracePeriodSeconds": 5,
    },
    "readinessProbe": {"httpGet": {"port": "http"}, "successThreshold": 2},
}
_INIT = {"initContainers": [container("migrate"), container("warm", restartPolicy="Always")]}

CASES: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "smallest": (pod(), {}),
    "restricted": (pod(restricted("app", ("http", 8080))), {}),
    "unnamed port": (pod(container("app", 8080)), {}),
    "no ports": (pod(container("worker")), {}),
    "no ports, two containers": (pod(container("worker"), container("log")), {}),
    "probes": (pod(container("app", ("http", 8080), **_PROBES)), {}),
    "much of its own": (
        pod(
            container(
                "app",
                ("http", 8080),
                env=[{"name": "A", "value": "1"}],
                envFrom=[{"configMapRef": {"name": "c"}}],
                volumeMounts=[{"name": "data", "mountPath": "/data"}],
                livenessProbe={"grpc": {"port": 8080}},
                readinessProbe={"exec": {"command": ["true"]}},
                securityContext={"runAsUser": 1000},
            ),
            annotations={"carrier": "python"},
            volumes=[{"name": "data", "emptyDir": {}}],
            shareProcessNamespace=True,
            terminationGracePeriodSeconds=60,
            nodeSelector={"kubernetes.io/os": "linux"},
            os={"name": "linux"},
        ),
        {},
    ),
    "probes kept": (
        pod(container("app", ("http", 8080), **_PROBES), annotations={"probes": "keep"}),
        {},
    ),
    "hooks": (
        pod(
            container(
                "app",
                ("http", 8080),
                lifecycle={
                    "postStart": {"httpGet": {"path": "/hello", "port": "http"}},
                    "preStop": {"httpGet": {"path": "/bye", "port": 8080}},
                },
            )
        ),
        {},
    ),
    "several ports": (
        pod(container("app", ("http", 8080), ("metrics", 9090)), annotations={"app-port": "http"}),
        {},
    ),
    "several containers": (
        pod(
            container("app", ("http", 8080)),
            container("cache", ("redis", 6379)),
            annotations={"app-container": "app"},
        ),
        {},
    ),
    "port that is not declared": (pod(container("app"), annotations={"app-port": "8080"}), {}),
    "host port": (
        pod(container("app", ports=[{"name": "http", "containerPort": 8080, "hostPort": 80}])),
        {},
    ),
    "init containers": (pod(**_INIT), {}),
    "carrier": (pod(annotations={"carrier": "python"}), {}),
    "carrier behind a PYTHONPATH": (
        pod(
            container("app", ("http", 8080), env=[{"name": "PYTHONPATH", "value": "/app"}]),
            annotations={"carrier": "python", "destinations": "9001=https://profiles.shop"},
            **_INIT,
        ),
        {},
    ),
    "carrier beside a valueFrom": (
        pod(
            container(
                "app",
                ("http", 8080),
                env=[
                    {
                        "name": "PYTHONPATH",
                        "valueFrom": {"configMapKeyRef": {"name": "c", "key": "k"}},
                    }
                ],
            ),
            annotations={"carrier": "python"},
        ),
        {},
    ),
    "everything asked for": (
        pod(
            annotations={
                "inject": "true",
                "config": "jwt-sidecar",
                "secrets": "idp-client, tls",
                "service-account-token": "https://idp.example/realms/shop",
                "app-port": "http",
                "app-container": "app",
                "destinations": "profiles:9001=https://profiles.shop.svc:8443, 9002=http://a.shop",
                "allow-plaintext": "true",
                "carrier": "python",
                "carrier-containers": "app",
                "probes": "rewrite",
                "cpu-request": "20m",
                "cpu-limit": "1",
                "memory-request": "96Mi",
                "memory-limit": "128Mi",
                "native": "true",
                "app-pre-stop-sleep": "5",
                "image": "registry.example/other@sha256:" + "0" * 64,
            }
        ),
        {},
    ),
    "classic": (pod(annotations={"native": "false"}), {}),
    "classic with carrier and sleep": (
        pod(
            annotations={"native": "false", "carrier": "python", "app-pre-stop-sleep": "5"},
            **_INIT,
        ),
        {},
    ),
    "job": (
        pod(container("work"), restartPolicy="Never"),
        {"owner_kind": "Job"},
    ),
    "pod's own security context": (
        pod(
            securityContext={
                "runAsUser": 10001,
                "runAsGroup": 0,
                "fsGroup": 2000,
                "runAsNonRoot": False,
                "seccompProfile": {"type": "Unconfined"},
            }
        ),
        {},
    ),
    "scraped already": (pod(annotations={"prometheus.io/scrape": "true"}), {}),
    "Istio, native": (
        pod(
            initContainers=[
                container("istio-init"),
                container("istio-proxy", restartPolicy="Always"),
                container("migrate"),
            ],
            annotations={"sidecar.istio.io/status": "{}"},
        ),
        {},
    ),
    "Istio, classic": (
        pod(
            container("app", ("http", 8080)),
            container("istio-proxy", 15021),
            annotations={"sidecar.istio.io/status": "{}", "native": "false"},
        ),
        {},
    ),
    "Linkerd, native": (
        pod(
            initContainers=[
                container("linkerd-init"),
                container("linkerd-proxy", restartPolicy="Always"),
            ],
            annotations={"linkerd.io/proxy-version": "stable"},
        ),
        {},
    ),
    "ports of its own": (
        pod(),
        {"config": CONFIG + "inbound: {listen: 0.0.0.0:9443}\nadmin: {listen: 0.0.0.0:9099}\n"},
    ),
    "configuration that says where the app is": (
        pod(container("app", 8080, 9090)),
        {"config": CONFIG + "inbound: {app: http://127.0.0.1:9090}\n"},
    ),
    "configuration for pods that nobody calls": (
        pod(),
        {"config": CONFIG + "inbound: {listen: off}\n"},
    ),
    "injector that loads the carrier": (
        pod(),
        {"settings": InjectorSettings(image=IMAGE, carrier="python", app_pre_stop_sleep=3)},
    ),
}
