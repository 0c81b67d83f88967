"""The end of a pod, from the first word of it to the last call of its app."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.model import Origin
from tests.admin.test_app_fence import app_on
from tests.admin.test_control import ASK, exchange
from tests.support.http import fetch
from tests.support.pod import Pod, pod
from tests.support.wire_peer import connected

POST = b"POST /drain HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
GET = POST.replace(b"POST", b"GET")
ANYONE = b"GET /open/x HTTP/1.1\r\nHost: h\r\n\r\n"


async def drain(path: Path, request: bytes) -> dict[str, Any]:
    head, _, body = (await exchange(path, request)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    told = json.loads(body)
    assert isinstance(told, dict)
    return told


async def test_asked_to_drain_it_serves_on_and_says_so(tmp_path: Path) -> None:
    """Not ready at once; old and new callers get answers that tell them to close."""
    control = tmp_path / "c.sock"
    async with (
        pod(tmp_path, control=control) as running,
        connected(running.bound.inbound.host, running.bound.inbound.port) as old,
    ):
        await old.send(ANYONE)
        assert (await old.message()).get(b"connection") is None
        assert (await drain(control, GET))["draining_seconds"] is None
        assert (await fetch(running.bound.admin, "/readyz")).status == 200
        told = await drain(control, POST)
        assert told["draining_seconds"] == pytest.approx(0, abs=10)
        assert (told["requests"], told["app_gone"]) == (0, False)
        answer = await fetch(running.bound.admin, "/readyz")
        assert (answer.status, answer.body) == (503, b"draining\n")
        assert (await fetch(running.bound.admin, "/livez")).status == 200
        await old.send(ANYONE)
        assert (await old.message()).get(b"connection") == b"close"
        assert await old.rest() == b""
        token = running.mint.token("alice")
        answer = await fetch(running.bound.inbound, "/users/x", bearer=token)
        assert (answer.status, answer.values("connection")) == (200, ["close"])
        status = json.loads((await exchange(control, ASK)).partition(b"\r\n\r\n")[2])
        assert (status["draining"], status["stopping"]) == (True, False)
        since = status["draining_seconds"]
        assert (await drain(control, POST))["draining_seconds"] >= since


async def test_outbound_is_as_ever_while_it_drains(tmp_path: Path) -> None:
    """The app goes on, with its connections and the tokens of its callers."""
    async with pod(tmp_path, automatic=False) as running:
        running.destination.automatic = True
        asking = asyncio.create_task(
            fetch(running.bound.inbound, "/users/x", bearer=running.mint.token("alice"))
        )
        request = await running.app.next()
        running.sidecar.begin_drain()
        answer = await running.call_out(request.handle)
        assert (answer.status, answer.values("connection")) == (200, [])
        request.answer()
        assert (await asking).status == 200


async def called(running: Pod) -> int:
    return (await running.call_out(None)).status


@pytest.mark.parametrize("ends_too", [True, False])
async def test_outbound_stays_until_the_app_is_gone(tmp_path: Path, ends_too: bool) -> None:
    """In a pod, SIGTERM is for the app too: what it calls last is served. Elsewhere it is not."""
    async with app_on("127.0.0.1") as port:
        pass
    async with pod(
        tmp_path,
        inbound={"app": Origin("http", "127.0.0.1", port)},
        destination={"without_context": "anonymous"},
        app_ends_too=ends_too,
    ) as running:
        async with app_on("127.0.0.1", port=port):
            ending = asyncio.create_task(running.sidecar.drain())
            while not running.wiring.inbound.stopped:
                await asyncio.sleep(0)
            with pytest.raises(ConnectionError):
                await fetch(running.bound.inbound, "/open/x")
            if not ends_too:
                await ending
                with pytest.raises(ConnectionError):
                    await called(running)
                return
            assert await called(running) == 200
            assert not ending.done()
        assert await called(running) == 200  # its port is closed, and it signs off
        await ending
        with pytest.raises(ConnectionError):
            await called(running)


async def test_an_app_that_stays_is_left_in_time(tmp_path: Path) -> None:
    """``drain_timeout`` bounds all of it: two seconds here."""
    async with app_on("127.0.0.1") as port:
        async with pod(
            tmp_path, inbound={"app": Origin("http", "127.0.0.1", port)}, app_ends_too=True
        ) as running:
            address = running.bound.outbound["profiles"]
        with pytest.raises(ConnectionError):
            await fetch(address, "/")
