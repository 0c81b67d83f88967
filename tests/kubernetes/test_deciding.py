"""What is asked of the API for one decision, and what it means when there is no answer."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest

from sidecar.kubernetes.admission import Answer, Review, read
from sidecar.kubernetes.api import ApiError, Listed
from sidecar.kubernetes.deciding import MAX_CONFIG_BYTES, Account, Decider
from sidecar.kubernetes.results import JsonObject
from sidecar.kubernetes.settings import InjectorSettings
from tests.kubernetes.pods import CONFIG, SETTINGS, container, pod
from tests.kubernetes.reviews import SERVICES, review


class FakeCluster:
    """Answers from what a test puts in, and remembers what was asked."""

    def __init__(self, **config_maps: str) -> None:
        self.config_maps = {"jwt-sidecar": CONFIG, **config_maps}
        self.listed = Listed((), is_cut=False)
        self.running = Listed((), is_cut=False)
        self.fails: Callable[[], Exception] | None = None
        self.hangs = False
        self.asked: list[str] = []

    async def config_map(self, namespace: str, name: str) -> JsonObject | None:
        await self._ask(f"configmap {namespace}/{name}")
        text = self.config_maps.get(name)
        return None if text is None else {"data": {"config.yaml": text}}

    async def services(self, namespace: str) -> Listed:
        await self._ask(f"services {namespace}")
        return self.listed

    async def pods(self, namespace: str, labels: Mapping[str, str]) -> Listed:
        await self._ask(f"pods {namespace} {dict(labels)}")
        return self.running

    async def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.hangs:
            await asyncio.Event().wait()
        if self.fails is not None:
            raise self.fails()


@asynccontextmanager
async def decider(
    cluster: FakeCluster, settings: InjectorSettings | None = SETTINGS
) -> AsyncIterator[Decider]:
    with ThreadPoolExecutor(1) as executor:
        yield Decider(cluster, lambda: settings, account=Account("system"), executor=executor)


def asked(obj: Any, **request: Any) -> Review:
    return read(json.dumps(review(obj, **request)).encode())


async def decide(cluster: FakeCluster, obj: Any, **request: Any) -> Answer:
    async with decider(cluster) as deciding:
        return await deciding.decide(asked(obj, **request), timeout_seconds=5.0)


def _service(target: object, **more: Any) -> dict[str, Any]:
    spec = {"selector": {"app": "orders"}, "ports": [{"port": 80, "targetPort": target}], **more}
    return {"metadata": {"name": "orders"}, "spec": spec}


async def _injected(cluster: FakeCluster) -> dict[str, Any]:
    from sidecar.kubernetes.injection import inject
    from sidecar.kubernetes.results import Injected

    found = inject(
        pod(), namespace="shop", owner_kind=None, settings=SETTINGS, config=cluster.config_maps.get
    )
    assert isinstance(found, Injected)
    return dict(found.pod)


async def test_a_pod_is_decided_with_its_configuration_and_the_services() -> None:
    cluster = FakeCluster()
    answer = await decide(cluster, pod())
    assert answer.result == "injected"
    assert answer.patch
    assert sorted(cluster.asked) == ["configmap shop/jwt-sidecar", "services shop"]


async def test_the_configuration_that_a_pod_names_is_asked_for() -> None:
    cluster = FakeCluster(mine=CONFIG)
    answer = await decide(cluster, pod(annotations={"config": "mine"}))
    assert answer.result == "injected"
    assert "configmap shop/mine" in cluster.asked


async def test_a_service_made_a_moment_ago_is_seen() -> None:
    """Nothing is remembered: with the next pod the API is asked again."""
    cluster = FakeCluster()
    assert (await decide(cluster, pod())).result == "injected"
    cluster.listed = Listed([_service(8080)], is_cut=False)
    answer = await decide(cluster, pod())
    assert answer.result == "refused"
    assert "Service orders" in answer.message


@pytest.mark.parametrize("obj", [pod(annotations={"inject": "false"}), {"spec": "broken"}])
async def test_what_is_decided_by_the_pod_alone_asks_nothing(obj: Any) -> None:
    """An API server in trouble must not keep a pod from starting that has opted out."""
    cluster = FakeCluster()
    cluster.fails = lambda: ApiError("down")
    answer = await decide(cluster, obj)
    assert answer.result in ("skipped", "refused")
    assert cluster.asked == []


async def test_a_pod_asked_about_once_more_asks_nothing_and_changes_nothing() -> None:
    """Another webhook has come after ours (reinvocationPolicy)."""
    cluster = FakeCluster()
    answer = await decide(cluster, await _injected(cluster))
    assert (answer.result, list(answer.patch)) == ("injected", [])
    assert cluster.asked == []


@pytest.mark.parametrize("operation", ["UPDATE", "DELETE", "CONNECT"])
async def test_only_the_creation_of_a_pod_matters(operation: str) -> None:
    cluster = FakeCluster()
    answer = await decide(cluster, pod(), operation=operation)
    assert (answer.result, cluster.asked) == ("skipped", [])


async def test_an_api_that_does_not_answer_refuses_the_pod_in_words() -> None:
    cluster = FakeCluster()
    cluster.fails = lambda: ApiError("the API server did not answer within 3s")
    answer = await decide(cluster, pod())
    assert answer.result == "error"
    assert not answer.is_allowed
    assert "did not answer within 3s" in answer.message


async def test_a_right_that_is_missing_is_named() -> None:
    cluster = FakeCluster()
    cluster.fails = lambda: ApiError("answered 403: no", 403)
    answer = await decide(cluster, pod())
    assert answer.result == "error"
    assert "--serviceaccount=system:jwt-sidecar-injector -n shop" in answer.message


async def test_a_decision_ends_before_the_api_server_stops_waiting() -> None:
    cluster = FakeCluster()
    cluster.hangs = True
    async with decider(cluster) as deciding:
        answer = await deciding.decide(asked(pod()), timeout_seconds=0.05)
    assert answer.result == "error"
    assert "no decision within 0.05s" in answer.message


async def test_a_fault_of_ours_is_a_refusal_and_a_line_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = FakeCluster()
    cluster.fails = lambda: RuntimeError("bug")
    answer = await decide(cluster, pod())
    assert (answer.result, answer.is_allowed) == ("error", False)
    assert "bug" not in answer.message
    assert "bug" in caplog.text


async def test_a_configuration_that_is_too_large_is_not_parsed() -> None:
    """Parsing takes a second for so much, and everybody who may write a ConfigMap could ask."""
    cluster = FakeCluster()
    cluster.config_maps["jwt-sidecar"] = CONFIG + "#" * MAX_CONFIG_BYTES
    answer = await decide(cluster, pod())
    assert answer.result == "refused"
    assert "256KiB" in answer.message


async def test_until_the_cluster_is_known_nothing_is_injected() -> None:
    async with decider(FakeCluster(), settings=None) as deciding:
        answer = await deciding.decide(asked(pod()), timeout_seconds=5.0)
    assert answer.result == "error"


async def test_services_that_were_not_all_listed_are_a_warning() -> None:
    cluster = FakeCluster()
    cluster.listed = Listed((), is_cut=True)
    answer = await decide(cluster, pod())
    assert answer.result == "injected"
    assert any("not all Services" in each for each in answer.warnings)


async def test_a_service_is_held_against_the_pods_it_chooses() -> None:
    cluster = FakeCluster()
    cluster.running = Listed([await _injected(cluster)], is_cut=False)
    answer = await decide(cluster, _service(8080), resource=SERVICES)
    assert answer.result == "refused"
    assert "targetPort: http" in answer.message
    selector = {"app": "orders", "jwt-sidecar/status": "injected"}
    assert cluster.asked == [f"pods shop {selector}"]
    assert (await decide(cluster, _service("http"), resource=SERVICES)).result == "allowed"


async def test_a_service_that_led_there_before_may_still_be_changed() -> None:
    """A label or a finalizer is none of our business; where it leads is said again."""
    cluster = FakeCluster()
    cluster.running = Listed([await _injected(cluster)], is_cut=False)
    before, after = _service(8080), _service(8080, type="ClusterIP")
    request = {"resource": SERVICES, "operation": "UPDATE", "oldObject": before}
    answer = await decide(cluster, after, **request)
    assert answer.result == "allowed"
    assert "targetPort: http" in answer.warnings[0]
    request["oldObject"] = _service("http")
    assert (await decide(cluster, after, **request)).result == "refused"


@pytest.mark.parametrize("spec", [{}, {"selector": None}, {"selector": {}}, "broken"])
async def test_a_service_that_chooses_no_pods_asks_nothing(spec: Any) -> None:
    cluster = FakeCluster()
    answer = await decide(cluster, {"spec": spec}, resource=SERVICES)
    assert (answer.result, cluster.asked) == ("allowed", [])


async def test_other_kinds_are_refused_with_what_to_change() -> None:
    deployments = {"group": "apps", "version": "v1", "resource": "deployments"}
    answer = await decide(FakeCluster(), {"spec": {}}, resource=deployments)
    assert answer.result == "refused"
    assert "deployments.apps" in answer.message


async def test_who_made_the_pod_is_told_to_the_patch() -> None:
    """A Job's pod with a sidecar beside the app would never be done."""
    settings = InjectorSettings(image="sidecar:1", native=False)
    owned = pod(container("job"))
    owned["metadata"]["ownerReferences"] = [{"kind": "Job", "controller": True}]
    async with decider(FakeCluster(), settings) as deciding:
        answer = await deciding.decide(asked(owned), timeout_seconds=5.0)
    assert answer.result == "refused"
    assert "Job" in answer.message
