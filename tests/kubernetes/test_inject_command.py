"""``sidecar inject``: streams of manifests in, the same streams with sidecars out."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml
from click.testing import CliRunner, Result

from sidecar.cli.inject import command
from sidecar.kubernetes.annotations import table

CONFIG_MAP = """\
apiVersion: v1
kind: ConfigMap
metadata: {name: jwt-sidecar}
data:
  config.yaml: |
    version: 1
    issuers:
      shop: {issuer: "https://idp.example", audiences: [orders]}
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: orders}
spec:
  selector: {app: orders}
  ports: [{port: 80, targetPort: http}]
"""
POD = """\
metadata:
  labels: {app: orders}
spec:
  containers:
  - name: app
    image: app:1
    ports:
    - {name: http, containerPort: 8080}
"""


def workload(kind: str, version: str = "apps/v1", more: str = "") -> str:
    """A workload of *kind* in YAML, whose pod is ``POD``."""
    head = f"apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: orders\n"
    template = "    ".join(("\n" + POD).splitlines(keepends=True)).strip("\n ")
    selector = {
        "ReplicationController": "  selector: {app: orders}\n",
        "Job": "",
    }.get(kind, "  selector:\n    matchLabels: {app: orders}\n")
    return f"{head}spec:\n{selector}{more}  template:\n    {template}\n"


CRON_JOB = """\
apiVersion: batch/v1
kind: CronJob
metadata: {name: nightly}
spec:
  schedule: "0 3 * * *"
  jobTemplate:
    spec:
      template:
        spec:
          restartPolicy: Never
          containers:
          - {name: work, image: work:1}
"""


def run(*arguments: str, text: str = "") -> Result:
    return CliRunner().invoke(command, arguments, input=text.encode())


def inject(*documents: str, arguments: Sequence[str] = ()) -> str:
    """Inject *documents* from standard input, which must work, and return what came out."""
    result = run("-f", "-", *arguments, text="---\n".join(documents))
    assert result.exit_code == 0, result.stderr
    return result.stdout


def refuse(*documents: str, arguments: Sequence[str] = ()) -> list[str]:
    """Return what is said of *documents* that cannot be injected; nothing is printed then."""
    result = run("-f", "-", *arguments, text="---\n".join(documents))
    assert (result.exit_code, result.stdout) == (1, "")
    *lines, last = result.stderr.splitlines()
    assert last == "sidecar: nothing is injected"
    return lines


def loaded(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


KINDS = [
    "apiVersion: v1\nkind: Pod\n" + POD.replace("metadata:", "metadata:\n  name: orders"),
    workload("Deployment"),
    workload("StatefulSet", more="  serviceName: orders\n"),
    workload("DaemonSet"),
    workload("ReplicaSet"),
    workload("ReplicationController", "v1"),
    workload("Job", "batch/v1").replace(
        "      containers:", "      restartPolicy: Never\n      containers:"
    ),
    CRON_JOB,
]


@pytest.mark.parametrize("text", KINDS, ids=lambda text: text.splitlines()[1])
def test_kinds(text: str) -> None:
    """Every workload gets the sidecar into its pod, and is what Kubernetes takes."""
    out = inject(CONFIG_MAP, text, SERVICE)
    config_map, changed, service = loaded(out)
    assert config_map == loaded(CONFIG_MAP)[0]
    assert service == loaded(SERVICE)[0]
    assert "jwt-sidecar/status: injected" in out
    assert "name: jwt-sidecar-run" in out
    for each in (changed, loaded(inject(CONFIG_MAP, text, arguments=["--carrier", "python"]))[1]):
        kubernetes_validate.validate(each, "1.31", strict=True)


@pytest.mark.parametrize("text", KINDS, ids=lambda text: text.splitlines()[1])
def test_stable(text: str) -> None:
    """What is injected stays as it is, to the byte."""
    once = inject(CONFIG_MAP, text, SERVICE, arguments=["--carrier", "python"])
    assert inject(once) == once
    assert inject(CONFIG_MAP, text, SERVICE, arguments=["--carrier", "python"]) == once


def test_list() -> None:
    """Items of a List are injected where they stand, with each other's ConfigMaps."""
    items = [loaded(text)[0] for text in (KINDS[1], CONFIG_MAP, SERVICE)]
    whole = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
    (out,) = loaded(inject(whole))
    assert [each["kind"] for each in out["items"]] == ["Deployment", "ConfigMap", "Service"]
    spec = out["items"][0]["spec"]["template"]["spec"]
    assert spec["initContainers"][0]["name"] == "jwt-sidecar"


