"""The live page in headless Chromium, beside a real sidecar under load."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from sidecar.admin import page
from tests.support.browser import Tab, browser_tab, needs_chromium
from tests.support.http import fetch
from tests.support.pod import Pod, pod

ATTACK = "<img src=x onerror=document.title='owned'>"


@asynccontextmanager
async def site(directory: Path, *, decisions: bool) -> AsyncIterator[tuple[Pod, str]]:
    """A pod's page at an address; without *decisions*, as an older sidecar would serve it."""
    control = directory / "c.sock"
    async with pod(directory, control=control) as running:
        upstream = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(control)))

        async def answer(request: web.Request) -> web.Response:
            if not decisions and request.path == "/decisions":
                raise web.HTTPNotFound
            async with upstream.get(f"http://x{request.raw_path}") as told:
                body, kind = await told.read(), told.headers["Content-Type"]
            headers = {"Content-Type": kind, **page.CONFINED}
            return web.Response(status=told.status, body=body, headers=headers)

        application = web.Application()
        application.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        try:
            yield running, f"http://127.0.0.1:{runner.addresses[0][1]}"
        finally:
            await upstream.close()
            await runner.cleanup()


async def load(running: Pod) -> None:
    """Call until it is cancelled: some are permitted, some refused for two reasons."""
    token = running.mint.token("alice")
    while True:
        await fetch(running.bound.inbound, "/users/x", bearer=token)
        await fetch(running.bound.inbound, "/users/x")
        await running.call_out(None)
        await asyncio.sleep(0.02)


def strokes(chart: str) -> str:
    """What the lines of a chart are made of."""
    paths = f"[...document.querySelectorAll('#chart-{chart} path')]"
    return f"{paths}.map((path) => path.getAttribute('d')).join()"


async def flawless(tab: Tab, url: str, *, absent: bool) -> None:
    """Nothing was asked of another origin, and nothing was complained about."""
    assert all(each.startswith((url, "data:")) for each in tab.requested), tab.requested
    others = [each for each in tab.complaints if not (absent and "decisions" in each)]
    assert others == []


async def test_under_load(tmp_path: Path) -> None:
    """Charts move, refusals are listed by reason, it fits a phone and a desk, light and dark."""
    needs_chromium()
    async with site(tmp_path, decisions=False) as (running, url), browser_tab() as tab:
        calling = asyncio.create_task(load(running))
        try:
            await tab.open(url)
            before = await tab.until(strokes("requests"))
            for chart in ("requests", "inbound", "refusals", "attributions", "outbound"):
                await tab.until(f"/[1-9]/.test({strokes(chart)})")
            await tab.until(f"{strokes('requests')} !== {before!r}")
            rows = await tab.until("document.querySelector('#refusals').innerText")
            assert "token_missing" in rows
            assert "attribution_missing" in rows
            label = "document.querySelector('#chart-refusals svg').getAttribute('aria-label')"
            assert re.search(r"token_missing: now [\d.]+, highest", await tab.eval(label))
            empty = "document.querySelector('#decisions-empty').innerText"
            assert "not available in this version" in await tab.until(empty)
            backs = set()
            for width, height in ((1280, 800), (360, 740)):
                for dark in (False, True):
                    await tab.resize(width, height, dark=dark)
                    await tab.until(f"innerWidth === {width}")
                    # The charts are drawn anew in the frame after the one that has the new size.
                    await tab.eval("new Promise((r) => requestAnimationFrame(() => setTimeout(r)))")
                    beyond = (
                        "[...document.querySelectorAll('main > *, .halves > *, .charts > *')]"
                        f".filter((e) => e.getBoundingClientRect().right > {width}).map((e) => "
                        "e.outerHTML.slice(0, 80))"
                    )
                    assert await tab.eval(beyond) == []
                    assert await tab.eval("document.documentElement.scrollWidth") <= width
                    backs.add(await tab.eval("getComputedStyle(document.body).backgroundColor"))
            assert len(backs) == 2
            await flawless(tab, url, absent=True)
        finally:
            calling.cancel()


async def test_a_decision_is_explained_and_stays_text(tmp_path: Path) -> None:
    """A click shows the steps; what a caller's token says is shown and never becomes markup."""
    needs_chromium()
    async with site(tmp_path, decisions=True) as (running, url), browser_tab() as tab:
        token = running.mint.token(ATTACK)
        assert (await fetch(running.bound.inbound, "/admin/x", bearer=token)).status == 403
        await tab.open(url)
        line = await tab.until("document.querySelector('#decisions a')?.innerText")
        assert "/admin/x" in line
        await tab.eval("document.querySelector('#decisions a').click()")
        told: Any = await tab.until("document.querySelector('.steps') && decision.innerText")
        assert "Refused: role_missing" in told
        for text in ("all of [ADMIN]", ATTACK, "whoever configures this sidecar"):
            assert text in told
        assert await tab.eval("document.querySelectorAll('img, #decision dd b').length") == 0
        assert await tab.eval("document.title") == "jwt-sidecar"
        await tab.eval("document.querySelector('#decision-close').click()")
        await tab.until("!decision.open && !location.hash")
        await flawless(tab, url, absent=False)
