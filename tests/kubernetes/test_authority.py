"""Replicas that share one authority through an API that tells who came second."""

import asyncio
import base64
import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sidecar.kubernetes.api import ApiError
from sidecar.kubernetes.authority import CONFIGURATIONS, OwnAuthority, Place
from sidecar.kubernetes.certificates import AUTHORITY_LIFE, AUTHORITY_RENEWED, SETTLE
from sidecar.kubernetes.injector_metrics import InjectorMetrics

PLACE = Place("system", "kept", "injector", "hooks")
NOW = datetime(2026, 11, 26, 9, 0, tzinfo=UTC)


class FakeApi:
    """Keeps objects as the API server does: with a version that a writer must know."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] | None = None
        self.hooks: dict[str, dict[str, Any]] = {
            plural: {
                "metadata": {"name": "hooks", "resourceVersion": "1"},
                "webhooks": [{"name": "a", "clientConfig": {}}, {"name": "b", "clientConfig": {}}],
            }
            for plural in CONFIGURATIONS
        }
        self.fails: ApiError | None = None
        self.written: list[str] = []
        self.conflicts = 0

    async def secret(self, namespace: str, name: str) -> Any:
        assert (namespace, name) == ("system", "kept")
        await asyncio.sleep(0)  # others run between reading and writing
        if self.fails is not None:
            raise self.fails
        return copy.deepcopy(self.kept)

    async def create_secret(self, namespace: str, secret: Any) -> Any:
        await asyncio.sleep(0)
        if self.kept is not None:
            raise self._conflict()
        return self._keep(secret, "created", 1)

    async def update_secret(self, namespace: str, secret: Any) -> Any:
        await asyncio.sleep(0)
        assert self.kept is not None
        version = self.kept["metadata"]["resourceVersion"]
        if secret["metadata"].get("resourceVersion") != version:
            raise self._conflict()
        return self._keep(secret, "updated", int(version) + 1)

    def _keep(self, secret: Any, how: str, version: int) -> Any:
        self.kept = copy.deepcopy(dict(secret))
        self.kept["metadata"]["resourceVersion"] = str(version)
        self.written.append(how)
        return self.kept

    def _conflict(self) -> ApiError:
        self.conflicts += 1
        return ApiError("conflict", 409)

    async def webhooks(self, plural: str, name: str) -> Any:
        return copy.deepcopy(self.hooks.get(plural))

    async def patch_webhooks(self, plural: str, name: str, patch: Any) -> Any:
        found = self.hooks[plural]
        assert patch["metadata"]["resourceVersion"] == found["metadata"]["resourceVersion"]
        for each in patch["webhooks"]:
            (hook,) = [hook for hook in found["webhooks"] if hook["name"] == each["name"]]
            hook["clientConfig"] |= each["clientConfig"]
        self.written.append(plural)
        return found

    def bundles(self) -> set[bytes]:
        return {
            base64.b64decode(hook["clientConfig"].get("caBundle", ""))
            for found in self.hooks.values()
            for hook in found["webhooks"]
        }

    def held(self, key: str) -> bytes:
        assert self.kept is not None
        return base64.b64decode(self.kept["data"][key])


class Clock:
    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment


def replica(api: FakeApi, clock: Clock | None = None) -> OwnAuthority:
    now = (clock or Clock()).now
    return OwnAuthority(api, PLACE, report=InjectorMetrics(), now=now)  # type: ignore[arg-type]


async def test_two_replicas_that_start_together_serve_the_same() -> None:
    """Both find nothing and make something; the one that is second takes the first one's."""
    api = FakeApi()
    first, second = replica(api), replica(api)
    await asyncio.gather(first.look(), second.look())
    assert api.written.count("created") == 1
    assert api.conflicts == 1
    assert not first.missing()
    assert not second.missing()
    assert api.bundles() == {api.held("bundle.pem")}
    assert first._material == second._material


async def test_a_renewal_is_written_once_and_reaches_the_other() -> None:
    api, clock = FakeApi(), Clock()
    first, second = replica(api, clock), replica(api, clock)
    await first.look()
    await second.look()
    old = first.current()
    clock.moment += AUTHORITY_LIFE - AUTHORITY_RENEWED + timedelta(seconds=1)
    await asyncio.gather(first.look(), second.look())
    clock.moment += SETTLE
    await asyncio.gather(first.look(), second.look())
    await asyncio.gather(first.look(), second.look())
    assert first.current() is not old
    assert first._material == second._material
    assert api.bundles() == {api.held("bundle.pem")}


async def test_what_is_as_it_should_be_is_not_written() -> None:
    api = FakeApi()
    authority = replica(api)
    await authority.look()
    context, written = authority.current(), list(api.written)
    await authority.look()
    assert api.written == written
    assert authority.current() is context


@pytest.mark.parametrize("emptied", ["", "bm90aGluZw=="])
async def test_a_reapplied_manifest_is_mended_at_the_next_look(emptied: str) -> None:
    api = FakeApi()
    authority = replica(api)
    await authority.look()
    api.hooks[CONFIGURATIONS[0]]["webhooks"][1]["clientConfig"]["caBundle"] = emptied
    api.written.clear()
    await authority.look()
    assert api.written == [CONFIGURATIONS[0]]
    assert api.bundles() == {api.held("bundle.pem")}


async def test_a_cluster_without_the_webhook_for_services_is_fine() -> None:
    api = FakeApi()
    del api.hooks[CONFIGURATIONS[1]]
    authority = replica(api)
    await authority.look()
    assert not authority.missing()


async def test_without_its_configuration_it_is_not_ready_and_says_so() -> None:
    api = FakeApi()
    api.hooks.clear()
    authority = replica(api)
    await authority.look()
    assert "mutatingwebhookconfigurations hooks" in authority.missing()


async def test_a_spoiled_secret_is_made_anew(caplog: pytest.LogCaptureFixture) -> None:
    api = FakeApi()
    authority = replica(api)
    await authority.look()
    assert api.kept is not None
    api.kept["data"]["tls.key"] = "c3BvaWxlZA=="
    await authority.look()
    assert not authority.missing()
    assert api.bundles() == {api.held("bundle.pem")}
    assert "made anew" in caplog.text
    assert "PRIVATE" not in caplog.text


async def test_an_api_that_fails_leaves_what_works_and_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    api = FakeApi()
    authority = replica(api)
    api.fails = ApiError("the API server cannot be reached")
    await authority.look()
    assert authority.current() is None
    assert "cannot be reached" in authority.missing()
    api.fails = None
    await authority.look()
    assert not authority.missing()
    api.fails = ApiError("the API server is gone")
    caplog.clear()
    await authority.look()
    await authority.look()
    assert authority.current() is not None
    assert not authority.missing()
    assert caplog.text.count("is gone") == 1
