"""The destination behind the sidecar: it knows whom each call is for, and who it came as."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from sidecar.core.names import CARRIER_HEADER, CONTEXT_HEADER

_BACKLOG = 512


@dataclass(slots=True)
class Seen:
    """What arrived for one cell."""

    right: int = 0
    wrong: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By the user the call was for and the one it came as."""
    anonymous: int = 0
    leaked: int = 0
    """Calls that still had a header of the carrier's."""

    @property
    def calls(self) -> int:
        return self.right + self.wrong.total() + self.anonymous


class Destination:
    """Judges ``/<cell>/<user>`` by the token in *owners* (``user`` by token)."""

    def __init__(self, owners: Mapping[str, str]) -> None:
        self._owners = owners
        self._seen: dict[str, Seen] = {}
        self.slowest_seconds = 0.004
        self.error_share = 0.0
        """How many calls are answered with 503, and asked for again by the app."""
        self.port = 0

    def seen(self, cell: str) -> Seen:
        return self._seen.setdefault(cell, Seen())

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Destination"]:
        application = web.Application()
        application.router.add_route("*", "/{cell}/{user}", self._receive)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=_BACKLOG).start()
            self.port = runner.addresses[0][1]
            yield self
        finally:
            await runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        self._judge(request)
        await asyncio.sleep(random.uniform(0, self.slowest_seconds))
        failing = random.random() < self.error_share
        return web.Response(status=503 if failing else 200, text="ok")

    def _judge(self, request: web.Request) -> None:
        seen = self.seen(request.match_info["cell"])
        user = request.match_info["user"]
        token = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if CONTEXT_HEADER in request.headers or CARRIER_HEADER in request.headers:
            seen.leaked += 1
        if not token:
            seen.anonymous += 1
        elif (owner := self._owners.get(token, "nobody")) == user:
            seen.right += 1
        else:
            seen.wrong[user, owner] += 1
