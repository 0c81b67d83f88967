"""How keys age: by what the answer says, by the stale budget, and what operators hear of it."""

import asyncio
import logging
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.config.model import JwksUri
from sidecar.core.outcome import Reason
from tests.issuers.conftest import Bench, Benches
from tests.issuers.support import Provider, issuer, jwks
from tests.issuers.test_keys import pass_seconds


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({}, 300),
        ({"Cache-Control": "max-age=400"}, 400),
        ({"Cache-Control": "max-age=400", "Age": "250"}, 150),
        ({"Cache-Control": "max-age=86400"}, 900),
        ({"Cache-Control": "max-age=1"}, 60),
        ({"Cache-Control": "no-store"}, 60),
        ({"Cache-Control": "no-cache, max-age=400"}, 60),
    ],
)
async def test_the_answer_says_when(
    bench: Bench, provider: Provider, fields: dict[str, str], seconds: float
) -> None:
    """Refreshes follow the answer's ``Cache-Control`` within the bounds of the configuration."""
    provider.answer = lambda: web.Response(body=jwks("one"), headers=fields)
    async with bench.running():
        await bench.time.asleep()
        began = bench.time.now
        while provider.requests < 2:
            await bench.time.end_one_sleep()
            await bench.time.asleep()
    assert bench.time.now - began == pytest.approx(seconds)


@pytest.mark.parametrize(("seconds", "loaded"), [(86_396, True), (86_401, False)])
async def test_the_stale_budget(
    bench: Bench, provider: Provider, seconds: float, loaded: bool
) -> None:
    """Keys last as long as the budget says and no longer, however often a fetch failed."""
    async with bench.running():
        await bench.time.asleep()
        confirmed_at = bench.time.now
        provider.fail()
        await pass_seconds(bench, 400)
        bench.time.now = confirmed_at + seconds - 10
        await pass_seconds(bench, 10)
        assert bench.is_loaded() is loaded
        assert bench.report.states[-1] == ("stale" if loaded else "blind")
    if not loaded:
        assert bench.installed.sets == [{"one"}, frozenset()]
        assert bench.keys.fetched_at is None
        assert bench.keys.refusal("one") is not Reason.KEY_UNKNOWN


async def test_sight_comes_back(bench: Bench, provider: Provider) -> None:
    """The first good answer after the budget was spent puts the keys in force again."""
    async with bench.running():
        await bench.time.asleep()
        provider.fail()
        await pass_seconds(bench, 400)
        bench.time.now += 86_400
        await pass_seconds(bench, 5)
        assert bench.report.states[-1] == "blind"
        provider.publish("one")
        await pass_seconds(bench, 30)
    assert bench.installed.sets == [{"one"}, frozenset(), {"one"}]
    assert bench.report.states == ["loading", "fresh", "stale", "blind", "fresh"]


async def test_keys_that_come_and_go_are_named(
    bench: Bench, provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    """A new key is one line; one that left is a warning if tokens were still good under it."""
    caplog.set_level(logging.INFO, "sidecar.issuers")
    await bench.keys.obtain()
    provider.publish("one", "t\nwo")
    bench.time.now += 10
    await bench.keys.obtain()
    provider.publish("one")
    bench.time.now += 10
    await bench.keys.obtain()
    bench.installed.forgotten = 3
    provider.publish("three")
    bench.time.now += 10
    await bench.keys.obtain()
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    changes = [(level, text) for level, text in said if "in the key set" in text or "left" in text]
    assert changes == [
        ("INFO", "issuer shop: new in the key set: t?wo"),
        (
            "INFO",
            "issuer shop: left the key set: t?wo; verified tokens refused from now on: 0",
        ),
        (
            "WARNING",
            "issuer shop: left the key set: one; verified tokens refused from now on: 3",
        ),
        ("INFO", "issuer shop: new in the key set: three"),
    ]


@pytest.mark.parametrize(("ahead", "warns"), [(-40, True), (-20, False), (20, False), (40, True)])
async def test_clocks_are_compared(
    bench: Bench,
    provider: Provider,
    caplog: pytest.LogCaptureFixture,
    ahead: float,
    warns: bool,
) -> None:
    """A clock that differs by more than the leeway is warned about once, and always recorded."""
    provider.answer = lambda: web.Response(
        body=jwks("one"), headers={"Date": formatdate(bench.time.now + ahead, usegmt=True)}
    )
    await bench.keys.obtain()
    bench.time.now += 10
    await bench.keys.obtain()
    assert bench.keys.clock_offset_seconds == pytest.approx(ahead, abs=1)
    assert sum("its clock is" in record.getMessage() for record in caplog.records) == warns


async def test_a_copy_that_cannot_be_written(
    benches: Benches, server: TestServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A directory that cannot be written is one warning, and keys work without a copy."""
    configured = issuer(JwksUri(str(server.make_url("/jwks"))))
    bench = benches.make(replace(configured, keys_cache=str(tmp_path / "absent")))
    async with bench.running():
        await pass_seconds(bench, 700)
        while not caplog.records:
            await asyncio.sleep(0)
    assert bench.is_loaded()
    said = [record.getMessage() for record in caplog.records if "copy" in record.getMessage()]
    assert said == ["issuer shop: no copy of its keys is kept: No such file or directory"]
