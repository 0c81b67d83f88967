"""The cells that a change to the carrier is most likely to break, in every run of the tests.

Each runs a real app behind a real sidecar, with the first request open or with clients waiting
for the two connections of their pool: where identity gets lost if it ever does.
"""

from collections.abc import Sequence

import pytest

from tests.apps.clients import LIBRARIES
from tests.matrix.cells import Errand, Load, Result, run
from tests.matrix.expectations import Outcome, deviations
from tests.matrix.pods import Users, pod
from tests.support.needs import needs_module

pytestmark = pytest.mark.timeout(120)

BLOCKING = ("-m", "tests.apps.http_server_app", "0")
ASYNCIO = ("-m", "tests.apps.aiohttp_app", "0")
OPEN = (Load(users=60, in_flight=20),)
CONTENDED = (Load(users=120, in_flight=60, abort_share=0.05, error_share=0.05),)

Cells = Sequence[tuple[Errand, tuple[Load, ...]]]

FIRST_OPEN: dict[tuple[str, ...], tuple[str, ...]] = {
    BLOCKING: (
        "lazy_thread",
        "lazy_thread_in_copied_context",
        "lazy_in_executor",
        "lazy_in_kept_pool",
        "lazy_in_pool_of_generator",
    ),
    ASYNCIO: (
        "lazy_task",
        "lazy_thread",
        "lazy_in_executor",
        "lazy_in_shared_group",
        "lazy_in_kept_group",
        "lazy_in_group_of_generator",
        "lazy_in_anyio_group",
        "lazy_by_gather",
        "lazy_left_behind",
        "lazy_in_given_up_thread",
    ),
}


async def run_cells(users: Users, command: tuple[str, ...], cells: Cells) -> dict[str, Result]:
    """Run all *cells* in one app; return what was seen by style and client."""
    first, _ = cells[0]
    async with pod(users, command, first.grade, terms=first.terms) as running:
        return {
            f"{errand.style} {errand.client}": await run(running, errand, loads)
            for errand, loads in cells
        }


def assert_as_expected(cells: Cells, seen: dict[str, Result]) -> None:
    found = {
        name: (deviations(errand, seen[name]), str(seen[name]))
        for (errand, _), name in zip(cells, seen, strict=True)
        if deviations(errand, seen[name])
    }
    assert not found


@pytest.mark.parametrize("command", [BLOCKING, ASYNCIO], ids=["threads", "asyncio"])
async def test_worker_of_the_first_request(users: Users, command: tuple[str, ...]) -> None:
    """A worker that the first request starts lends nobody its identity, while that is open."""
    if command is ASYNCIO:
        needs_module("anyio")
    cells = [
        (Errand(style, "http_client", "strict", first_stays_open=True), OPEN)
        for style in FIRST_OPEN[command]
    ]
    assert_as_expected(cells, await run_cells(users, command, cells))


async def test_batchers(users: Users) -> None:
    """One task that calls for several users calls in nobody's name."""
    cells = [(Errand(style, "aiohttp", "strict"), OPEN) for style in ("batcher", "data_loader")]
    assert_as_expected(cells, await run_cells(users, ASYNCIO, cells))


async def test_callbacks_of_a_shared_future(users: Users) -> None:
    """A callback does not speak for the request whose thread happens to run it."""
    cells = [(Errand("done_callback", "http_client", "strict"), OPEN)]
    seen = await run_cells(users, BLOCKING, cells)
    assert_as_expected(cells, seen)
    assert seen["done_callback http_client"].right


async def test_work_after_the_response_where_it_may_linger(users: Users) -> None:
    """A framework's background task, and in the standard grade a job left in a pool."""
    for module in ("fastapi", "uvicorn"):
        needs_module(module)
    fastapi = ("-m", "tests.apps.fastapi_app", "0")
    for command, style, client, grade in (
        (fastapi, "background", "aiohttp", "strict"),
        (BLOCKING, "detached_in_executor", "http_client", "standard"),
    ):
        cells = [(Errand(style, client, grade, terms="linger"), OPEN)]  # type: ignore[arg-type]
        assert_as_expected(cells, await run_cells(users, command, cells))


async def test_requests_that_work_for_others_where_callers_take_turns(users: Users) -> None:
    """What no carrier can tell apart never meets in the app."""
    cells = [
        (Errand(style, "http_client", "strict", terms="exclusive"), (Load(users=30, in_flight=30),))
        for style in ("leader_batch", "leader_pool")
    ]
    seen = await run_cells(users, BLOCKING, cells)
    assert_as_expected(cells, seen)
    assert all(result.right for result in seen.values())


@pytest.mark.parametrize(
    ("command", "clients"),
    [
        (
            BLOCKING,
            ("http_client_kept", "urllib3_block", "requests_session", "httpx", "botocore"),
        ),
        (ASYNCIO, ("httpx_async", "aiohttp", "requests_session")),
    ],
    ids=["threads", "asyncio"],
)
async def test_bounded_pools_under_contention(
    users: Users, command: tuple[str, ...], clients: tuple[str, ...]
) -> None:
    """A call that waits for a connection, or inherits one, still goes out as its own user."""
    for client in clients:
        needs_module(LIBRARIES.get(client, "http.client"))
    cells = [(Errand("direct", client, "strict"), CONTENDED) for client in clients]
    assert_as_expected(cells, await run_cells(users, command, cells))


@pytest.mark.parametrize(
    ("command", "clients"),
    [
        (BLOCKING, ("http_client_kept", "urllib3_block", "requests_session")),
        (ASYNCIO, ("httpx_async", "aiohttp")),
    ],
    ids=["threads", "asyncio"],
)
async def test_retry_after_close(
    users: Users, command: tuple[str, ...], clients: tuple[str, ...]
) -> None:
    """A kept connection that turns out to be closed is replaced, and nobody inherits a call.

    Not every client calls again when its request was already on the way, so a few may fail.
    """
    for client in clients:
        needs_module(LIBRARIES.get(client, "http.client"))
    async with pod(users, command, idle="100ms") as running:
        for client in clients:
            errand = Errand("direct", client, "strict")
            result = await run(running, errand, (Load(40, 8),) * 3, rest_seconds=0.25)
            assert not deviations(errand, result, Outcome.OWN), result
            assert result.right > 100, result
            assert not result.refused, result
