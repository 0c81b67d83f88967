"""A real injector that a real API server calls, with the rights of ``deploy/k8s/base``."""

import base64
import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import yaml
from cryptography import x509

from tests.cluster.conftest import (
    APPLICATION,
    BASE,
    NAME,
    OTHER,
    RESTRICTED,
    SHOP,
    SYSTEM,
    Cluster,
    Injector,
    config_map,
    until,
)

MUTATING = f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{NAME}"
VALIDATING = MUTATING.replace("mutating", "validating")
SECRET = f"/api/v1/namespaces/{SYSTEM}/secrets/{NAME}"


def pod(
    name: str,
    *,
    namespace: str = SHOP,
    owner: str = "",
    annotations: Mapping[str, str] | None = None,
    ports: list[dict[str, Any]] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """A pod as the controller of *owner* makes it."""
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "labels": {"app": name},
        "annotations": dict(annotations or {}),
    }
    if owner:
        reference = {"apiVersion": "v1", "kind": owner, "name": "x", "uid": "1", "controller": True}
        metadata |= {"ownerReferences": [reference], "generateName": f"{name}-"}
    declared = [{"name": "http", "containerPort": 8080}] if ports is None else ports
    container = {"name": "app", "image": "app:1", "ports": declared}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": [container], **spec},
    }


def service(name: str, target: object, app: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": SHOP},
        "spec": {"selector": {"app": app}, "ports": [{"port": 80, "targetPort": target}]},
    }


def its_own_pod() -> dict[str, Any]:
    """The injector's, as its Deployment has it."""
    deployment = yaml.safe_load((BASE / "deployment.yaml").read_text())
    template = deployment["spec"]["template"]
    metadata = {**template["metadata"], "name": NAME, "namespace": SYSTEM}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def sidecar_of(stored: Mapping[str, Any]) -> list[dict[str, Any]]:
    both = [*stored["spec"].get("initContainers", ()), *stored["spec"]["containers"]]
    return [each for each in both if each["name"] == "jwt-sidecar"]


def bundle_of(cluster: Cluster, path: str) -> bytes:
    (webhook,) = cluster.admin.get(path)["webhooks"]
    return base64.b64decode(webhook["clientConfig"].get("caBundle", ""))


@pytest.fixture
def rolebinding(cluster: Cluster) -> Iterator[None]:
    binding = yaml.safe_load((APPLICATION / "configurations.yaml").read_text())
    binding["metadata"]["namespace"] = SHOP
    asked = f"/api/v1/namespaces/{SHOP}/configmaps/any"
    made = cluster.admin.made(binding)
    until(lambda: cluster.account.ask("GET", asked).status == 404)
    yield
    path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{SHOP}/rolebindings"
    cluster.admin.ask("DELETE", f"{path}/{made['metadata']['name']}")
    until(lambda: cluster.account.ask("GET", asked).status == 403)


def test_a_deployments_pod_is_stored_with_a_native_sidecar(
    cluster: Cluster, injector: Injector
) -> None:
    """The API server is of a version with native sidecars, and says what it stored."""
    stored = cluster.admin.made(pod("orders", owner="ReplicaSet"))
    (sidecar,) = sidecar_of(stored)
    assert sidecar["image"] == f"registry.example/sidecar:{injector.port}"
    assert sidecar["restartPolicy"] == "Always"
    assert stored["metadata"]["labels"]["jwt-sidecar/status"] == "injected"
    (app,) = stored["spec"]["containers"]
    assert app["ports"][0] == {"name": "http", "containerPort": 15406, "protocol": "TCP"}


def test_a_jobs_pod_is_stored_with_a_sidecar_that_lets_it_finish(
    cluster: Cluster, injector: Injector
) -> None:
    stored = cluster.admin.made(pod("report", owner="Job", ports=[], restartPolicy="Never"))
    (sidecar,) = sidecar_of(stored)
    assert sidecar in stored["spec"]["initContainers"]
    environment = {each["name"]: each.get("value") for each in sidecar["env"]}
    assert yaml.safe_load(environment["SIDECAR_POD_CONFIG"])["inbound"] == {"listen": "off"}


