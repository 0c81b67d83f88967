"""The pod that comes out: what the sidecar's container is, where it stands, what it is told."""

from pathlib import Path

import pytest

from sidecar.config.load import examine
from sidecar.kubernetes.results import Skipped
from sidecar.kubernetes.settings import InjectorSettings
from tests.kubernetes.cases import CASES
from tests.kubernetes.pods import (
    CONFIG,
    IMAGE,
    NO_TOKEN,
    app_of,
    container,
    injected,
    named,
    offered,
    pod,
    pod_config,
    refused,
    sidecar_of,
)


def test_native() -> None:
    """The sidecar is an init container that keeps running, before the app's own."""
    result = injected(pod(**CASES["init containers"][0]["spec"]))
    init = result.pod["spec"]["initContainers"]
    assert [each["name"] for each in init] == ["jwt-sidecar", "migrate", "warm"]
    assert init[0]["restartPolicy"] == "Always"


def test_classic() -> None:
    """For older clusters it is a container behind the app's."""
    result = injected(pod(annotations={"native": "false"}))
    spec = result.pod["spec"]
    assert [each["name"] for each in spec["containers"]] == ["app", "jwt-sidecar"]
    assert "restartPolicy" not in spec["containers"][1]
    # It would be ended together with the app: so it waits for that.
    assert spec["containers"][1]["lifecycle"]["preStop"]["exec"]["command"][-1] == "--wait"
    assert "initContainers" not in spec
    by_setting = InjectorSettings(image=IMAGE, native=False)
    assert "initContainers" not in injected(pod(), settings=by_setting).pod["spec"]
    asked = pod(annotations={"native": "true"})
    assert "initContainers" in injected(asked, settings=by_setting).pod["spec"]


def test_container() -> None:
    """Probes ask the admin port, the hook drains, and no token of the pod's account is mounted."""
    found = sidecar_of(injected(pod()))
    assert found["command"] == [
        "sidecar", "run", "--config", "/etc/sidecar/config.yaml",
        "--config", "env:SIDECAR_POD_CONFIG",
    ]  # fmt: skip
    probes = {
        key: (found[key]["httpGet"]["path"], found[key]["httpGet"]["port"])
        for key in ("startupProbe", "livenessProbe", "readinessProbe")
    }
    assert probes == {
        "startupProbe": ("/startupz", 15490),
        "livenessProbe": ("/livez", 15490),
        "readinessProbe": ("/readyz", 15490),
    }
    assert found["lifecycle"] == {
        "preStop": {
            "exec": {"command": ["sidecar", "drain", "--control", "/run/sidecar/control.sock"]}
        }
    }
    assert found["volumeMounts"] == [
        {"name": "jwt-sidecar-config", "mountPath": "/etc/sidecar", "readOnly": True},
        {"name": "jwt-sidecar-run", "mountPath": "/run/sidecar"},
        NO_TOKEN,
    ]
    assert {
        each["name"]: each["valueFrom"]["fieldRef"]["fieldPath"]
        for each in found["env"]
        if "valueFrom" in each
    } == {
        "SIDECAR_POD_NAME": "metadata.name",
        "SIDECAR_POD_NAMESPACE": "metadata.namespace",
        "SIDECAR_POD_IPS": "status.podIPs",
        "SIDECAR_NODE_NAME": "spec.nodeName",
    }
    assert {"name": "SIDECAR_CONTROL", "value": "/run/sidecar/control.sock"} in found["env"]
    assert [(each["name"], each["containerPort"]) for each in found["ports"]] == [
        ("sidecar-in", 15406),
        ("sidecar-admin", 15490),
    ]


def test_volumes() -> None:
    """The ConfigMap is a whole directory, which follows its changes; Secrets are beside it."""
    result = injected(pod(annotations={"secrets": "idp, tls"}, volumes=[{"name": "own"}]))
    volumes = result.pod["spec"]["volumes"]
    assert volumes == [
        {"name": "own"},
        {"name": "jwt-sidecar-config", "configMap": {"name": "jwt-sidecar", "defaultMode": 0o444}},
        {"name": "jwt-sidecar-run", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "jwt-sidecar-no-token", "emptyDir": {"sizeLimit": "1Mi"}},
        {"name": "jwt-sidecar-secret-0", "secret": {"secretName": "idp", "defaultMode": 0o444}},
        {"name": "jwt-sidecar-secret-1", "secret": {"secretName": "tls", "defaultMode": 0o444}},
    ]
    mounts = {m["name"]: m for m in sidecar_of(result)["volumeMounts"]}
    assert not any("subPath" in mount for mount in mounts.values())
    assert mounts["jwt-sidecar-secret-1"] == {
        "name": "jwt-sidecar-secret-1",
        "mountPath": "/etc/sidecar-secrets/tls",
        "readOnly": True,
    }


