"""An introspection endpoint (RFC 7662) that answers as it should, or as the test says."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web

from sidecar.config.model import Introspection, IntrospectionCache
from sidecar.testbed.opaque_tokens import OpaqueTokens
from sidecar.testbed.token_mint import TokenMint

CLIENT_ID = "user service:1"
SECRET = "s3cr:t / +ü%"
"""Characters that have to be encoded before they are joined and encoded."""


@dataclass
class Endpoint:
    """Serves at ``url``; while ``gate`` is closed, questions arrive and wait."""

    mint: TokenMint
    url: str = ""
    asked: list[str] = field(default_factory=list)
    """The tokens, in the order of the questions of clients that showed who they are."""
    forms: list[dict[str, str]] = field(default_factory=list)
    answer: Callable[[], web.Response] | None = None
    """Answers in the endpoint's stead."""
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    at_once: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.opaque = OpaqueTokens(self.mint)
        self.gate.set()

    def fail(self, status: int = 500) -> None:
        """Answer with an error from now on."""
        self.answer = lambda: web.Response(status=status, text="<html>Oops</html>")

    def configured(self, **changes: Any) -> Introspection:
        """Return how the sidecar asks here; keys of the cache are given as they are named."""
        cache = {name: changes.pop(name) for name in _CACHE & changes.keys()}
        return Introspection(
            **{
                "url": self.url,
                "client_id": CLIENT_ID,
                "client_secret": SECRET,
                "cache": IntrospectionCache(**cache),
                **changes,
            }
        )

    async def handle(self, request: web.Request) -> web.Response:
        """Answer one question."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            form = {name: str(value) for name, value in (await request.post()).items()}
            self.forms.append(form)
            if not _is_client(request.headers.get("Authorization"), form):
                return web.json_response({"error": "invalid_client"}, status=401)
            self.asked.append(form["token"])
            await self.gate.wait()
            if self.answer is not None:
                return self.answer()
            return web.json_response(self.opaque.answer(form["token"]))
        finally:
            self.at_once -= 1


_CACHE = {"positive_seconds", "negative_seconds", "max_entries"}


def _is_client(authorization: str | None, form: dict[str, str]) -> bool:
    if authorization is None:
        return (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, SECRET)
    scheme, _, encoded = authorization.partition(" ")
    pair = base64.b64decode(encoded).decode().split(":")
    return (scheme, *map(unquote_plus, pair)) == ("Basic", CLIENT_ID, SECRET)


@asynccontextmanager
async def serving(mint: TokenMint) -> AsyncIterator[Endpoint]:
    """Serve *mint*'s opaque tokens on a free port of loopback."""
    endpoint = Endpoint(mint)
    application = web.Application()
    application.router.add_post("/introspect", endpoint.handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    endpoint.url = f"http://{host}:{port}/introspect"
    try:
        yield endpoint
    finally:
        endpoint.gate.set()
        await runner.cleanup()
