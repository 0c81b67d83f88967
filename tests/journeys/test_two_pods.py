"""Caller, sidecar, app, sidecar, the next pod's sidecar, its app: both directions at once."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sidecar.config.model import Origin
from tests.support.http import Request, fetch
from tests.support.pod import Pod, pod

USERS = [f"user{number}" for number in range(24)]
CALLS = 240
IN_FLIGHT = 24


@asynccontextmanager
async def two_pods(directory: Path) -> AsyncIterator[tuple[Pod, Pod]]:
    """A pod whose destination is the other one's inbound listener, under one issuer."""
    (directory / "near").mkdir()
    (directory / "far").mkdir()
    async with pod(directory / "far") as far:
        upstream = Origin("http", far.bound.inbound.host, far.bound.inbound.port)
        async with pod(
            directory / "near", automatic=False, mint=far.mint, destination={"upstream": upstream}
        ) as near:
            yield near, far


async def serve(near: Pod, request: Request, seen: Counter[str], rng: random.Random) -> None:
    """Be the near app: wait, call the next pod once or twice, answer or hang up."""
    user = request.target.rpartition("/")[2]
    for _ in range(rng.randint(1, 2)):
        for _ in range(rng.randrange(4)):
            await asyncio.sleep(0)
        answer = await near.call_out(request.handle, f"/users/{user}")
        seen[answer.reason or str(answer.status)] += 1
    if rng.random() < 0.05:
        request.hang_up()
    else:
        request.answer()


@pytest.mark.parametrize("seed", range(3))
async def test_every_call_arrives_as_the_user_who_caused_it(tmp_path: Path, seed: int) -> None:
    """Many users, callers who leave and apps that hang up: never a wrong subject."""
    rng = random.Random(seed)
    seen: Counter[str] = Counter()
    async with two_pods(tmp_path) as (near, far):
        tokens = {user: near.mint.token(user) for user in USERS}

        async def app() -> None:
            async with asyncio.TaskGroup() as group:
                while True:
                    request = await near.app.next()
                    group.create_task(serve(near, request, seen, rng))

        async def call(user: str) -> None:
            task = asyncio.create_task(
                fetch(near.bound.inbound, f"/users/{user}", bearer=tokens[user])
            )
            if rng.random() < 0.05:
                for _ in range(rng.randrange(20)):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait((task,))
            if not task.cancelled():
                assert task.result().status in (200, 502)

        serving = asyncio.create_task(app())
        todo = [rng.choice(USERS) for _ in range(CALLS)]
        for start in range(0, CALLS, IN_FLIGHT):
            await asyncio.gather(*(call(user) for user in todo[start : start + IN_FLIGHT]))
        serving.cancel()
        await asyncio.wait((serving,))

        arrived = [
            (request.target.rpartition("/")[2], request.values("x-auth-subject"))
            for request in far.app.received
        ]
        assert len(arrived) >= CALLS
        assert [pair for pair in arrived if pair[1] != [pair[0]]] == []
        # A caller who left takes the identity along; nothing else may be refused.
        assert set(seen) <= {"200", "attribution_dead"}
        assert seen["200"] == len(arrived)


async def test_the_next_pod_judges_the_relayed_token_for_itself(tmp_path: Path) -> None:
    """A role that is missing there is refused there, and the app reads whose refusal it was."""
    async with two_pods(tmp_path) as (near, far):
        inbound = asyncio.create_task(
            fetch(near.bound.inbound, "/users/bob", bearer=near.mint.token("bob"))
        )
        request = await near.app.next()
        answer = await near.call_out(request.handle, "/admin/x")
        assert answer.status == 403
        assert answer.reason == ""  # reserved names of another sidecar end at ours
        assert b"urn:jwt-sidecar:reason:role_missing" in answer.body
        assert far.app.received == []
        request.answer()
        assert (await inbound).status == 200