def test_a_token_of_the_pods_account() -> None:
    """For one audience, renewed by the kubelet, and for the sidecar's eyes alone."""
    wishes = {"service-account-token": "https://idp.example"}
    result = injected(pod(annotations=wishes))
    (volume,) = [v for v in result.pod["spec"]["volumes"] if v["name"] == "jwt-sidecar-account"]
    token = {"audience": "https://idp.example", "expirationSeconds": 3600, "path": "token"}
    assert volume["projected"] == {
        "sources": [{"serviceAccountToken": token}],
        "defaultMode": 0o444,
    }
    mount = {"name": "jwt-sidecar-account", "mountPath": "/var/run/secrets/jwt-sidecar"}
    assert {**mount, "readOnly": True} in sidecar_of(result)["volumeMounts"]
    app = result.pod["spec"]["containers"][0]
    assert not any(m["name"] == "jwt-sidecar-account" for m in app.get("volumeMounts", ()))


def test_an_account_token_that_nothing_mounts() -> None:
    """A client that shows it would find no file: that is said before the pod starts."""
    config = CONFIG + (
        "clients:\n  idp: {token_endpoint: 'https://idp.example/t', client_id: us,\n"
        "    auth: client_assertion_file, assertion_file: /var/run/secrets/jwt-sidecar/token}\n"
    )
    (told,) = injected(pod(), config=config).warnings
    assert "clients.idp.assertion_file" in told
    assert "jwt-sidecar/service-account-token" in told
    wishes = {"service-account-token": "https://idp.example"}
    assert injected(pod(annotations=wishes), config=config).warnings == ()


def test_status() -> None:
    """The pod says that it is injected, by whom, and which port is in front of which."""
    metadata = injected(pod()).pod["metadata"]
    assert metadata["labels"] == {"app": "orders", "jwt-sidecar/status": "injected"}
    assert metadata["annotations"]["jwt-sidecar/status"] == "injected"
    assert metadata["annotations"]["jwt-sidecar/port"] == "8080=15406"
    assert "jwt-sidecar/version" in metadata["annotations"]


def test_scraping() -> None:
    """Prometheus finds the sidecar, unless the pod says something of that already."""
    result = injected(pod())
    assert {
        key: value
        for key, value in result.pod["metadata"]["annotations"].items()
        if key.startswith("prometheus.io/")
    } == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "15490",
        "prometheus.io/path": "/metrics",
    }
    kept = injected(pod(annotations={"prometheus.io/port": "8080"}))
    assert "prometheus.io/scrape" not in kept.pod["metadata"]["annotations"]
    assert kept.pod["metadata"]["annotations"]["prometheus.io/port"] == "8080"
    assert kept.warnings == (
        "annotation prometheus.io/port: is kept, so that Prometheus goes on scraping what it says, "
        "past the sidecar; the sidecar's own metrics are at port 15490, /metrics: scrape them with "
        "the PodMonitor",
    )


def test_pod_config() -> None:
    """What is particular to the pod is a second configuration, which names each thing once."""
    given = pod(
        container(
            "app",
            ("http", 8080),
            readinessProbe={"httpGet": {"path": "/r", "port": 8080}},
            livenessProbe={"tcpSocket": {"port": "http"}, "timeoutSeconds": 3},
        ),
        annotations={
            "destinations": "profiles:9001=http://profiles.shop:80",
            "allow-plaintext": "true",
            "carrier": "python",
        },
    )
    assert pod_config(injected(given)) == (
        "version: 1\n"
        "inbound:\n"
        "  app: http://127.0.0.1:8080\n"
        "outbound:\n"
        "  destinations:\n"
        "    profiles:\n"
        "      listen: 127.0.0.1:9001\n"
        "      upstream: http://profiles.shop:80\n"
        "      allow_plaintext: true\n"
        "admin:\n"
        "  control: unix:/run/sidecar/control.sock\n"
        "  app_probes:\n"
        "  - port: 8080\n"
        "    tcp: true\n"
        "    timeout: 3s\n"
        "  - port: 8080\n"
        "    path: /r\n"
        "    timeout: 1s\n"
        "attribution:\n"
        "  carrier: python\n"
    )


@pytest.mark.parametrize("name", CASES)
def test_pod_config_is_read(name: str, tmp_path: Path) -> None:
    """The sidecar takes both configurations together, as they are in the pod."""
    given, more = CASES[name]
    result = sidecar_of(injected(given, **more))
    file = tmp_path / "config.yaml"
    file.write_text(more.get("config", CONFIG))
    mounted, in_environment = result["command"][3::2]
    assert mounted == "/etc/sidecar/config.yaml"
    variables = {each["name"]: each.get("value", "x") for each in result["env"]}
    found = examine([str(file), in_environment], environ=variables)
    assert found.errors == ()


def test_nobody_calls() -> None:
    """A pod without ports has no inbound listener, and no port that leads to one."""
    result = injected(pod(container("worker"), container("log")))
    assert '  listen: "off"\n' in pod_config(result)
    assert [each["name"] for each in sidecar_of(result)["ports"]] == ["sidecar-admin"]
    assert "jwt-sidecar/port" not in result.pod["metadata"]["annotations"]


