"""Load against a real server whose behaviour the test decides."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

from aiohttp import web

from sidecar.testbed.load import Broken, Call, Refused, Right, Verdict, Wrong, run_load

Answerer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(answer: Answerer) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(answer), handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def calls(url: str, count: int) -> list[Call]:
    return [Call(user=f"user-{i}", url=f"{url}/user-{i}", headers={}) for i in range(count)]


def judge(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> Verdict:
    if status != 200:
        return Refused(headers.get("reason", "?"))
    seen = body.decode()
    return Right() if seen == call.user else Wrong(seen)


async def test_every_call_is_judged_and_counted_once() -> None:
    """Right, wrong and refused calls are told apart, and each is counted once."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        number = int(request.path.rpartition("-")[2])
        if number % 10 == 0:
            return web.Response(status=403, headers={"reason": "no_rule"})
        return web.Response(text="user-1" if number % 10 == 1 else request.path[1:])

    async with serving(answer) as url:
        report = await run_load(calls(url, 100), judge, in_flight=8)
    assert (report.calls, report.refused, report.broken) == (100, 10, 0)
    assert report.wrong == 9  # user-1 itself is right
    assert report.details == {"no_rule": 10, "seen as user-1": 9}


async def test_so_many_are_in_flight_that_the_server_sees_them_together() -> None:
    """The floor is real: a server that answers only full groups gets full groups."""
    waiting: list[asyncio.Future[None]] = []

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        waiting.append(asyncio.get_running_loop().create_future())
        group = waiting[-1]
        if len(waiting) == 20:
            for each in waiting:
                each.set_result(None)
            waiting.clear()
        await group
        return web.Response(text=request.path[1:])

    async with serving(answer) as url:
        report = await run_load(calls(url, 200), judge, in_flight=20)
    assert (report.calls, report.wrong, report.broken) == (200, 0, 0)
    assert (report.in_flight_peak, report.in_flight_floor) == (20, 19)


async def test_connections_are_kept_alive() -> None:
    """No more connections are opened than calls are in flight."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text=request.path[1:])

    async with serving(answer) as url:
        report = await run_load(calls(url, 100), judge, in_flight=4)
    assert report.connections == 4


async def test_a_lost_connection_is_broken_and_the_others_go_on() -> None:
    """A call without an answer is neither right nor refused, and stops nobody."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/user-3" and request.transport is not None:
            request.transport.abort()
        return web.Response(text=request.path[1:])

    async with serving(answer) as url:
        report = await run_load(calls(url, 10), judge, in_flight=2)
    assert (report.calls, report.broken, report.wrong) == (10, 1, 0)


async def test_nothing_to_do_is_done_at_once() -> None:
    """An empty load is reported as such."""
    report = await run_load([], judge, in_flight=4)
    assert (report.calls, report.in_flight_peak, report.connections) == (0, 0, 0)


async def test_a_call_shows_no_credential_in_its_repr() -> None:
    """Header fields, which carry the token, stay out of failure messages."""
    assert "secret" not in repr(Call("alice", "http://x/", {"Authorization": "Bearer secret"}))
    assert repr(Broken("x")) == "Broken(cause='x')"
