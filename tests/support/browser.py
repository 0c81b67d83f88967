"""Headless Chromium, driven over its DevTools protocol: pages, their errors and their requests."""

import asyncio
import base64
import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

PATIENT = 60.0
_NAMES = ("chromium", "chromium-browser", "google-chrome")


def needs_chromium() -> str:
    """Return the browser's command; skip the test without it, fail where all must be there."""
    for name in _NAMES:
        if (found := shutil.which(name)) is not None:
            return found
    reason = "chromium is not installed (Debian, Ubuntu: apt install chromium)"
    if os.environ.get("SIDECAR_REQUIRE_ALL") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


class Tab:
    """One page, and what went wrong in it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, session: str) -> None:
        self._socket = socket
        self._session = session
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self.complaints: list[str] = []
        self.requested: list[str] = []

    async def send(self, method: str, **parameters: Any) -> Any:
        """Return the result of one command."""
        number = next(self._numbers)
        self._waiting[number] = asyncio.get_running_loop().create_future()
        message = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(message | {"sessionId": self._session})
        async with asyncio.timeout(PATIENT):
            return await self._waiting[number]

    async def open(
        self, url: str, *, width: int = 1280, height: int = 800, dark: bool = False
    ) -> None:
        """Go to *url* with a window of that size."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")
        await self.resize(width, height, dark=dark)
        await self.send("Page.navigate", url=url)

    async def resize(self, width: int, height: int, *, dark: bool = False) -> None:
        """Change the window and the colour scheme that the reader prefers."""
        await self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])

    async def eval(self, expression: str) -> Any:
        """Return the value of *expression*, awaited where it is a promise."""
        answer = await self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    async def until(self, expression: str) -> Any:
        """Return the value of *expression* once it is true."""
        async with asyncio.timeout(PATIENT):
            while True:
                with suppress(AssertionError):
                    if value := await self.eval(expression):
                        return value
                await asyncio.sleep(0.1)

    async def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write a screenshot, of the whole page or of the window."""
        shot = await self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(shot["data"]))

    def take(self, message: dict[str, Any]) -> None:
        """Take in one message of the browser."""
        if "id" in message:
            waiting = self._waiting.pop(message["id"], None)
            if waiting is not None and not waiting.done():
                if "error" in message:
                    waiting.set_exception(RuntimeError(str(message["error"])))
                else:
                    waiting.set_result(message["result"])
            return
        parameters = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown" | "Log.entryAdded":
                self.complaints.append(str(parameters))
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning"):
                self.complaints.append(str(parameters["args"]))
            case "Network.requestWillBeSent":
                self.requested.append(parameters["request"]["url"])


@asynccontextmanager
async def browser_tab() -> AsyncIterator[Tab]:
    """Run a browser with one empty page."""
    command = needs_chromium()
    with tempfile.TemporaryDirectory(prefix="tab-", ignore_cleanup_errors=True) as profile:
        process = await asyncio.create_subprocess_exec(
            command,
            *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--no-first-run", "--disable-background-networking", "--disable-extensions"),
            *("--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "LANG": "en_US.UTF-8"},
        )
        try:
            assert process.stderr is not None
            async with asyncio.timeout(PATIENT):
                while line := (await process.stderr.readline()).decode():
                    if line.startswith("DevTools listening on "):
                        break
                else:
                    pytest.fail("chromium ended before it listened")
            url = line.removeprefix("DevTools listening on ").strip()
            draining = asyncio.create_task(process.stderr.read())
            async with (
                aiohttp.ClientSession() as client,
                client.ws_connect(url, max_msg_size=0) as socket,
            ):
                tab = await _attached(socket)
                reading = asyncio.create_task(_read(socket, tab))
                yield tab
                reading.cancel()
            draining.cancel()
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def _attached(socket: aiohttp.ClientWebSocketResponse) -> Tab:
    target = await _ask(socket, "Target.createTarget", url="about:blank")
    session = await _ask(socket, "Target.attachToTarget", targetId=target["targetId"], flatten=True)
    return Tab(socket, session["sessionId"])


async def _ask(socket: aiohttp.ClientWebSocketResponse, method: str, **parameters: Any) -> Any:
    await socket.send_json({"id": 1_000_000, "method": method, "params": parameters})
    while True:
        message = await socket.receive_json(timeout=PATIENT)
        if message.get("id") == 1_000_000:
            return message["result"]


async def _read(socket: aiohttp.ClientWebSocketResponse, tab: Tab) -> None:
    async for message in socket:
        if message.type == aiohttp.WSMsgType.TEXT:
            tab.take(message.json())
