"""deploy/k8s: every object is one that Kubernetes takes, and they fit together."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml

from sidecar.config.load import examine
from sidecar.kubernetes import names
from sidecar.kubernetes.injection import inject
from sidecar.kubernetes.results import Injected, Skipped
from sidecar.kubernetes.settings import InjectorSettings
from tests.kubernetes.pod_security import violations
from tests.support.manifests import K8S, ROOTS, WORKLOADS, built, composed, from_outside

VERSIONS = ("1.29", "1.32", kubernetes_validate.latest_version())
OF_OPERATORS = {"PodMonitor", "PrometheusRule", "Certificate", "Issuer"}
"""Kinds whose schemas are nowhere bundled: their structure has a test of its own."""
SYSTEM = "jwt-sidecar-system"
DEMOS = ("overlays/demo", "overlays/keycloak")
Object = Mapping[str, Any]


def named(objects: list[Any], kind: str, name: str | None = None) -> Any:
    found = [each for each in objects if each["kind"] == kind]
    if name is not None:
        found = [each for each in found if each["metadata"]["name"] == name]
    (only,) = found
    return only


def pods_of(objects: list[Any]) -> Iterator[tuple[Object, Object]]:
    for each in objects:
        if each["kind"] in WORKLOADS:
            yield each, each["spec"]["template"]


def is_selected(selector: Object, labels: Object) -> bool:
    return all(labels.get(name) == value for name, value in selector.items())


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_fits_the_schemas(version: str) -> None:
    """Strictly: a field that does not exist is an error. What is in several roots is tried once."""
    objects = {json.dumps(each): each for root in ROOTS for each in built(root)}
    for each in objects.values():
        if each["kind"] in OF_OPERATORS:
            continue
        try:
            kubernetes_validate.validate(each, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{version}: {each['kind']} {each['metadata']['name']}: {error}")


@pytest.mark.parametrize("root", ROOTS)
def test_every_object_is_labelled_and_named_once(root: str) -> None:
    """Name and part, so that whatever is ours can be found and removed."""
    seen = set()
    for each in built(root):
        metadata = each["metadata"]
        identity = each["kind"], metadata.get("namespace"), metadata["name"]
        assert identity not in seen
        seen.add(identity)
        wanted = {"app.kubernetes.io/name", "app.kubernetes.io/part-of"}
        assert wanted <= set(metadata["labels"]), identity


@pytest.mark.parametrize("root", ROOTS)
def test_every_selector_finds_its_pods(root: str) -> None:
    """Deployments, Services, budgets, spreads and policies choose pods that are there."""
    objects = built(root)
    pods = [
        (owner["metadata"].get("namespace"), template["metadata"]["labels"])
        for owner, template in pods_of(objects)
    ]
    for each in objects:
        spec, kind = each.get("spec", {}), each["kind"]
        if kind in {"Deployment", "PodDisruptionBudget"}:
            selector = spec["selector"]["matchLabels"]
        elif kind == "Service":
            selector = spec["selector"]
        elif kind == "NetworkPolicy":
            selector = spec["podSelector"]["matchLabels"]
        else:
            continue
        if selector == {names.STATUS: "injected"}:
            continue  # a label of the injector's: see the test of the demos
        namespace = each["metadata"].get("namespace")
        assert any(at == namespace and is_selected(selector, labels) for at, labels in pods), (
            f"{kind} {each['metadata']['name']} chooses nothing"
        )
    for _, template in pods_of(objects):
        for spread in template["spec"].get("topologySpreadConstraints", ()):
            labels = template["metadata"]["labels"]
            assert is_selected(spread["labelSelector"]["matchLabels"], labels)


@pytest.mark.parametrize("root", ROOTS)
def test_whatever_is_referred_to_exists(root: str) -> None:
    """ConfigMaps, service accounts, priority classes, roles and named ports."""
    objects = built(root)
    there = {
        (each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"])
        for each in objects
    } | {
        # cert-manager makes them.
        ("Secret", each["metadata"]["namespace"], each["spec"]["secretName"])
        for each in objects
        if each["kind"] == "Certificate"
    }
    for owner, template in pods_of(objects):
        namespace, spec = owner["metadata"].get("namespace"), template["spec"]
        wanted = []
        if account := spec.get("serviceAccountName"):
            wanted.append(("ServiceAccount", namespace, account))
        if priority := spec.get("priorityClassName"):
            wanted.append(("PriorityClass", None, priority))
        for volume in spec.get("volumes", ()):
            if "configMap" in volume:
                wanted.append(("ConfigMap", namespace, volume["configMap"]["name"]))
            if "secret" in volume:
                wanted.append(("Secret", namespace, volume["secret"]["secretName"]))
        if config := template["metadata"].get("annotations", {}).get("jwt-sidecar/config"):
            wanted.append(("ConfigMap", namespace, config))
        assert set(wanted) <= there
    for each in objects:
        if each["kind"] in {"RoleBinding", "ClusterRoleBinding"} and root.endswith("base"):
            role, namespace = each["roleRef"], each["metadata"].get("namespace")
            of = namespace if role["kind"] == "Role" else None
            assert (role["kind"], of, role["name"]) in there
            for subject in each["subjects"]:
                assert (subject["kind"], subject["namespace"], subject["name"]) in there
        if each["kind"] == "Service":
            for port in each["spec"]["ports"]:
                assert port["targetPort"] in _port_names(objects, each["spec"]["selector"])


def _port_names(objects: list[Any], selector: Object) -> set[str]:
    return {
        port["name"]
        for _, template in pods_of(objects)
        if is_selected(selector, template["metadata"]["labels"])
        for container in template["spec"]["containers"]
        for port in container["ports"]
    }


@pytest.mark.parametrize("root", ROOTS)
def test_every_pod_is_restricted_and_has_its_share(root: str) -> None:
    """Pod Security level restricted, requests and a memory limit, and no CPU limit."""
    for owner, template in pods_of(built(root)):
        name = owner["metadata"]["name"]
        assert violations(template) == [], name
        for container in template["spec"]["containers"]:
            resources = container["resources"]
            assert set(resources["requests"]) == {"cpu", "memory"}, name
            assert set(resources["limits"]) == {"memory"}, name
    for each in built(root):
        if each["kind"] == "Namespace":
            labels = each["metadata"]["labels"]
            assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_one_line_pins_the_version() -> None:
    """Injector, demo and what is injected: all of them from components/version, and none latest."""
    (pin,) = yaml.safe_load((K8S / "components" / "version" / "kustomization.yaml").read_text())[
        "images"
    ]
    image = f"{pin['newName']}:{pin['newTag']}"
    from sidecar import __version__

    assert pin["newTag"] == __version__
    seen = []
    for root in ("base", *DEMOS):
        for _, template in pods_of(built(root)):
            seen += [each["image"] for each in template["spec"]["containers"]]
    assert {each for each in seen if "keycloak" not in each} == {image}
    assert all(re.search(r":\d", each) for each in seen)
    assert injected_image(built("base")) == image


def injected_image(objects: list[Any]) -> str:
    (injector,) = named(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
    assert "--image=$(SIDECAR_INJECTED_IMAGE)" in injector["args"]
    (injected,) = [
        each["value"] for each in injector["env"] if each["name"] == "SIDECAR_INJECTED_IMAGE"
    ]
    assert injected == injector["image"]
    return str(injected)


def test_an_overlay_of_ones_own_pins_another(tmp_path: Path) -> None:
    """As docs/kubernetes.md says: what is injected is said again after the image."""
    objects = composed(
        tmp_path,
        images=[{"name": "jwt-sidecar", "newName": "registry.example/it", "newTag": "9.9.9"}],
        transformers=[from_outside(tmp_path, "transformers/injected-image")],
    )
    assert injected_image(objects) == "registry.example/it:9.9.9"


def test_the_transformer_says_what_the_base_says() -> None:
    """Two files, because kustomize takes neither from outside nor in the other's form."""
    transformer = K8S / "transformers" / "injected-image" / "transformer.yaml"
    ours = yaml.safe_load((K8S / "base" / "image-to-inject.yaml").read_text())
    assert yaml.safe_load(transformer.read_text())["replacements"] == ours


