"""Every pod that comes out is one that Kubernetes takes, and no less secure than it came in."""

from typing import Any

import jsonpatch
import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from tests.kubernetes.cases import CASES
from tests.kubernetes.pod_security import violations, violations_of_container
from tests.kubernetes.pods import injected, offered

VERSIONS = ("1.29", "1.31", kubernetes_validate.latest_version())


@pytest.fixture(scope="module")
def results() -> dict[str, Any]:
    """What came of each case."""
    return {name: injected(given, **more) for name, (given, more) in CASES.items()}


@pytest.mark.parametrize("version", VERSIONS)
def test_schemas(version: str, results: dict[str, Any]) -> None:
    """Each pod fits the schemas of each version, without a field that the version lacks."""
    for name, result in results.items():
        try:
            kubernetes_validate.validate(result.pod, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            pytest.fail(f"{name}, {version}: {error}")


def test_schemas_can_fail(results: dict[str, Any]) -> None:
    """The schemas above would have found a field that does not exist."""
    result = results["smallest"]
    broken = {**result.pod, "spec": {**result.pod["spec"], "contaners": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, VERSIONS[0], strict=True)


def test_restricted(results: dict[str, Any]) -> None:
    """No container or volume of ours is more than the level "restricted" allows, in any pod."""
    for name, (given, _) in CASES.items():
        spec = results[name].pod["spec"]
        own = spec.get("securityContext") or {}
        ours = [
            each
            for each in (*spec["containers"], *spec.get("initContainers", ()))
            if each["name"].startswith("jwt-sidecar")
        ]
        assert len(ours) in (1, 2), name
        for each in ours:
            assert list(violations_of_container(each, own)) == [], (name, each["name"])
            assert each["securityContext"]["readOnlyRootFilesystem"] is True
            assert each["securityContext"]["runAsUser"] == 10001
        added = set(violations(results[name].pod)) - set(violations(given))
        assert added == set(), name
    assert violations(results["restricted"].pod) == []


def test_restricted_can_fail() -> None:
    """A container that says nothing of its rights is found."""
    assert len(violations(CASES["smallest"][0])) == 4


def test_names_are_unique(results: dict[str, Any]) -> None:
    """No two containers, volumes, ports or variables of a pod have one name."""
    for name, result in results.items():
        spec = result.pod["spec"]
        containers = [*spec["containers"], *spec.get("initContainers", ())]
        for items in (containers, spec["volumes"], *(each.get("env", ()) for each in containers)):
            names = [item["name"] for item in items]
            assert len(set(names)) == len(names), name
        for each in containers:
            ports = [
                (port["containerPort"], port.get("protocol", "TCP"))
                for port in each.get("ports", ())
            ]
            assert len(set(ports)) == len(ports), name
        mounted = {m["name"] for each in containers for m in each.get("volumeMounts", ())}
        assert mounted <= {volume["name"] for volume in spec["volumes"]}, name


def test_patches(results: dict[str, Any]) -> None:
    """The patch makes the new pod of the given one, read by somebody else's code."""
    for name, (given, _) in CASES.items():
        result = results[name]
        assert jsonpatch.JsonPatch(list(result.patch)).apply(given) == result.pod, name


def test_again(results: dict[str, Any]) -> None:
    """A pod that has its sidecar stays as it is, whatever the injector is set up to by now."""
    for name, (_, more) in CASES.items():
        again = offered(results[name].pod, **more)
        assert (again.pod, again.patch) == (results[name].pod, ()), name  # type: ignore[union-attr]


def test_same_each_time(results: dict[str, Any]) -> None:
    """The same pod gives the same patch, in the same order."""
    for name, (given, more) in CASES.items():
        assert injected(given, **more) == results[name], name
