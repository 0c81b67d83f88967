"""``sidecar ui``: who reaches the control socket through it, and who does not."""

import asyncio
import os
import re
import signal
import stat
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path

import aiohttp
import pytest
from multidict import CIMultiDictProxy

from tests.cli.conftest import Run, command, environment
from tests.cli.test_status import configured, running

PATIENT = 60
KUBECTL = """\
#!{python}
import os, sys
log = open({log!r}, "a")
log.write(" ".join(sys.argv[1:]) + "\\n")
log.close()
arguments = sys.argv[1:]
if "gone" in arguments:
    print('Error from server (NotFound): pods "gone" not found', file=sys.stderr)
    sys.exit(1)
os.execv({python!r}, [{python!r}, "-m", *arguments[arguments.index("--") + 1:]])
"""


@asynccontextmanager
async def ui(
    *arguments: str, **variables: str
) -> AsyncIterator[tuple[str, asyncio.subprocess.Process]]:
    """Run the command until it tells its address."""
    process = await asyncio.create_subprocess_exec(
        *command(["ui", *arguments]),
        stdout=asyncio.subprocess.PIPE,
        env=environment(**{"BROWSER": "", "DISPLAY": "", "WAYLAND_DISPLAY": "", **variables}),
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(PATIENT):
            line = (await process.stdout.readline()).decode()
        yield line.split()[-1], process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
        async with asyncio.timeout(PATIENT):
            assert await process.wait() == 0


@pytest.fixture
def control(tmp_path: Path) -> Iterator[Path]:
    """The control socket of a sidecar that runs."""
    with running(configured(tmp_path)):
        yield tmp_path / "c.sock"


class Browser:
    """A client that has opened the address."""

    def __init__(self, client: aiohttp.ClientSession, url: str) -> None:
        self.client = client
        self.base = url.partition("/open/")[0]
        self.opened = url
        self.cookie = ""
        self.folder = ""

    async def open(self) -> aiohttp.ClientResponse:
        async with self.client.get(self.opened) as answer:
            (field,) = answer.headers.getall("Set-Cookie")
            (morsel,) = SimpleCookie(field).values()
            self.cookie = f"{morsel.key}={morsel.value}"
            self.folder = morsel["path"]
            assert (morsel["httponly"], morsel["samesite"]) == (True, "Strict")
            assert f"url={self.folder}".encode() in await answer.read()
            return answer

    async def ask(
        self, target: str, method: str = "GET", **fields: str
    ) -> tuple[int, CIMultiDictProxy[str], bytes]:
        headers = {"Cookie": self.cookie, **{k.replace("_", "-"): v for k, v in fields.items()}}
        async with self.client.request(
            method, f"{self.base}{self.folder}{target}", headers=headers
        ) as answer:
            return answer.status, answer.headers, await answer.read()


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as client:
        browser = Browser(client, url)
        await browser.open()
        yield browser


async def test_only_the_page_that_was_opened_is_answered(control: Path) -> None:
    """The page, its numbers and its decisions; and each guard, by what it keeps out."""
    async with ui("--control", str(control), "--no-open") as (url, _), opened(url) as browser:
        status, headers, body = await browser.ask("")
        assert (status, b"page.js" in body) == (200, True)
        assert "script-src 'self'" in headers["Content-Security-Policy"]
        assert not any(name.lower().startswith("access-control") for name in headers)
        status, _, body = await browser.ask("live?since=0")
        assert (status, body[:8]) == (200, b'{"live":')
        assert (await browser.ask("decisions?limit=5"))[0] in (200, 404)

        assert (await browser.ask("live", Cookie="sidecar-ui=wrong"))[0] == 403
        assert (await browser.ask("live", Cookie=""))[0] == 403
        assert (await browser.ask("live", Host="evil.example"))[0] == 421
        assert (await browser.ask("live", Host="127.0.0.1.evil.example"))[0] == 421
        assert (await browser.ask("live", Host="localhost:1"))[0] == 200  # ssh -L
        assert (await browser.ask("live", Origin="https://evil.example"))[0] == 403
        assert (await browser.ask("live", Origin="null"))[0] == 403
        assert (await browser.ask("live", Origin=browser.base))[0] == 200
        assert (await browser.ask("live", Sec_Fetch_Site="cross-site"))[0] == 403
        assert (await browser.ask("live", Sec_Fetch_Site="same-site"))[0] == 403
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
            status, headers, _ = await browser.ask("live", method)
            assert (status, headers["Allow"]) == (405, "GET")
        assert (await browser.ask("metrics"))[0] == 404
        folder, browser.folder = browser.folder, "/"
        assert (await browser.ask("live"))[0] == 403
        another = "y" if folder[-2] == "x" else "x"
        browser.folder = f"{folder[:-2]}{another}/"
        assert (await browser.ask("live"))[0] == 403
        async with browser.client.get(f"{browser.base}/open/wrong") as answer:
            assert (answer.status, answer.headers.getall("Set-Cookie", [])) == (403, [])


async def test_the_browser_is_given_a_file_that_others_cannot_read(
    control: Path, tmp_path: Path
) -> None:
    """Arguments of a process are public: the address is not among them."""
    told = tmp_path / "told"
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" >{told}.new\nmv {told}.new {told}\n')
    browser.chmod(0o755)
    async with ui("--control", str(control), BROWSER=str(browser)) as (url, process):
        assert process.stdout is not None
        async with asyncio.timeout(PATIENT):
            assert await process.stdout.readline() == b"Ctrl-C ends it.\n"
        path = Path(told.read_text().strip().removeprefix("file://"))
        assert url.rpartition("/")[2] not in told.read_text()
        assert url in path.read_text()
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()


async def test_a_sidecar_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    """The page is told why, and served again as soon as there is a sidecar."""
    config = configured(tmp_path)
    with running(config):
        async with ui("--config", str(config), "--no-open") as (url, _), opened(url) as browser:
            assert (await browser.ask("live"))[0] == 200
            os.rename(tmp_path / "c.sock", tmp_path / "d.sock")
            status, _, body = await browser.ask("live")
            assert (status, b"is the sidecar running" in body) == (502, True)
            os.rename(tmp_path / "d.sock", tmp_path / "c.sock")
            assert (await browser.ask("live"))[0] == 200


@pytest.fixture
def kubectl(tmp_path: Path) -> dict[str, str]:
    """A PATH on which kubectl runs the pod's command here."""
    path = tmp_path / "bin" / "kubectl"
    path.parent.mkdir()
    path.write_text(KUBECTL.format(python=sys.executable, log=str(tmp_path / "kubectl.log")))
    path.chmod(0o755)
    return {"PATH": f"{path.parent}{os.pathsep}{os.environ['PATH']}"}


async def test_a_pod(control: Path, kubectl: dict[str, str], tmp_path: Path) -> None:
    """Many questions go through one `kubectl exec`, with the names that were given."""
    arguments = ("--pod", "users-1", "-n", "shop", "--context", "dev", "--control", str(control))
    async with ui(*arguments, "--no-open", **kubectl) as (url, _), opened(url) as browser:
        for _ in range(5):
            status, _, body = await browser.ask("live")
            assert (status, body[:8]) == (200, b'{"live":')
    lines = (tmp_path / "kubectl.log").read_text().splitlines()
    assert lines == [
        "--context dev --namespace shop exec --stdin users-1 --container jwt-sidecar -- "
        f"sidecar control-pipe --control={control}"
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--pod", "gone"], 3, 'pods "gone" not found'),
        (["--pod", "users-1", "--control", "/absent/c.sock"], 3, "no socket at /absent/c.sock"),
        (["--pod", "--all"], 2, "'--all' is no name of a pod"),
        (["--namespace", "shop", "--control", "x"], 2, "--namespace goes with --pod"),
        (["--control", "/absent/c.sock"], 3, "no socket at /absent/c.sock"),
        ([], 2, "which sidecar?"),
    ],
)
def test_what_cannot_be_is_said(
    arguments: list[str], code: int, words: str, sidecar: Run, kubectl: dict[str, str]
) -> None:
    """A missing pod, socket or option ends the command with the reason."""
    done = sidecar("ui", "--no-open", *arguments, env=environment(SIDECAR_CONTROL="", **kubectl))
    assert done.returncode == code, done.stderr
    assert re.search(re.escape(words), done.stderr)
    assert "Traceback" not in done.stderr


def test_no_kubectl(sidecar: Run, tmp_path: Path) -> None:
    """Its absence is named."""
    done = sidecar("ui", "--pod", "users-1", env=environment(PATH=str(tmp_path)))
    assert done.returncode == 3
    assert "kubectl is not on PATH" in done.stderr
