"""The two services by themselves: ordinary programs that know nothing of sidecars."""

import ast
import sys
from collections.abc import Iterator

import aiohttp
import pytest

from sidecar.demo.crowd import measure_load
from sidecar.testbed.processes import child_environment, service
from tests.demo.conftest import DEMO

SCRIPTS = ("user_service.py", "profile_service.py")


def imported(script: str) -> Iterator[str]:
    for node in ast.walk(ast.parse((DEMO / script).read_text())):
        match node:
            case ast.Import(names=names):
                yield from (each.name.partition(".")[0] for each in names)
            case ast.ImportFrom(module=module):
                yield (module or "ours").partition(".")[0]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_service_imports_the_standard_library_alone(script: str) -> None:
    """Nothing of ours is needed in an app: no library, no helper."""
    assert set(imported(script)) <= sys.stdlib_module_names


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("word", ["token", "bearer", "jwt", "authorization", "sidecar-context"])
def test_a_service_never_mentions_credentials(script: str, word: str) -> None:
    """The services contain no auth code, in any spelling."""
    assert word not in (DEMO / script).read_text().lower()


async def test_profile_service_repeats_who_asked(
    profile_service: str, client: aiohttp.ClientSession
) -> None:
    """Whom its sidecar named is in the answer, and so are the names of all fields it received."""
    headers = {"x-auth-subject": "alice", "Other": "1"}
    async with client.get(f"{profile_service}/profiles/b%2Fob", headers=headers) as response:
        answer = await response.json()
    assert answer["id"] == "b/ob"
    assert answer["asked_by"] == {"x-auth-subject": "alice"}
    assert {"other", "x-auth-subject"} <= set(answer["fields_received"])


async def test_user_service_includes_what_profile_service_said(
    user_service: str, client: aiohttp.ClientSession
) -> None:
    """The downstream answer is part of the answer, and without a sidecar nobody is named."""
    async with client.get(f"{user_service}/users/alice") as response:
        answer = await response.json()
    assert (answer["user"], answer["profile"]["id"]) == ("alice", "alice")
    assert answer["profile"]["asked_by"] == {}


async def test_background_calls_are_remembered(
    user_service: str, client: aiohttp.ClientSession
) -> None:
    """Threads without a request call too, and what they saw can be asked for."""
    async with client.get(f"{user_service}/warmup") as response:
        assert (await response.json())["status"] == 200
    async with client.post(f"{user_service}/reports", json={"about": "all"}) as response:
        assert response.status == 202
    async with client.get(f"{user_service}/reports/last") as response:
        assert (await response.json())["answer"]["id"] == "alice"


async def test_a_downstream_refusal_is_passed_on(
    profile_service: str, client: aiohttp.ClientSession
) -> None:
    """What profile-service answered is shown with its status, so that a person sees why."""
    environment = child_environment(PROFILES_URL=f"{profile_service}/nowhere")
    script = DEMO / "user_service.py"
    async with (
        service("u", script, "--port", "0", environment=environment) as (_, address),
        client.get(f"http://{address}/users/alice") as response,
    ):
        answer = await response.json()
    assert (response.status, answer["status"]) == (502, 404)
    assert answer["answer"] == {"error": "there is nothing here"}


async def test_an_absent_profile_service_is_said(client: aiohttp.ClientSession) -> None:
    """Nothing listening downstream is a 502 with the cause, not a lost connection."""
    environment = child_environment(PROFILES_URL="http://127.0.0.1:9")
    script = DEMO / "user_service.py"
    async with (
        service("u", script, "--port", "0", environment=environment) as (_, address),
        client.get(f"http://{address}/users/alice") as response,
    ):
        answer = await response.json()
    assert response.status == 502
    assert "did not answer" in answer["answer"]["title"]


@pytest.mark.parametrize("path", ["/", "/users", "/users/a/b", "/reports/last", "/healthy"])
async def test_unknown_paths_are_not_found(
    user_service: str, profile_service: str, client: aiohttp.ClientSession, path: str
) -> None:
    """Neither service answers for what it does not have."""
    for url in (user_service, profile_service):
        async with client.get(url + path) as response:
            assert response.status == 404


async def test_the_load_notices_that_nobody_is_verified(user_service: str) -> None:
    """Without sidecars nobody is named to profile-service, and every call counts as wrong."""
    report = await measure_load(user_service, lambda name: name, ["alice", "bob"], 60, 20)
    assert (report.calls, report.wrong, report.broken) == (60, 60, 0)
    assert report.details == {"seen as nobody": 60}
    assert report.in_flight_floor >= 19
    assert report.connections == 20