def test_configuration_for_nobody() -> None:
    """A ConfigMap for pods that nobody calls leaves the ports of a pod alone."""
    config = CONFIG + "inbound: {listen: off}\n"
    result = injected(pod(), config=config)
    assert app_of(result)["ports"] == [{"name": "http", "containerPort": 8080}]
    assert "inbound" not in pod_config(result)
    told = refused(pod(annotations={"app-port": "8080"}), config=config)
    assert told == (
        "annotation jwt-sidecar/app-port: ConfigMap jwt-sidecar, config.yaml says "
        "`inbound.listen: off`: remove one of the two"
    )


def test_opt_out() -> None:
    """A pod that wants no sidecar has none, whatever else it says."""
    wanted = Skipped('jwt-sidecar/inject: "false"')
    assert offered(pod(annotations={"inject": "false", "zzz": ""}, hostNetwork=True)) == wanted
    labelled = pod()
    labelled["metadata"]["labels"]["jwt-sidecar/inject"] = "false"
    assert offered(labelled, config=None) == wanted


def test_mirror() -> None:
    """The mirror of a static pod cannot be changed here."""
    result = offered(pod(annotations={"kubernetes.io/config.mirror": "x"}))
    assert isinstance(result, Skipped)


def test_pre_stop_sleep() -> None:
    """The app goes on serving for a while, unless it has a hook of its own."""
    asked = pod(annotations={"app-pre-stop-sleep": "5"})
    assert app_of(injected(asked))["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    classic = pod(annotations={"app-pre-stop-sleep": "5", "native": "false"})
    assert app_of(injected(classic))["lifecycle"] == {
        "preStop": {"exec": {"command": ["sleep", "5"]}}
    }
    hook = {"preStop": {"exec": {"command": ["bye"]}}}
    own = pod(container("app", 8080, lifecycle=hook), annotations={"app-pre-stop-sleep": "5"})
    assert refused(own) == (
        "annotation jwt-sidecar/app-pre-stop-sleep: container app has a preStop hook of its own, "
        "and there can be one: sleep there, or remove it"
    )
    by_setting = InjectorSettings(image=IMAGE, app_pre_stop_sleep=5)
    kept = injected(pod(container("app", 8080, lifecycle=hook)), settings=by_setting)
    assert app_of(kept)["lifecycle"] == hook
    none = pod(annotations={"app-pre-stop-sleep": "0"})
    assert "lifecycle" not in app_of(injected(none, settings=by_setting))
    # Just below the grace period is fine.
    short = pod(annotations={"app-pre-stop-sleep": "9"}, terminationGracePeriodSeconds=10)
    injected(short)


def test_pre_stop_sleep_that_does_not_fit() -> None:
    """A pod that asks for what it cannot have is refused; the injector's default gives way."""
    two = [container("a"), container("b")]
    assert refused(pod(*two, annotations={"app-pre-stop-sleep": "5"})) == (
        "annotation jwt-sidecar/app-pre-stop-sleep: which container is the app's? write "
        "jwt-sidecar/app-container"
    )
    by_setting = InjectorSettings(image=IMAGE, app_pre_stop_sleep=5)
    for given in (pod(*two), pod(terminationGracePeriodSeconds=5)):
        spec = injected(given, settings=by_setting).pod["spec"]
        assert not any("lifecycle" in each for each in spec["containers"])


def test_grace_period() -> None:
    """A grace period that is over before the sidecar has drained is warned about."""
    config = CONFIG + "drain_timeout: 20s\n"
    assert injected(pod(terminationGracePeriodSeconds=21), config=config).warnings == ()
    assert injected(pod(terminationGracePeriodSeconds=20), config=config).warnings == (
        "terminationGracePeriodSeconds: 20 is not more than drain_timeout, 20s: requests in "
        "progress may be cut",
    )


def test_unprotected_port() -> None:
    """A port of the app's container that stays open is warned about."""
    given = pod(
        container("app", ("http", 8080), ("metrics", 9090)), annotations={"app-port": "http"}
    )
    assert injected(given).warnings == (
        "container app: port 9090 is not behind the sidecar: whoever reaches the pod can call it "
        "without a token",
    )


def test_left_alone() -> None:
    """Init containers, ephemeral ones and other containers are as they were."""
    spec = {
        "initContainers": [container("migrate", 5432, env=[{"name": "A", "value": "1"}])],
        "ephemeralContainers": [container("debug")],
        "volumes": [{"name": "own", "emptyDir": {}}],
    }
    given = pod(
        container("app", ("http", 8080)),
        container("log", livenessProbe={"httpGet": {"port": 9000}}),
        **spec,
    )
    result = injected(given).pod["spec"]
    assert named(result["initContainers"], "migrate") == spec["initContainers"][0]
    assert result["ephemeralContainers"] == spec["ephemeralContainers"]
    assert named(result["containers"], "log") == given["spec"]["containers"][1]
    assert result["volumes"][0] == spec["volumes"][0]
