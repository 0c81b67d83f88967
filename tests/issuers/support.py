"""What the tests of this package share: a scripted provider, time by hand, a report to read."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from sidecar.config.model import Discovery, Issuer, JwksFile, JwksUri
from sidecar.core.keyset import KeySet

ISSUER = "https://idp.test/realms/shop"


@cache
def jwk(kid: str) -> dict[str, object]:
    """Return a real public key named *kid*, the same one each time."""
    public = ec.generate_private_key(ec.SECP256R1()).public_key()
    return {**ECAlgorithm.to_jwk(public, as_dict=True), "kid": kid, "alg": "ES256", "use": "sig"}


def jwks(*kids: str) -> bytes:
    """Return a key set document with one key for each of *kids*."""
    return json.dumps({"keys": [jwk(kid) for kid in kids]}).encode()


def issuer(
    keys: JwksFile | JwksUri | Discovery,
    *,
    interval_seconds: float = 300.0,
    cooldown_seconds: float = 10.0,
) -> Issuer:
    """Return the configuration of the issuer ``shop``."""
    return Issuer(
        name="shop",
        issuer=ISSUER,
        audiences=("profile-service",),
        keys=keys,
        refresh_interval_seconds=interval_seconds,
        refresh_cooldown_seconds=cooldown_seconds,
    )


class Provider:
    """Serves a key set and metadata as the test sets them, and counts what was asked.

    While ``gate`` is closed, requests arrive (``asked``) and wait.
    """

    def __init__(self) -> None:
        self.answer: Callable[[], web.Response] = lambda: web.Response(body=jwks("one"))
        self.metadata: object = None
        self.requests = 0
        self.asked = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    def publish(self, *kids: str) -> None:
        """Answer with a key set of *kids* from now on."""
        self.answer = lambda: web.Response(body=jwks(*kids))

    def fail(self, status: int = 500) -> None:
        """Answer with an error from now on."""
        self.answer = lambda: web.Response(status=status, text="<html>Oops</html>")

    def application(self) -> web.Application:
        """Return the application to serve."""
        app = web.Application()
        app.router.add_get("/jwks", self._jwks)
        app.router.add_get("/metadata", self._metadata)
        return app

    async def _jwks(self, request: web.Request) -> web.Response:
        self.requests += 1
        self.asked.set()
        await self.gate.wait()
        return self.answer()

    async def _metadata(self, request: web.Request) -> web.Response:
        return web.json_response(self.metadata)


class ManualTime:
    """A clock that moves only when the test lets a sleeper's time pass, or says so."""

    def __init__(self) -> None:
        self.now = time.time()
        self._sleepers: asyncio.Queue[tuple[float, asyncio.Future[None]]] = asyncio.Queue()

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Sleep until the test has let *seconds* pass."""
        assert seconds > 0
        wake = asyncio.get_running_loop().create_future()
        self._sleepers.put_nowait((seconds, wake))
        await wake

    async def asleep(self) -> None:
        """Return as soon as somebody sleeps."""
        sleeper = await asyncio.wait_for(self._sleepers.get(), 30)
        self._sleepers.put_nowait(sleeper)

    async def end_one_sleep(self) -> float:
        """Let the sleeper's time pass, waiting for one if need be; return how long it was."""
        seconds, wake = await asyncio.wait_for(self._sleepers.get(), 30)
        self.now += seconds
        wake.set_result(None)
        return seconds


@dataclass
class Report:
    """Remembers what was reported."""

    states: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)
    successes: list[float] = field(default_factory=list)

    def state_changed(self, state: str) -> None:
        self.states.append(state)

    def refreshed(self, result: str) -> None:
        self.results.append(result)

    def succeeded(self, at: float) -> None:
        self.successes.append(at)


@dataclass
class Installed:
    """Where key sets go; remembers the names in each."""

    sets: list[frozenset[str]] = field(default_factory=list)

    forgotten: int = 0

    def __call__(self, keys: KeySet) -> int:
        self.sets.append(keys.kids)
        return self.forgotten
