"""An issuer on a real port that can be ill in every way, and a pod that depends on it."""

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Self

from aiohttp import web

from sidecar.assembly import Bound, Sidecar
from sidecar.config.model import (
    Address,
    Admin,
    Allow,
    Config,
    Discovery,
    Inbound,
    Issuer,
    JwksUri,
    Log,
    Outbound,
    Rule,
)
from sidecar.testbed.token_mint import TokenMint
from sidecar.wiring import Wiring
from tests.issuers.support import ManualTime
from tests.outages.rows import NOBODY, SERVED, Row
from tests.support.http import App, fetch

LOOPBACK = Address("127.0.0.1", 0)
AUDIENCE = "user-service"
CALLERS = 6
"""Of each kind, at the same time."""
REQUESTS = 4
"""By each caller, one after the other."""
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Provider:
    """Serves metadata and a key set, until it is killed or made ill; keeps its port."""

    def __init__(self, *, host: str = "127.0.0.1") -> None:
        self.host = host
        self.tls: ssl.SSLContext | None = None
        self.ill: Answer | None = None
        self.fields: dict[str, str] = {}
        """Further fields of good answers."""
        self.metadata: dict[str, object] | None = None
        self.jwks_path = "/jwks"
        self.asked = 0
        """How often the key set was asked for."""
        self.port = 0
        self._runner: web.AppRunner | None = None

    def url(self, path: str) -> str:
        return f"http{'s' if self.tls else ''}://{self.host}:{self.port}{path}"

    async def __aenter__(self) -> Self:
        await self.start()
        self.mint = TokenMint(self.url(""), audience=[AUDIENCE], algorithms=("ES256",))
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.kill()

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/metadata", self._metadata)
        app.router.add_get("/{any}", self._jwks)
        self._runner = web.AppRunner(
            app, access_log=None, shutdown_timeout=0, handler_cancellation=True
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self.tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def kill(self) -> None:
        """Answer nobody any more; connections are refused."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metadata(self, _request: web.Request) -> web.StreamResponse:
        if self.metadata is not None:
            return web.json_response(self.metadata)
        return web.json_response({"issuer": self.url(""), "jwks_uri": self.url(self.jwks_path)})

    async def _jwks(self, request: web.Request) -> web.StreamResponse:
        if request.path != self.jwks_path:
            return web.Response(status=404)
        self.asked += 1
        if self.ill is not None:
            return await self.ill(request)
        return web.json_response(self.mint.jwks(), headers=self.fields)


def answering(response: Callable[[], web.Response]) -> Answer:
    """Give the same answer to everybody."""

    async def answer(_request: web.Request) -> web.Response:
        return response()

    return answer


@dataclass
class Tally:
    """What came of requests, by the kind of their token."""

    outcomes: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, kind: str, outcome: str) -> None:
        self.outcomes.setdefault(kind, Counter())[outcome] += 1


@dataclass
class Pod:
    """A sidecar before an app, and the time by which its keys age."""

    provider: Provider
    app: App
    bound: Bound
    sidecar: Sidecar
    wiring: Wiring
    time: ManualTime
    known: list[str] = field(default_factory=list)
    """Tokens that were accepted once."""
    fresh: list[str] = field(default_factory=list)
    """Tokens of the same key that nobody has shown yet."""

    @property
    def state(self) -> str:
        return self.wiring.keys["shop"].state

    async def prepare(self) -> None:
        """Make tokens of the key of now, some of them known to the sidecar."""
        mint = self.provider.mint
        self.known = [mint.token(f"known-{number}") for number in range(CALLERS)]
        self.stock()
        for token in self.known:
            assert await self.ask(token) == SERVED

    def stock(self, count: int = CALLERS * REQUESTS * 4) -> None:
        self.fresh = [self.provider.mint.token(f"fresh-{number}") for number in range(count)]

    async def ask(self, token: str) -> str:
        """Return what came of one request."""
        answer = await fetch(self.bound.inbound, "/users/x", bearer=token)
        if answer.status == 503:
            assert answer.values("retry-after"), "503 says when to come back"
            assert not answer.values("www-authenticate"), "a better token would not help"
        if answer.status == 401:
            assert 'error="invalid_token"' in answer.values("www-authenticate")[0]
        return SERVED if answer.status == 200 else f"{answer.status} `{answer.reason}`"

    async def is_ready(self) -> bool:
        return (await fetch(self.bound.admin, "/readyz")).status == 200

    async def let_pass(self, seconds: float) -> None:
        """Let time go on for the keys, and whatever falls due happen."""
        until = self.time.now + seconds
        while self.time.now < until:
            await self.time.end_one_sleep()
            await self.time.asleep()

    async def until_state(self, state: str) -> None:
        """Let time go on until the keys are in *state*."""
        for _ in range(2000):
            if self.state == state:
                return
            await self.time.end_one_sleep()
            await self.time.asleep()
        raise AssertionError(f"still {self.state}")

    async def crowd(self, row: Row) -> Tally:
        """Have every kind of caller ask at the same time; return what came of it."""
        tally = Tally()
        mint = self.provider.mint

        async def caller(kind: str, tokens: Sequence[str]) -> None:
            for token in tokens:
                tally.add(kind, await self.ask(token))

        async with asyncio.TaskGroup() as group:
            for number in range(CALLERS):
                if row.known != NOBODY:
                    group.create_task(caller("known", [self.known[number]] * REQUESTS))
                if self.fresh:
                    mine = [self.fresh.pop() for _ in range(REQUESTS)]
                    group.create_task(caller("fresh", mine))
                new = [mint.token(f"new-{number}-{each}") for each in range(REQUESTS)]
                group.create_task(caller("new_key", new))
        return tally

    async def suffers(self, row: Row) -> None:
        """Assert that callers and probes meet exactly what *row* says, under load."""
        every = CALLERS * REQUESTS
        outcomes = (await self.crowd(row)).outcomes
        assert outcomes.get("known", Counter()) == (
            {} if row.known == NOBODY else {row.known: every}
        )
        assert outcomes.get("fresh", Counter()) == ({row.fresh: every})
        assert outcomes["new_key"] == {row.new_key: every}
        assert await self.is_ready() is row.ready

    async def recovers(self, row: Row) -> None:
        """Assert that everybody is served within the time that *row* says, and not by luck."""
        assert row.recovers_within_seconds is not None
        began = self.time.now
        token = self.provider.mint.token("recovered")
        while await self.ask(token) != SERVED:
            await self.time.end_one_sleep()
            await self.time.asleep()
            assert self.time.now - began <= row.recovers_within_seconds
        assert self.time.now - began <= row.recovers_within_seconds
        await self.until_state("fresh")
        assert await self.is_ready()
        outcomes = (await self.crowd(row)).outcomes
        assert outcomes["new_key"] == {SERVED: CALLERS * REQUESTS}


@asynccontextmanager
async def pod(
    provider: Provider,
    *,
    discovery: bool = False,
    lookup: Mapping[str, list[str]] | None = None,
    time: ManualTime | None = None,
    **keys: object,
) -> AsyncIterator[Pod]:
    """Run a pod that trusts *provider*; *keys* are fields of its issuer in the configuration."""
    source = Discovery(provider.url("/metadata")) if discovery else JwksUri(provider.url("/jwks"))
    issuer = Issuer("shop", provider.mint.issuer, (AUDIENCE,), source, **keys)  # type: ignore[arg-type]
    time = time or ManualTime()

    async def look_up(host: str, _port: int) -> Sequence[str]:
        if lookup is None or host not in lookup:
            raise OSError("name unknown")
        return lookup[host]

    app = App(automatic=True)
    async with app.running():
        config = Config(
            issuers={"shop": issuer},
            inbound=Inbound(
                LOOPBACK, app.origin, (Rule("users", ("/users/**",), Allow.AUTHENTICATED),)
            ),
            admin=Admin(LOOPBACK),
            outbound=Outbound({}),
            log=Log(level="error"),
            drain_timeout_seconds=2.0,
        )
        wiring = Wiring(
            config,
            write_access_log=lambda _lines: None,
            keys_clock=time,
            keys_sleep=time.sleep,
            issuer_lookup=None if lookup is None else look_up,
        )
        sidecar = Sidecar(wiring)
        async with sidecar.running(lambda _line: None) as bound:
            await time.asleep()
            yield Pod(provider, app, bound, sidecar, wiring, time)


def documents(provider: Provider) -> bytes:
    """Return what the provider publishes."""
    return json.dumps(provider.mint.jwks()).encode()


async def drip(request: web.Request) -> web.StreamResponse:
    """Send a byte a second, for as long as somebody reads."""
    response = web.StreamResponse()
    await response.prepare(request)
    with suppress(ConnectionError):
        while True:
            await response.write(b"{")
            await asyncio.sleep(1)
    return response