def test_cert_manager_in_place_of_an_authority_of_its_own() -> None:
    """The certificate names the Service, both webhooks get its authority, and rights are fewer."""
    objects = built("overlays/cert-manager")
    certificate = named(objects, "Certificate", "jwt-sidecar-injector")
    service = named(objects, "Service")["metadata"]
    assert f"{service['name']}.{service['namespace']}.svc" in certificate["spec"]["dnsNames"]
    issuers = {each["metadata"]["name"] for each in objects if each["kind"] == "Issuer"}
    for each in objects:
        if each["kind"] == "Certificate":
            assert each["apiVersion"] == "cert-manager.io/v1"
            assert each["spec"]["issuerRef"]["name"] in issuers
        if each["kind"].endswith("WebhookConfiguration"):
            source = each["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
            assert source == f"{SYSTEM}/{certificate['metadata']['name']}"
        assert each["kind"] not in {"Role", "RoleBinding"}
        for rule in each.get("rules", ()):
            assert not {"patch", "update", "create"} & set(rule["verbs"])
    spec = named(objects, "Deployment")["spec"]["template"]["spec"]
    (volume,) = spec["volumes"]
    assert volume["secret"]["secretName"] == certificate["spec"]["secretName"]
    (container,) = spec["containers"]
    (mount,) = container["volumeMounts"]
    assert mount["name"] == volume["name"]
    assert {"--certificate=/tls/tls.crt", "--key=/tls/tls.key"} <= set(container["args"])
    assert mount["mountPath"] == "/tls"


def test_the_injector_may_little() -> None:
    """No wildcard; one ConfigMap name, one Secret and its own two configurations by name."""
    objects = built("base")
    for each in objects:
        for rule in each.get("rules", ()):
            for part in ("apiGroups", "resources", "verbs"):
                assert "*" not in rule[part]
            if each["kind"] == "ClusterRole":
                assert "secrets" not in rule["resources"]
                assert not {"create", "update", "delete"} & set(rule["verbs"])
                if "patch" in rule["verbs"]:
                    assert rule["resourceNames"] == ["jwt-sidecar-injector"]
    everywhere = named(objects, "ClusterRoleBinding")
    assert everywhere["roleRef"]["name"] == "jwt-sidecar-injector"
    rules = named(objects, "ClusterRole", "jwt-sidecar-injector")["rules"]
    (configmaps,) = [rule for rule in rules if "configmaps" in rule["resources"]]
    assert configmaps["resourceNames"] == [InjectorSettings("x").config]
    assert configmaps["verbs"] == ["get"]


def test_webhooks_fail_closed_where_they_are_asked_for_and_nowhere_else() -> None:
    """Only labelled namespaces, never the system's nor the injector's own."""
    objects = built("base")
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"):
        (hook,) = named(objects, kind)["webhooks"]
        selector = hook["namespaceSelector"]
        assert selector["matchLabels"] == {"jwt-sidecar/injection": "enabled"}
        (never,) = selector["matchExpressions"]
        assert (never["key"], never["operator"]) == ("kubernetes.io/metadata.name", "NotIn")
        assert {SYSTEM, "kube-system"} <= set(never["values"])
        assert hook["failurePolicy"] == "Fail"
        assert hook["sideEffects"] == "None"
        assert hook["matchPolicy"] == "Equivalent"
        assert 1 <= hook["timeoutSeconds"] <= 10
        service = hook["clientConfig"]["service"]
        assert (service["namespace"], service["name"]) == (SYSTEM, "jwt-sidecar-injector")
        # Written by the injector: applying the manifests again must not take it away.
        assert "caBundle" not in hook["clientConfig"]
    (pods,) = named(objects, "MutatingWebhookConfiguration")["webhooks"]
    assert pods["reinvocationPolicy"] == "IfNeeded"
    assert pods["objectSelector"] == {
        "matchExpressions": [
            {"key": "jwt-sidecar/inject", "operator": "NotIn", "values": ["false"]}
        ]
    }


def test_the_injector_survives_a_node() -> None:
    """Two replicas apart, one of which always stays."""
    objects = built("base")
    deployment = named(objects, "Deployment")["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    keys = {
        each["topologyKey"] for each in deployment["template"]["spec"]["topologySpreadConstraints"]
    }
    assert "kubernetes.io/hostname" in keys
    assert named(objects, "PodDisruptionBudget")["spec"]["minAvailable"] == 1
    (container,) = deployment["template"]["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= set(container)


@pytest.mark.parametrize("root", [*DEMOS, "namespace"])
def test_every_configuration_passes_the_check(root: str, tmp_path: Path) -> None:
    """With what the injector writes for the pod beside it, and without a warning but the demo's."""
    found = 0
    for each in built(root):
        if each["kind"] != "ConfigMap" or "config.yaml" not in each["data"]:
            continue
        found += 1
        path = tmp_path / f"{each['metadata']['name']}.yaml"
        path.write_text(each["data"]["config.yaml"])
        pod = tmp_path / "pod.yaml"
        pod.write_text("version: 1\ninbound: {app: http://127.0.0.1:8080}\n")
        examined = examine([str(path), str(pod)])
        assert [str(error) for error in examined.errors] == []
        assert all("plain" in warning.message for warning in examined.warnings)
    assert found


@pytest.mark.parametrize("root", DEMOS)
def test_the_demos_pods_take_their_sidecar(root: str) -> None:
    """Each is injected without a warning, reachable through its Service and by the fence alone."""
    objects = built(root)
    configs = {
        each["metadata"]["name"]: each["data"].get("config.yaml")
        for each in objects
        if each["kind"] == "ConfigMap"
    }
    services = [each for each in objects if each["kind"] == "Service"]
    fence = named(objects, "NetworkPolicy", "jwt-sidecar-fence")["spec"]
    allowed = {port["port"] for rule in fence["ingress"] for port in rule["ports"]}
    namespace = named(objects, "Namespace")["metadata"]
    assert namespace["labels"]["jwt-sidecar/injection"] == "enabled"
    came = {}
    for owner, template in pods_of(objects):
        result = inject(
            template,
            namespace=namespace["name"],
            owner_kind=owner["kind"],
            settings=InjectorSettings("jwt-sidecar:1"),
            config=configs.get,
            services=services,
        )
        came[owner["metadata"]["name"]] = type(result)
        if not isinstance(result, Injected):
            continue
        assert result.warnings == ()
        assert violations(result.pod) == []
        assert is_selected(fence["podSelector"]["matchLabels"], result.pod["metadata"]["labels"])
        for version in VERSIONS:
            pod = {"apiVersion": "v1", "kind": "Pod", **result.pod}
            pod["metadata"] = {"name": "x", **pod["metadata"]}
            kubernetes_validate.validate(pod, version, strict=True)
        assert _ports_of_services(services, result.pod) <= allowed
    issuer = "identity-provider" if root == "overlays/demo" else "keycloak"
    assert came == {"user-service": Injected, "profile-service": Injected, issuer: Skipped}


def _ports_of_services(services: list[Any], pod: Object) -> set[int]:
    """Where Kubernetes leads callers: by the name of a port of a container."""
    by_name = {
        port["name"]: port["containerPort"]
        for container in pod["spec"]["containers"]
        for port in container.get("ports", ())
        if "name" in port
    }
    chosen = [
        port["targetPort"]
        for each in services
        if is_selected(each["spec"]["selector"], pod["metadata"]["labels"])
        for port in each["spec"]["ports"]
    ]
    assert chosen
    return {by_name[port] for port in chosen}


def test_what_is_scraped_is_what_the_injector_makes(tmp_path: Path) -> None:
    """PodMonitors choose the labels and the port that pods really have, under the alerts' jobs."""
    objects = built("overlays/monitoring")
    sidecars = named(objects, "PodMonitor", "jwt-sidecar")["spec"]
    assert sidecars["namespaceSelector"] == {"any": True}
    assert sidecars["selector"]["matchLabels"] == {names.STATUS: "injected"}
    (endpoint,) = sidecars["podMetricsEndpoints"]
    assert endpoint["port"] == names.ADMIN_PORT_NAME
    assert endpoint["relabelings"] == [{"targetLabel": "job", "replacement": "jwt-sidecar"}]
    injector = named(objects, "PodMonitor", "jwt-sidecar-injector")["spec"]
    template = named(objects, "Deployment")["spec"]["template"]
    assert is_selected(injector["selector"]["matchLabels"], template["metadata"]["labels"])
    (endpoint,) = injector["podMetricsEndpoints"]
    (container,) = template["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports[endpoint["port"]] == 15490
    annotations = from_outside(tmp_path, "components/scrape-annotations")
    annotated = named(composed(tmp_path, components=[annotations]), "Deployment")
    assert annotated["spec"]["template"]["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": "15490",
        "prometheus.io/path": "/metrics",
    }
