"""An identity provider that goes down under load: which calls fail, and what is never sent.

Callers of many users keep calling an app, which calls a destination for each; the sidecar between
exchanges the caller's token for one that lives for seconds. The provider, keys and all, is killed
for a while and comes back. The destination verifies signature, audience, end and subject of every
token that reaches it.

Run as ``python -m bench.outage``. Ends with 1 if a token arrived that was no good, if a call failed
otherwise than with 503 ``exchange_unavailable``, or if it did not end with everybody being served.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp import web

from bench.report import progress
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.processes import RunningSidecar, sidecar
from sidecar.testbed.steady import Call, calling
from sidecar.testbed.trusted_tokens import audiences, signed_claims
from sidecar.testbed.users import SERVICES

SERVED: Final = "served"
EXPECTED: Final = "503 exchange_unavailable"
_APP: Final = SERVICES[0]
_THERE: Final = "profile-service"
_LIMIT_SECONDS: Final = 60.0
_CARRIER: Final = "python/0.1; grade=strict"
_CONFIGURATION: Final = """\
version: 1
issuers:
  shop:
    issuer: {issuer}
    audiences: [{audience}]
clients:
  shop:
    issuer: shop
    client_id: {client}
    client_secret: file:{secret}
inbound:
  listen: 127.0.0.1:0
  app: http://{app}
  rules:
    - paths: [/**]
      require: authenticated
outbound:
  destinations:
    profiles:
      listen: 127.0.0.1:0
      upstream: http://{destination}
      token: exchange
      token_request: {{client: shop, audience: [{there}]}}
admin:
  listen: 127.0.0.1:0
log:
  access: 'off'
"""


@dataclass(frozen=True, slots=True)
class Terms:
    """What is played. Times are in seconds."""

    outage: float = 60.0
    lifetime: float = 20.0
    """Of exchanged tokens."""
    before: float = 10.0
    users: int = 50
    callers: int = 16
    pause: float = 0.02
    """Of a caller, between two calls."""


@dataclass
class Scene:
    """What the app and the destination saw since ``begin``."""

    provider: IdentityProvider
    outcomes: Counter[str] = field(default_factory=Counter)
    served: set[str] = field(default_factory=set)
    bad_tokens: Counter[str] = field(default_factory=Counter)
    """Of all that arrived, from the start."""
    first_failure: float | None = None
    began: float = 0.0
    onward: str = ""
    """Where the app calls."""
    session: aiohttp.ClientSession | None = None

    def begin(self) -> None:
        """Count anew."""
        self.outcomes, self.served = Counter(), set()
        self.first_failure, self.began = None, time.monotonic()

    def summary(self) -> dict[str, Any]:
        """Return what was counted."""
        failed = self.outcomes.total() - self.outcomes[SERVED]
        found: dict[str, Any] = {
            "seconds": round(time.monotonic() - self.began, 1),
            "calls": self.outcomes.total(),
            "failed": failed,
            "outcomes": dict(self.outcomes),
        }
        if self.first_failure is not None:
            found["first_failure_after_seconds"] = round(self.first_failure - self.began, 1)
        return found

    async def app(self, request: web.Request) -> web.Response:
        """Call the destination on behalf of whoever calls."""
        user = request.match_info["user"]
        fields = {
            "x-sidecar-context": request.headers["x-sidecar-context"],
            "x-sidecar-carrier": _CARRIER,
        }
        assert self.session is not None
        async with self.session.get(f"{self.onward}/users/{user}", headers=fields) as answer:
            reason = answer.headers.get("x-sidecar-reason", "")
        outcome = SERVED if answer.status == 200 else f"{answer.status} {reason}".strip()
        self.outcomes[outcome] += 1
        if outcome == SERVED:
            self.served.add(user)
        elif self.first_failure is None:
            self.first_failure = time.monotonic()
        return web.Response(text="ok")

    async def destination(self, request: web.Request) -> web.Response:
        """Verify the token as a service of its own would."""
        now = time.time()
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        claims = signed_claims(token, self.provider.mint.jwks(), now=0.0)
        if claims is None:
            self.bad_tokens["not signed by the provider"] += 1
        elif claims["exp"] <= now:
            self.bad_tokens["expired"] += 1
        elif _THERE not in audiences(claims):
            self.bad_tokens["for another audience"] += 1
        elif claims["sub"] != request.match_info["user"]:
            self.bad_tokens["of another user"] += 1
        return web.Response(text="ok")


async def measure(terms: Terms) -> dict[str, Any]:
    """Play the outage; return what callers noticed of it."""
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="outage-")))
        provider = await stack.enter_async_context(
            IdentityProvider(
                audience=[_APP.client_id],
                algorithms=("ES256",),
                lifetime_seconds=terms.lifetime,
            )
        )
        scene = Scene(provider)
        running = await stack.enter_async_context(_pod(scene, directory))
        host, _, port = running.listener("inbound").rpartition(":")
        scene.begin()
        load = calling(
            lambda: (host, int(port)),
            _calls(provider, terms),
            callers=terms.callers,
            pause_seconds=terms.pause,
        )
        async with load as tally:
            await _until_served(scene, terms)
            scene.begin()
            await asyncio.sleep(terms.before)
            found: dict[str, Any] = {"before": scene.summary()}
            await provider.go_down()
            scene.begin()
            progress(f"the provider is down for {terms.outage:g} s")
            await asyncio.sleep(terms.outage)
            found["outage"] = scene.summary()
            await provider.come_back()
            scene.begin()
            await _until_served(scene, terms)
            found["until everybody is served"] = scene.summary()
        # What the app said is judged by what it did; the way to it must not have failed at all.
        found["answers of the app other than 200"] = tally.other_than(200)
        found["bad tokens at the destination"] = dict(scene.bad_tokens)
        found["token requests"] = provider.token_requests.total
        return found


def verdict(found: dict[str, Any]) -> list[str]:
    """Return what should not have happened."""
    wrong = [f"bad token: {each}" for each in found["bad tokens at the destination"]]
    wrong += [f"the app: {each}" for each in found["answers of the app other than 200"]]
    for phase in ("before", "outage", "until everybody is served"):
        allowed = {SERVED} if phase == "before" else {SERVED, EXPECTED}
        wrong += [f"{phase}: {each}" for each in found[phase]["outcomes"] if each not in allowed]
    return wrong


def _calls(provider: IdentityProvider, terms: Terms) -> list[Call]:
    """Return a call for each user, with a token that outlives all of it."""
    ends = int(time.time() + terms.before + terms.outage + 3 * _LIMIT_SECONDS)
    users = (f"user-{number}" for number in range(terms.users))
    return [
        Call(
            f"GET /users/{user} HTTP/1.1\r\nHost: app\r\nAuthorization: Bearer "
            f"{provider.mint.token(user, exp=ends)}\r\n\r\n".encode(),
            b"ok",
        )
        for user in users
    ]


async def _until_served(scene: Scene, terms: Terms) -> None:
    """Wait until every user was served. Raises ``TimeoutError``."""
    async with asyncio.timeout(_LIMIT_SECONDS):
        while len(scene.served) < terms.users:  # noqa: ASYNC110 - many tell
            await asyncio.sleep(0.05)


@asynccontextmanager
async def _pod(scene: Scene, directory: Path) -> AsyncIterator[RunningSidecar]:
    """Run the destination, the app and the sidecar between; the app calls out through it."""
    secret, file = directory / "secret", directory / "sidecar.yaml"
    secret.write_text(_APP.client_secret)
    async with (
        _serving(scene.app) as app,
        _serving(scene.destination) as destination,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        file.write_text(
            _CONFIGURATION.format(
                issuer=scene.provider.issuer,
                audience=_APP.client_id,
                client=_APP.client_id,
                secret=secret,
                app=app,
                destination=destination,
                there=_THERE,
            )
        )
        async with sidecar("sidecar", file) as running:
            scene.session = session
            scene.onward = f"http://{running.listener('outbound', 'profiles')}"
            await _until_ready(session, running)
            yield running


@asynccontextmanager
async def _serving(handler: Any) -> AsyncIterator[str]:
    """Serve *handler* and yield its ``host:port``."""
    application = web.Application()
    application.router.add_get("/users/{user}", handler)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()


async def _until_ready(session: aiohttp.ClientSession, running: RunningSidecar) -> None:
    url = f"http://{running.listener('admin')}/readyz"
    async with asyncio.timeout(_LIMIT_SECONDS):
        while True:
            async with session.get(url) as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(0.05)


def main() -> None:
    defaults = Terms()
    parser = argparse.ArgumentParser(prog="python -m bench.outage", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--outage", type=float, default=defaults.outage, metavar="SECONDS")
    parser.add_argument("--lifetime", type=float, default=defaults.lifetime, metavar="SECONDS")
    parser.add_argument("--users", type=int, default=defaults.users)
    parser.add_argument("--callers", type=int, default=defaults.callers)
    given = parser.parse_args()
    terms = Terms(
        outage=given.outage, lifetime=given.lifetime, users=given.users, callers=given.callers
    )
    found = asyncio.run(measure(terms))
    print(json.dumps(found, indent=2))
    for each in (wrong := verdict(found)):
        print(f"wrong: {each}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