def test_config_map_of_a_file(tmp_path: Path) -> None:
    """ConfigMaps of the cluster come from files, and are not printed."""
    (tmp_path / "cm.yaml").write_text(CONFIG_MAP)
    (tmp_path / "a.yaml").write_text(KINDS[1])
    (tmp_path / "b.yaml").write_text(CRON_JOB)
    files = ["-f", str(tmp_path / "a.yaml"), "-f", str(tmp_path / "b.yaml")]
    result = run(*files, "--config-map", str(tmp_path / "cm.yaml"))
    assert [each["kind"] for each in loaded(result.stdout)] == ["Deployment", "CronJob"]


def test_namespaces() -> None:
    """A ConfigMap and a Service count for their namespace only."""
    config_map = CONFIG_MAP.replace("name: jwt", "namespace: shop, name: jwt")
    told = [
        "standard input: deployment/orders: ConfigMap jwt-sidecar: there is none in namespace "
        "default with the key config.yaml: create it, or name another one with jwt-sidecar/config"
    ]
    assert refuse(config_map, KINDS[1]) == told
    inject(config_map, KINDS[1], arguments=["--namespace", "shop"])
    elsewhere = SERVICE.replace("targetPort: http", "targetPort: 8080")
    inject(config_map, KINDS[1].replace("  name: o", "  namespace: shop\n  name: o"), elsewhere)


def test_service_past_the_sidecar() -> None:
    """A Service of the stream that leads past the sidecar is refused, before and after."""
    past = SERVICE.replace("targetPort: http", "targetPort: 8080")
    (before,) = refuse(CONFIG_MAP, KINDS[1], past)
    (after,) = refuse(inject(CONFIG_MAP, KINDS[1]), past)
    assert before == after
    assert before.startswith(
        "standard input: deployment/orders: Service orders: port 80 leads to port 8080, past the "
    )


def test_refusals_all_at_once(tmp_path: Path) -> None:
    """Everything is said at once, with file and object, and nothing is printed."""
    broken = CONFIG_MAP.replace("issuers", "issuer")
    network = KINDS[1].replace("      containers:", "      hostNetwork: true\n      containers:")
    (tmp_path / "a.yaml").write_text(f"{broken}---\n{network}")
    (tmp_path / "b.yaml").write_text("a: [\n")
    result = run("-f", str(tmp_path / "a.yaml"), "-f", str(tmp_path / "b.yaml"), "-f", "/no/file")
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.replace(str(tmp_path) + "/", "").splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "b.yaml:2:1", "/no/file", "a.yaml", "a.yaml", "sidecar",
    ]  # fmt: skip
    assert lines[1] == "/no/file: cannot be read: No such file or directory"
    assert lines[2].startswith("a.yaml: deployment/orders: hostNetwork: true: ")
    assert lines[3] == (
        "a.yaml: deployment/orders: ConfigMap jwt-sidecar, config.yaml:2:1: issuer: unknown key "
        "(did you mean `issuers`?)"
    )


WRONG = [
    ("kind: Deployment\n", "standard input: deployment/: spec.template: must be a map"),
    ("a: 1\n", "standard input:1: is no Kubernetes object: it has no kind"),
    ("- 1\n", "standard input:1: is no Kubernetes object: it has no kind"),
    ("kind: Pod\nspec: []\n", "standard input: pod/: spec: must be a map with the pod's"),
    ("a: &a [*a]\nkind: Pod\n", "standard input:1:4: becomes too large once its aliases are"),
    ("kind: Pod\nkind: Pod\n", "standard input:2:1: the key `kind` is given twice; the first is"),
    ("kind: List\nitems: [{}]\n", "standard input:1: is no Kubernetes object: it has no kind"),
]


@pytest.mark.parametrize(("text", "message"), WRONG)
def test_wrong(text: str, message: str) -> None:
    """What is no manifest is refused where it stands."""
    (told,) = refuse(text)
    assert told.startswith(message)