def test_pod_security_of_the_api_server_lets_a_restricted_pod_pass(
    cluster: Cluster, injector: Injector
) -> None:
    """The sidecar adds nothing that the level "restricted" forbids, as the API server judges it."""
    secured = pod("secured", namespace=RESTRICTED)
    context = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    secured["spec"]["containers"][0]["securityContext"] = context
    assert sidecar_of(cluster.admin.made(secured))
    assert cluster.admin.create(pod("lax", namespace=RESTRICTED)).status == 403


def test_a_dry_run_is_answered_like_the_real_thing(cluster: Cluster, injector: Injector) -> None:
    answer = cluster.admin.create(pod("rehearsed"), query="?dryRun=All")
    assert answer.status == 201, answer.message
    assert sidecar_of(answer.document)
    assert cluster.admin.ask("GET", f"/api/v1/namespaces/{SHOP}/pods/rehearsed").status == 404


def test_a_refusal_comes_out_of_the_api_server_in_full(
    cluster: Cluster, injector: Injector
) -> None:
    """Each line of it: what is wrong with the pod, and what to write instead."""
    wrong = pod("wrong", annotations={"jwt-sidecar/app-prot": "80", "jwt-sidecar/probes": "no"})
    answer = cluster.admin.create(wrong)
    assert answer.status == 403
    assert "jwt-sidecar/app-port" in answer.message
    assert "jwt-sidecar/probes" in answer.message
    assert answer.message.startswith('admission webhook "pods.injector.jwt-sidecar" denied')


def test_the_line_of_a_bad_configuration_is_named(
    cluster: Cluster, injector: Injector, rolebinding: None
) -> None:
    cluster.admin.made(config_map("broken", "version: 1\nisuers: {}\n"))
    answer = cluster.admin.create(pod("unlucky", annotations={"jwt-sidecar/config": "broken"}))
    assert answer.status == 403
    assert "2:1" in answer.message
    assert "issuers" in answer.message


def test_a_configuration_that_may_not_be_read_names_the_rolebinding(
    cluster: Cluster, injector: Injector
) -> None:
    """Its service account reads ConfigMaps of one name only, until a namespace allows more."""
    cluster.admin.made(config_map("secretive"))
    answer = cluster.admin.create(pod("curious", annotations={"jwt-sidecar/config": "secretive"}))
    assert answer.status == 503
    assert "kubectl create rolebinding jwt-sidecar-configurations" in answer.message
    assert f"--serviceaccount={SYSTEM}:{NAME} -n {SHOP}" in answer.message


def test_a_warning_reaches_whoever_creates_the_pod(cluster: Cluster, injector: Injector) -> None:
    ports = [{"name": "http", "containerPort": 8080}, {"name": "debug", "containerPort": 5005}]
    annotations = {"jwt-sidecar/app-port": "http"}
    answer = cluster.admin.create(pod("two-ports", ports=ports, annotations=annotations))
    assert answer.status == 201, answer.message
    assert any("port 5005 is not behind the sidecar" in each for each in answer.warnings)


def test_a_pod_that_opts_out_is_left_alone(cluster: Cluster, injector: Injector) -> None:
    stored = cluster.admin.made(pod("plain", annotations={"jwt-sidecar/inject": "false"}))
    assert not sidecar_of(stored)


def test_a_namespace_that_asked_for_nothing_gets_nothing(
    cluster: Cluster, injector: Injector
) -> None:
    assert not sidecar_of(cluster.admin.made(pod("plain", namespace=OTHER)))


def test_a_service_to_a_number_past_the_sidecar_is_refused(
    cluster: Cluster, injector: Injector
) -> None:
    """Created after the pod; one that names the port is fine, and leads to the sidecar."""
    cluster.admin.made(pod("cart"))
    answer = cluster.admin.create(service("cart", 8080, "cart"))
    assert answer.status == 403
    assert "write `targetPort: http`" in answer.message
    cluster.admin.made(service("cart", "http", "cart"))
    moved = [{"op": "replace", "path": "/spec/ports/0/targetPort", "value": 8080}]
    path = f"/api/v1/namespaces/{SHOP}/services/cart"
    content_type = "application/json-patch+json"
    answer = cluster.admin.ask("PATCH", path, moved, content_type=content_type)
    assert answer.status == 403


def test_a_pod_behind_a_service_to_a_number_is_refused(
    cluster: Cluster, injector: Injector
) -> None:
    cluster.admin.made(service("early", 8080, "early"))
    answer = cluster.admin.create(pod("early"))
    assert answer.status == 403
    assert "Service early" in answer.message


