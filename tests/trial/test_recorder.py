"""The destination: what it sees of a call, and how it answers."""

import asyncio
import gzip
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from sidecar.trial.arrivals import Arrival
from sidecar.trial.cast import Cast
from sidecar.trial.plan import Endpoint
from sidecar.trial.recorder import Holds, Manner, Recorder

CAST = Cast((Endpoint("GET", "/x/{user}"),), 4, lambda name: f"token-of-{name}")
ANN, BOB = (member.name for member in CAST.members[:2])


class Served:
    def __init__(self, recorder: Recorder, seen: list[Arrival], client: Any) -> None:
        self.recorder, self.seen, self.client = recorder, seen, client

    async def call(
        self, path: str = "/", *, to: str = "profiles", method: str = "GET", **options: Any
    ) -> tuple[int, str]:
        url = f"http://127.0.0.1:{self.recorder.ports[to]}{path}"
        async with self.client.request(method, url, **options) as answer:
            return answer.status, await answer.text()


@asynccontextmanager
async def serving(**manner: Any) -> AsyncIterator[Served]:
    seen: list[Arrival] = []
    usual = {"answer": '{"user": "{user}"}'}
    recorder = Recorder(
        ["profiles", "carts"],
        CAST,
        Manner(**{**usual, **manner}),
        record=seen.append,
        rng=random.Random(1),
    )
    timeout = aiohttp.ClientTimeout(total=20)
    async with recorder, aiohttp.ClientSession(timeout=timeout) as client:
        yield Served(recorder, seen, client)


@pytest.mark.parametrize(
    ("path", "options"),
    [
        (f"/profiles/{ANN}", {}),
        (f"/profiles?of={ANN}", {}),
        ("/profiles", {"headers": {"x-tenant": f"tenant-{ANN}"}}),
        ("/profiles", {"method": "POST", "json": {"owner": ANN}}),
        (
            "/profiles",
            {
                "method": "POST",
                "data": gzip.compress(ANN.encode()),
                "headers": {"Content-Encoding": "gzip"},
            },
        ),
    ],
    ids=["path", "query", "header", "body", "compressed"],
)
async def test_a_name_is_seen_anywhere(path: str, options: dict[str, Any]) -> None:
    """In path, query, header or body; the answer names it in turn."""
    async with serving() as served:
        assert await served.call(path, **options) == (200, f'{{"user": "{ANN}"}}')
    (arrival,) = served.seen
    assert arrival.named == {ANN}
    assert arrival.path in ("/profiles", f"/profiles/{ANN}")


@pytest.mark.parametrize(
    ("authorization", "expected"),
    [
        (None, (False, None)),
        (f"Bearer token-of-{ANN}", (True, ANN)),
        (f"bearer  token-of-{ANN}", (True, ANN)),
        ("Bearer something-else", (True, None)),
        (f"Basic token-of-{ANN}", (True, None)),
        (f"Basic {ANN}", (True, None)),
    ],
    ids=["none", "hers", "in lower case", "foreign", "not a bearer", "name alone"],
)
async def test_whose_token(authorization: str | None, expected: tuple[bool, str | None]) -> None:
    """Only a token that was minted for the run is somebody's; a credential names nobody."""
    headers = {} if authorization is None else {"Authorization": authorization}
    async with serving() as served:
        await served.call(headers=headers)
    (arrival,) = served.seen
    assert (arrival.has_credential, arrival.subject) == expected
    assert arrival.named == frozenset()


async def test_each_destination_has_a_port() -> None:
    """What was called is told by name."""
    async with serving() as served:
        await served.call(to="profiles")
        await served.call(to="carts")
    assert [arrival.destination for arrival in served.seen] == ["profiles", "carts"]
    assert served.recorder.arrived == 2


async def test_faults_are_of_both_kinds() -> None:
    """Some calls are answered 503 and some connections closed; all are recorded."""
    endings = []
    async with serving(faults=0.5) as served:
        for _ in range(60):
            try:
                endings.append((await served.call())[0])
            except aiohttp.ClientError:
                endings.append(0)
    assert set(endings) == {200, 503, 0}
    assert len(served.seen) >= 60


async def test_an_answer_of_ones_own() -> None:
    """An app that wants more than our answer can have it."""
    async with serving(answer="plain") as served:
        assert await served.call() == (200, "plain")


async def test_a_broken_encoding_is_no_failure() -> None:
    """A body that cannot be decoded is judged by the rest of the call."""
    async with serving() as served:
        status, _ = await served.call(
            f"/{ANN}", method="POST", data=b"no gzip", headers={"Content-Encoding": "gzip"}
        )
    assert status in (200, 400)
    assert [arrival.named for arrival in served.seen] in ([{ANN}], [])


async def held(holds: Holds, user: str, shape: str) -> "asyncio.Task[None]":
    task = asyncio.create_task(holds.keep(frozenset({user}), shape))
    await asyncio.sleep(0)
    return task


async def test_the_first_call_of_each_shape_is_held() -> None:
    """A chosen user's first calls wait, others and repeated ones do not."""
    holds = Holds(60.0)
    holds.choose([ANN])
    awaiting = [holds.is_awaiting]
    first = await held(holds, ANN, "GET /a")
    awaiting.append(holds.is_awaiting)
    assert awaiting == [True, False]
    await holds.keep(frozenset({ANN}), "GET /a")
    await holds.keep(frozenset({BOB}), "GET /a")
    await holds.keep(frozenset(), "GET /a")
    second = await held(holds, ANN, "GET /b")
    assert [first.done(), second.done(), holds.is_holding] == [False, False, True]
    holds.release_all()
    await asyncio.gather(first, second)
    await holds.keep(frozenset({ANN}), "GET /c")


async def test_a_hold_ends_by_itself() -> None:
    """No call is held longer than the time its user's first one had."""
    holds = Holds(0.01)
    holds.choose([ANN])
    await holds.keep(frozenset({ANN}), "GET /a")
    await holds.keep(frozenset({ANN}), "GET /b")
    assert not holds.is_holding


@pytest.mark.parametrize("order", [("GET /a", "GET /b"), ("GET /b", "GET /a")])
async def test_what_blocks_the_others_is_released_first(order: tuple[str, str]) -> None:
    """Others make calls like /a and none like /b, so /b occupies what would make them."""
    holds = Holds(60.0)
    holds.choose([ANN])
    tasks = {shape: await held(holds, ANN, shape) for shape in order}
    await holds.keep(frozenset({BOB}), "GET /a")
    holds.release_one()
    await tasks["GET /b"]
    assert not tasks["GET /a"].done()
    holds.release_one()
    await tasks["GET /a"]
    holds.release_one()
