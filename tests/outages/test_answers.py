"""The issuer is there and does not say what it should."""

import asyncio
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.issuers.keys import State
from tests.outages.rows import UNAVAILABLE, Row
from tests.outages.support import CALLERS, Answer, Pod, Provider, answering, documents, drip, pod


async def fails(provider: Provider, row: Row, ill: Answer, *, state: State = "stale") -> None:
    """Play a whole outage in which the issuer is *ill*, and its keys get into *state*."""
    async with pod(provider) as running:
        await running.prepare()
        provider.mint.rotate()
        provider.ill = ill
        await running.until_state(state)
        await running.suffers(row)
        provider.ill = None
        await running.recovers(row)


async def test_slow(provider: Provider, row: Row) -> None:
    """Whoever needs the answer waits for it, all for one; nobody else does."""
    gate = asyncio.Event()
    arrived = asyncio.Event()

    async def late(_request: web.Request) -> web.Response:
        arrived.set()
        await gate.wait()
        return web.Response(body=documents(provider))

    async with pod(provider) as running:
        await running.prepare()
        provider.mint.rotate()
        provider.ill = late
        running.time.now += 10
        asked = provider.asked
        waiting = [
            asyncio.create_task(running.ask(provider.mint.token(f"waiting-{number}")))
            for number in range(CALLERS)
        ]
        await arrived.wait()
        for token in (*running.known, running.fresh.pop()):
            assert await running.ask(token) == row.known
        assert not any(task.done() for task in waiting)
        gate.set()
        assert await asyncio.gather(*waiting) == [row.new_key] * CALLERS
        await running.suffers(row)
        assert provider.asked == asked + 1


async def silence(_request: web.Request) -> web.Response:
    await asyncio.Event().wait()
    raise AssertionError


@pytest.mark.parametrize("ill", [silence, drip])
async def test_silent(provider: Provider, row: Row, ill: Answer) -> None:
    """An issuer that does not finish is given up after five seconds, and was down."""
    await fails(provider, row, ill)


@pytest.mark.parametrize("status", [404, 500, 502, 503])
async def test_errors(provider: Provider, row: Row, status: int) -> None:
    """An error is never a key set, whatever stands in it."""
    await fails(
        provider,
        row,
        answering(lambda: web.Response(status=status, body=documents(provider))),
    )


async def is_left_alone(running: Pod, seconds: float) -> None:
    """Assert that the issuer is not asked for so long, whatever is asked of us."""
    asked = running.provider.asked
    await running.let_pass(seconds - 5)
    for number in range(20):
        await running.ask(running.provider.mint.token(f"impatient-{number}"))
    assert running.provider.asked == asked


@pytest.mark.parametrize(("asked_for", "granted"), [(120, 120)])
async def test_too_many_requests(
    provider: Provider, row: Row, asked_for: int, granted: int
) -> None:
    """The issuer is left alone for as long as it asks, by the background and by callers."""
    await limits(provider, row, asked_for, granted)


async def test_too_many_requests_for_a_day(provider: Provider, row: Row) -> None:
    """Five minutes is as long as an issuer may keep a new key from working."""
    await limits(provider, row, 86400, 300)


async def limits(provider: Provider, row: Row, asked_for: int, granted: int) -> None:
    async with pod(provider) as running:
        await running.prepare()
        provider.mint.rotate()
        provider.ill = answering(
            lambda: web.Response(status=429, headers={"Retry-After": str(asked_for)})
        )
        await running.until_state("stale")
        await running.suffers(row)
        provider.ill = None
        await is_left_alone(running, granted)
        await running.recovers(row)


PRIVATE = json.dumps({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "d": "AA"}]})


@pytest.mark.parametrize(
    "response",
    [
        lambda: web.Response(text="<html>Sign in</html>", content_type="text/html"),
        lambda: web.json_response({"error": "temporarily_unavailable"}),
        lambda: web.Response(body=b""),
        lambda: web.Response(
            body=gzip.compress(b'{"keys": []}' + b" " * 10_000_000),
            headers={"Content-Encoding": "gzip"},
        ),
        lambda: web.Response(body=b'{"keys": [' + b" " * 300_000 + b"]}"),
    ],
)
async def test_not_a_key_set(
    provider: Provider, row: Row, response: Callable[[], web.Response]
) -> None:
    """What is no key set replaces none."""
    await fails(provider, row, answering(response))


@pytest.mark.parametrize("text", ['{"keys": []}', PRIVATE])
async def test_emptied(provider: Provider, row: Row, text: str) -> None:
    """A set without a usable key is taken for a mistake: the keys before stay."""
    await fails(provider, row, answering(lambda: web.Response(text=text)))


async def test_exposed(provider: Provider, row: Row) -> None:
    """Whoever fetched them can sign: what the keys before verified is refused from now on."""
    exposed = [{**key, "d": "AQAB"} for key in provider.mint.jwks()["keys"]]
    await fails(
        provider, row, answering(lambda: web.json_response({"keys": exposed})), state="blind"
    )


async def test_exposed_keys_are_not_recalled(provider: Provider, tmp_path: Path) -> None:
    """The copy on disk goes with them: a restart while the issuer is down finds none."""
    exposed = [{**key, "d": "AQAB"} for key in provider.mint.jwks()["keys"]]
    async with pod(provider, keys_cache=str(tmp_path)) as running:
        await running.prepare()
        provider.ill = answering(lambda: web.json_response({"keys": exposed}))
        await running.until_state("blind")
    await provider.kill()
    async with pod(provider, keys_cache=str(tmp_path)) as running:
        assert await running.ask(provider.mint.token("anybody")) == UNAVAILABLE
