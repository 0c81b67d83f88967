"""The demo's overlay played on loopback: commands and configurations are the manifests'."""

import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from sidecar.demo.stage import CARRIER
from sidecar.kubernetes.injection import inject
from sidecar.kubernetes.results import Injected
from sidecar.kubernetes.settings import InjectorSettings
from sidecar.testbed.ports import free_ports
from sidecar.testbed.processes import (
    SIDECAR,
    RunningSidecar,
    child_environment,
    child_process,
)
from tests.manifests.test_kustomize import named
from tests.support.manifests import built
from tests.support.readiness import until_ready

_LISTENS = re.compile(r"listening on 127\.0\.0\.1:\d+")
_STARTED = re.compile("^sidecar: (ready|started)$")
_LIMIT_SECONDS = 20.0


@dataclass
class Demo:
    """Where a person with port-forwards would call."""

    client: aiohttp.ClientSession
    issuer: str
    users: str
    profiles: str

    async def token(self, user: str) -> str:
        form = {"grant_type": "password", "username": user, "password": f"{user}-password"}
        async with self.client.post(f"{self.issuer}/token", data=form) as answer:
            return str((await answer.json())["access_token"])

    async def get(self, url: str, token: str | None = None) -> tuple[int, Any]:
        fields = {} if token is None else {"Authorization": f"Bearer {token}"}
        async with self.client.get(url, headers=fields) as answer:
            return answer.status, await answer.json(content_type=None)


async def test_what_the_page_says_one_should_see(tmp_path: Path) -> None:
    """docs/kubernetes.md: alice's profile with her name on it, and the refusals."""
    async with demo(tmp_path) as running:
        alice, bob = await running.token("alice"), await running.token("bob")
        status, user = await running.get(f"{running.users}/users/alice", alice)
        assert status == 200
        assert user["profile"]["asked_by"]["x-auth-subject"] == "alice"
        assert "authorization" not in user["fields_received"]
        for url, token, wanted in (
            (f"{running.users}/users/alice", None, (401, "token_missing")),
            (f"{running.profiles}/admin/profiles", bob, (403, "role_missing")),
            (f"{running.profiles}/elsewhere", bob, (403, "no_rule")),
        ):
            status, problem = await running.get(url, token)
            assert (status, problem["type"].rpartition(":")[2]) == wanted
        assert (await running.get(f"{running.profiles}/admin/profiles", alice))[0] == 200


@asynccontextmanager
async def demo(directory: Path) -> AsyncIterator[Demo]:
    """Start what the overlay's Deployments start, injected, with addresses of loopback."""
    objects = built("overlays/demo")
    issuer, user_app, profile_app, users, profiles, out = free_ports(6)
    moved = {
        "http://identity-provider.jwt-sidecar-demo.svc:9000": f"http://127.0.0.1:{issuer}",
        "http://profile-service.jwt-sidecar-demo.svc": f"http://127.0.0.1:{profiles}",
        "127.0.0.1:9001": f"127.0.0.1:{out}",
    }
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(aiohttp.ClientSession())
        await _app(
            stack, objects, "identity-provider", moved,
            {"--host=0.0.0.0": "--host=127.0.0.1", "--port=9000": f"--port={issuer}"},
        )  # fmt: skip
        await _app(
            stack, objects, "profile-service", moved, {"--port=8081": f"--port={profile_app}"}
        )
        await _sidecar(
            stack, client, directory, objects, "profile-service", moved, profile_app, profiles
        )
        await _sidecar(stack, client, directory, objects, "user-service", moved, user_app, users)
        await _app(
            stack, objects, "user-service", moved, {"--port=8080": f"--port={user_app}"},
            PYTHONPATH=os.pathsep.join(filter(None, (str(CARRIER), os.environ.get("PYTHONPATH")))),
            SIDECAR_CARRIER="grade=strict",
            PROFILES_URL=f"http://localhost:{out}",
        )  # fmt: skip
        yield Demo(
            client,
            f"http://127.0.0.1:{issuer}",
            f"http://127.0.0.1:{users}",
            f"http://127.0.0.1:{profiles}",
        )


async def _app(
    stack: AsyncExitStack,
    objects: list[Any],
    name: str,
    moved: Mapping[str, str],
    arguments: Mapping[str, str],
    **environment: str,
) -> None:
    """Start the container of the Deployment *name* with other *arguments*."""
    deployment = named(objects, "Deployment", name)
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    python, *rest = container["command"]
    assert python == "python"
    assert arguments.keys() <= set(rest)
    command = [sys.executable, *(arguments.get(each, _replaced(each, moved)) for each in rest)]
    child = await stack.enter_async_context(
        child_process(name, command, environment=child_environment(**environment))
    )
    await child.line(_LISTENS, timeout_seconds=_LIMIT_SECONDS)


async def _sidecar(
    stack: AsyncExitStack,
    client: aiohttp.ClientSession,
    directory: Path,
    objects: list[Any],
    name: str,
    moved: Mapping[str, str],
    app: int,
    inbound: int,
) -> None:
    """Start the sidecar that the injector puts beside *name*, with both halves of its file."""
    configs = {
        each["metadata"]["name"]: each["data"]["config.yaml"]
        for each in objects
        if each["kind"] == "ConfigMap"
    }
    result = inject(
        named(objects, "Deployment", name)["spec"]["template"],
        namespace="jwt-sidecar-demo",
        owner_kind="Deployment",
        settings=InjectorSettings("jwt-sidecar:1"),
        config=configs.get,
    )
    assert isinstance(result, Injected)
    (container,) = [
        each for each in result.pod["spec"]["initContainers"] if each["name"] == "jwt-sidecar"
    ]
    (pod,) = [
        yaml.safe_load(each["value"])
        for each in container["env"]
        if each["name"] == "SIDECAR_POD_CONFIG"
    ]
    pod["inbound"] = {"app": f"http://127.0.0.1:{app}", "listen": f"127.0.0.1:{inbound}"}
    pod["admin"] = {"listen": "127.0.0.1:0"}
    shared, own = directory / f"{name}.yaml", directory / f"{name}.pod.yaml"
    shared.write_text(_replaced(configs[name], moved))
    own.write_text(yaml.safe_dump(pod))
    command = (*SIDECAR, "run", "--config", str(shared), "--config", str(own))
    child = await stack.enter_async_context(
        child_process(f"{name}'s sidecar", command, environment=child_environment())
    )
    await child.line(_STARTED, timeout_seconds=_LIMIT_SECONDS)
    await until_ready(client, RunningSidecar(child, child.announced()))


def _replaced(text: str, moved: Mapping[str, str]) -> str:
    for ours, here in moved.items():
        text = text.replace(ours, here)
    return text