def test_not_text(tmp_path: Path) -> None:
    """A file that is no text is refused by name."""
    (tmp_path / "a.yaml").write_bytes(b"kind: \xff")
    result = run("-f", str(tmp_path / "a.yaml"))
    assert result.exit_code == 1
    assert result.stderr.startswith(f"{tmp_path}/a.yaml: is not UTF-8\n")


def test_warnings() -> None:
    """What a person should know is said beside the manifests."""
    text = KINDS[1].replace("  name: orders\nspec", "  name: orders\n  annotations:\n"
                            "    jwt-sidecar/carrier: python\nspec")  # fmt: skip
    left = KINDS[0].replace("labels: {", "labels: {jwt-sidecar/inject: 'false', ")
    result = run("-f", "-", text="---\n".join((CONFIG_MAP, text, left)))
    assert result.exit_code == 0
    assert result.stderr.splitlines() == [
        "standard input: deployment/orders: annotations that start with jwt-sidecar/ have an "
        "effect in spec.template.metadata.annotations only",
        'standard input: pod/orders: is left as it is: jwt-sidecar/inject: "false"',
    ]
    assert loaded(result.stdout)[2] == loaded(left)[0]


TRAPS = """\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: orders
  labels: &labels {app: orders, on: "off"}
  annotations: {when: 2001-12-14, big: "123456789012345678901234567890", mode: '0644'}
spec:
  selector: {matchLabels: *labels}
  template:
    metadata:
      labels:
        <<: *labels
    spec:
      containers:
      - name: app
        image: app:1
        command: [sh, -c, "a: b"]
        args:
        - >-
          one
          two
        ports: [{name: http, containerPort: 8080}]
        env:
        - {name: A, value: "yes"}
        - {name: B, value: '1e3'}
        - {name: C, value: !!str 010}
      volumes:
      - name: own
        configMap: {name: own, defaultMode: 0644}
      dnsConfig: {options: [{name: ndots, value: "2"}]}
"""


def test_traps() -> None:
    """What YAML is known for comes out with the meaning it went in with."""
    out = inject(CONFIG_MAP, TRAPS)
    changed = loaded(out)[1]
    assert changed["metadata"] == {
        "name": "orders",
        "labels": {"app": "orders", True: "off"},
        "annotations": loaded(TRAPS)[0]["metadata"]["annotations"],
    }
    assert "when: 2001-12-14," in out
    spec = changed["spec"]["template"]["spec"]
    app = spec["containers"][0]
    assert app["args"] == ["one two"]
    assert [each["value"] for each in app["env"]] == ["yes", "1e3", "010"]
    assert "defaultMode: 0644" in out
    assert changed["spec"]["selector"]["matchLabels"] == changed["metadata"]["labels"]
    assert inject(out) == out


def test_json() -> None:
    """JSON comes out as one object, or as a List."""
    only = run("-f", "-", "-o", "json", text=CONFIG_MAP)
    assert json.loads(only.stdout) == loaded(CONFIG_MAP)[0]
    both = json.loads(inject(CONFIG_MAP, KINDS[1], arguments=["-o", "json"]))
    assert (both["kind"], len(both["items"])) == ("List", 2)
    assert inject(json.dumps(both), arguments=["-o", "json"]) == json.dumps(both, indent=2) + "\n"


def test_options() -> None:
    """Image and kind of sidecar are given for all pods."""
    out = inject(CONFIG_MAP, KINDS[1], arguments=["--image", "other:2", "--no-native"])
    containers = loaded(out)[1]["spec"]["template"]["spec"]["containers"]
    assert [each["image"] for each in containers] == ["app:1", "other:2"]
    (told,) = refuse(CONFIG_MAP, CRON_JOB, arguments=["--no-native"])
    assert "this CronJob would never complete" in told


def test_annotations() -> None:
    """The table of annotations is printed on request."""
    assert run("--annotations").stdout == table()


def test_usage() -> None:
    """Without a file there is nothing to do."""
    result = run()
    assert result.exit_code == 2
    assert "give -f FILE, or -f - for standard input" in result.stderr


def test_nothing() -> None:
    """Of nothing comes nothing."""
    assert inject("# only a comment\n") == ""
