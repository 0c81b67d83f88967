"""A token endpoint that answers as it should, or as the test says. What it is sent, it keeps."""

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from aiohttp import web

from sidecar.core.digests import sha256
from sidecar.core.encoding import base64url_encode
from sidecar.core.principal import Credential, Principal
from sidecar.core.token_request import ACCESS_TOKEN

NOW = 1_700_000_000.0


def unsigned(**claims: Any) -> str:
    """Return a JWT that says *claims*; nobody who only passes it on checks its signature."""
    parts = ({"alg": "RS256"}, claims)
    return (
        ".".join(base64url_encode(json.dumps(part).encode()).decode() for part in parts) + ".c2ln"
    )


def subject_named(name: str = "alice", *, expires_at: float = NOW + 600) -> Credential:
    """Return a verified token of somebody."""
    token = unsigned(sub=name, aud="us").encode()
    principal = Principal("shop", "https://idp.test", name)
    return Credential(principal, token, sha256(token), expires_at, float("-inf"))


@dataclass
class TokenServer:
    """Serves at ``url``; while ``gate`` is closed, requests arrive and wait."""

    url: str = ""
    forms: list[list[tuple[str, str]]] = field(default_factory=list)
    authorizations: list[str] = field(default_factory=list)
    peers: list[str] = field(default_factory=list)
    """Names in the certificates that were shown."""
    answer: Callable[[dict[str, str]], web.StreamResponse] | None = None
    """Answers in its stead."""
    lifetime: float = 300
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    metadata: dict[str, Any] = field(default_factory=dict)
    at_once: int = 0
    most_at_once: int = 0

    def __post_init__(self) -> None:
        self.gate.set()

    @property
    def asked(self) -> int:
        return len(self.forms)

    @property
    def last(self) -> dict[str, str]:
        """The last form, where nothing is in it twice."""
        return dict(self.forms[-1])

    @property
    def basic(self) -> tuple[str, ...]:
        """Who the last request said it is from."""
        scheme, _, encoded = self.authorizations[-1].partition(" ")
        assert scheme == "Basic"
        return tuple(map(unquote_plus, base64.b64decode(encoded).decode().split(":")))

    def fails(self, status: int, text: str = "<html>Oops</html>", **fields: str) -> None:
        """Answer with an error from now on."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        self.answer = lambda _: web.Response(status=status, text=text, headers=headers)

    def says(self, error: str, status: int = 400, description: str = "") -> None:
        """Answer with an OAuth error from now on."""
        self.fails(status, json.dumps({"error": error, "error_description": description}))

    async def wait_for(self, count: int) -> None:
        """Return once *count* requests have arrived."""
        async with self.arrived, asyncio.timeout(30):
            await self.arrived.wait_for(lambda: self.asked >= count)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request for a token."""
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            form = [(name, str(value)) for name, value in (await request.post()).items()]
            async with self.arrived:
                self.forms.append(form)
                self.authorizations.append(request.headers.get("Authorization", ""))
                self.arrived.notify_all()
            certificate = request.transport and request.transport.get_extra_info("peercert")
            if certificate:
                self.peers.append(certificate["subject"][0][0][1])
            await self.gate.wait()
            if self.answer is not None:
                return self.answer(dict(form))
            return web.json_response(self.issue(dict(form)))
        finally:
            self.at_once -= 1

    def issue(self, form: dict[str, str], **changes: Any) -> dict[str, Any]:
        """Return the answer that *form* deserves, but for *changes* of its claims."""
        sent = form.get("subject_token", form.get("assertion"))
        subject = "service" if sent is None else _claims(sent)["sub"]
        claims = {"sub": subject, "aud": form.get("audience", "any"), "n": self.asked, **changes}
        members = {"access_token": unsigned(**claims), "token_type": "Bearer"}
        if "subject_token" in form:
            members["issued_token_type"] = form.get("requested_token_type", ACCESS_TOKEN)
        return {**members, "expires_in": self.lifetime}

    async def describe(self, request: web.Request) -> web.Response:
        """Answer with provider metadata."""
        base = str(request.url.origin())
        usual = {"issuer": base, "token_endpoint": self.url}
        return web.json_response({**usual, **self.metadata})


def _claims(token: str) -> Any:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


@asynccontextmanager
async def serving(
    context: ssl.SSLContext | None = None, port: int = 0
) -> AsyncIterator[TokenServer]:
    """Serve on a free port of loopback, over TLS with *context*."""
    server = TokenServer()
    application = web.Application()
    application.router.add_post("/token", server.handle)
    application.router.add_get("/.well-known/openid-configuration", server.describe)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    host, port = runner.addresses[0][:2]
    scheme = "http" if context is None else "https"
    server.url = f"{scheme}://{host}:{port}/token"
    try:
        yield server
    finally:
        server.gate.set()
        await runner.cleanup()
