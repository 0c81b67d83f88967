"""A way from a browser on this machine to one control socket, and for nobody else.

Owns who is answered. Loopback is open to every user of the machine, and to every page in the
browser: so there is a secret in the URL that is opened, changed at once for a cookie that no script
can read and no other site can make the browser send. The page lies under a second secret in the
path, because browsers send cookies of one port to all ports of a host, but only for the path they
belong to. Questions go on through ``sidecar.cli.control_channel``.
"""

import asyncio
import hmac
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.cookies import CookieError, SimpleCookie
from typing import Final

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response
from msgspec.json import encode

from sidecar.admin.live import LIVE_PATH
from sidecar.admin.page import CONFINED, FILES
from sidecar.admin.serving import OperatorServer, response
from sidecar.admin.status import STATUS_PATH
from sidecar.cli.control_channel import Channel
from sidecar.cli.control_client import ControlError

HOST: Final = "127.0.0.1"
COOKIE: Final = "sidecar-ui"
MAX_CONNECTIONS: Final = 16
KEEPALIVE_SECONDS: Final = 75.0
MAX_LINE_BYTES: Final = 16384
"""Cookies of whatever else is served on this host come along."""

DECISIONS_PATH: Final = "/decisions"
_OPEN: Final = "/open/"
_NAMES: Final = frozenset({HOST, "localhost"})
_TRUSTED_SITES: Final = frozenset({"", "none", "same-origin"})

_ENTRY: Final = """\
<!doctype html>
<html lang="en"><meta charset="utf-8"><title>jwt-sidecar</title>
<link rel="icon" href="data:,">
<meta http-equiv="refresh" content="0;url={url}">
<p><a href="{url}">Open the live page</a></p>
"""
"""A page of ours that goes on, not a redirect: a browser that was sent here by something else, such
as a file, leaves a strict cookie out of everything it is redirected to."""


class Bridge:
    """A small HTTP server on loopback. Answers GET, from the page it serves itself."""

    def __init__(self, channel: Channel, *, make_secret: Callable[[], str]) -> None:
        """*make_secret* returns an unguessable string of URL characters at each call."""
        self._channel = channel
        self._opener = make_secret()
        self._folder = f"/{make_secret()}"
        self._cookie = make_secret()
        # One question at a time, as a channel demands; each of them is bounded in time.
        self._asking = ThreadPoolExecutor(1, "control")
        self._server = OperatorServer(
            self._answer,
            max_connections=MAX_CONNECTIONS,
            keepalive_seconds=KEEPALIVE_SECONDS,
            max_line_bytes=MAX_LINE_BYTES,
        )
        self._port = 0

    @property
    def url(self) -> str:
        """What is to be opened, for as long as this runs. A secret."""
        return f"http://{HOST}:{self._port}{_OPEN}{self._opener}"

    async def start(self, port: int) -> None:
        """Listen on *port* of the loopback interface; 0 is one that is free. Raises OSError."""
        loop = asyncio.get_running_loop()
        listener = await self._server.start(
            lambda protocols: loop.create_server(protocols, HOST, port)
        )
        self._port = listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and end the channel."""
        self._channel.interrupt()
        await self._server.stop(0.5)
        await asyncio.get_running_loop().run_in_executor(self._asking, self._channel.close)
        self._asking.shutdown()

    async def _answer(self, request: BaseRequest) -> Response:
        answer = await self._judged(request)
        answer.headers.update(CONFINED)
        return answer

    async def _judged(self, request: BaseRequest) -> Response:
        if request.method != "GET":
            answer = _refusal(405, "the page only reads: GET")
            answer.headers["Allow"] = "GET"
            return answer
        if (refusal := _foreign(request)) is not None:
            return refusal
        path = request.path
        if path.startswith(_OPEN):
            return self._entry(path.removeprefix(_OPEN))
        folder, _, rest = path[1:].partition("/")
        # Both are compared whatever comes of the first: neither tells of the other.
        known = _equal(f"/{folder}", self._folder)
        if not (_equal(_cookie(request), self._cookie) and known):
            return _refusal(403, "open the address that `sidecar ui` printed")
        target = f"/{rest}"
        if not _is_of_the_page(target):
            return _refusal(404, "not found")
        # As it came: what the sidecar decodes has not been decoded before.
        return await self._asked(request.raw_path.removeprefix(self._folder))

    def _entry(self, given: str) -> Response:
        if not _equal(given, self._opener):
            return _refusal(403, "open the address that `sidecar ui` printed")
        body = _ENTRY.format(url=f"{self._folder}/").encode()
        answer = response(200, body, "text/html; charset=utf-8")
        answer.set_cookie(
            COOKIE, self._cookie, path=f"{self._folder}/", httponly=True, samesite="Strict"
        )
        return answer

    async def _asked(self, target: str) -> Response:
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._asking, self._channel.ask, target)
        except ControlError as error:
            return _refusal(502, str(error))
        return response(answer.status, answer.content, answer.content_type)


def _foreign(request: BaseRequest) -> Response | None:
    """Return the refusal of what another site, or a name that was rebound to us, makes of us.

    The port may be another one than ours: `ssh -L` gives it what number it likes.
    """
    headers = request.headers
    hosts = list(headers.getall("Host", ()))
    host = hosts[0] if len(hosts) == 1 else ""
    if host.partition(":")[0] not in _NAMES:
        return _refusal(421, "only 127.0.0.1 and localhost are served here")
    if any(origin != f"http://{host}" for origin in headers.getall("Origin", ())):
        return _refusal(403, "other sites are not answered")
    # What a browser says of who made it ask. Where a link leads matters only without the secret.
    site = headers.get("Sec-Fetch-Site", "")
    if site not in _TRUSTED_SITES and not request.path.startswith(_OPEN):
        return _refusal(403, "other sites are not answered")
    return None


def _is_of_the_page(target: str) -> bool:
    return (
        target in FILES
        or target in (LIVE_PATH, STATUS_PATH, DECISIONS_PATH)
        or target.startswith(f"{DECISIONS_PATH}/")
    )


def _cookie(request: BaseRequest) -> str:
    try:
        found = SimpleCookie(request.headers.get("Cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return "" if found is None else found.value


def _equal(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), secret.encode())


def _refusal(status: int, why: str) -> Response:
    body: Mapping[str, str] = {"error": why}
    return response(status, encode(body), "application/json")