def test_a_reapplied_manifest_without_ca_bundle_is_mended(cluster: Cluster) -> None:
    """An injector that starts finds it, as one that runs does when it looks again."""
    remove = [{"op": "remove", "path": "/webhooks/0/clientConfig/caBundle"}]
    with cluster.injector() as first:
        cluster.call(first)
        for path in (MUTATING, VALIDATING):
            cluster.admin.patch(path, remove)
    with cluster.injector() as second:
        cluster.call(second)
        authority = base64.b64decode(cluster.admin.get(SECRET)["data"]["bundle.pem"])
        assert bundle_of(cluster, MUTATING) == bundle_of(cluster, VALIDATING) == authority
        assert len(x509.load_pem_x509_certificates(authority)) == 1
        assert sidecar_of(cluster.admin.made(pod("mended")))


def test_two_replicas_that_start_together_share_one_authority(cluster: Cluster) -> None:
    """Whoever comes second takes what the first one wrote: the API server may call either."""
    cluster.admin.ask("DELETE", SECRET)
    with cluster.injector() as first, cluster.injector() as second:
        for number, replica in enumerate((first, second, first)):
            cluster.call(replica)
            assert sidecar_of(cluster.admin.made(pod(f"shared-{number}")))


def test_the_service_account_may_do_what_it_needs_and_nothing_else(cluster: Cluster) -> None:
    """As the API server sees it, not as the manifest looks."""
    spec = {"namespace": SHOP}
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview"}
    path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews"
    answer = cluster.account.ask("POST", path, {**review, "spec": spec})
    assert answer.status == 201, answer.message
    allowed = {
        (verb, resource, name)
        for rule in answer.document["status"]["resourceRules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
        for name in rule.get("resourceNames") or ("*",)
        if not resource.startswith("selfsubject")  # which everybody may
    }
    assert allowed == {
        ("get", "configmaps", "jwt-sidecar"),
        ("list", "services", "*"),
        ("list", "pods", "*"),
        *(
            (verb, f"{kind}webhookconfigurations", NAME)
            for verb in ("get", "patch")
            for kind in ("mutating", "validating")
        ),
    }


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"/api/v1/namespaces/{SHOP}/secrets"),
        ("GET", f"/api/v1/namespaces/{SYSTEM}/secrets"),
        ("GET", f"/api/v1/namespaces/{SYSTEM}/secrets/another"),
        ("DELETE", SECRET),
        ("GET", f"/api/v1/namespaces/{SHOP}/configmaps/another"),
        ("DELETE", f"/api/v1/namespaces/{SHOP}/pods/orders"),
        ("GET", f"{MUTATING}-2"),
        ("GET", "/api/v1/nodes"),
    ],
)
def test_the_service_account_is_refused_the_rest(cluster: Cluster, method: str, path: str) -> None:
    assert cluster.account.ask(method, path).status == 403


def test_a_killed_injector_stops_injected_namespaces_only(cluster: Cluster) -> None:
    """Refused, not stored unprotected; what asked for nothing does not notice."""
    with cluster.injector() as running:
        cluster.call(running)
        cluster.admin.made(pod("before"))
        running.process.kill()
        running.process.wait()
        began = time.monotonic()
        answer = cluster.admin.create(pod("after"))
        assert answer.status == 500
        assert "failed calling webhook" in answer.message
        assert time.monotonic() - began < 30
        assert cluster.admin.ask("GET", f"/api/v1/namespaces/{SHOP}/pods/after").status == 404
        cluster.admin.made(pod("after", namespace=OTHER))
        cluster.admin.made(its_own_pod())


def test_what_is_stored_in_the_secret_is_one_authority(
    cluster: Cluster, injector: Injector
) -> None:
    data = cluster.admin.get(SECRET)["data"]
    assert sorted(data) == ["bundle.pem", "ca-key.pem", "ca.pem", "tls.crt", "tls.key"]
    leaf = x509.load_pem_x509_certificate(base64.b64decode(data["tls.crt"]))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert f"{NAME}.{SYSTEM}.svc" in names.get_values_for_type(x509.DNSName)
    assert "PRIVATE" not in json.dumps(cluster.admin.get(MUTATING))
