"""A real sidecar process in front of an app, configured as ``docs/interop.md`` says.

Owns the way from a token to what became of it: the answer, and the line of the access log with the
same decision. The load of the rotation tests is made here too, because it judges the same.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from sidecar.config.model import Address
from sidecar.testbed.load import Call, LoadReport, Refused, Right, Verdict, run_load
from sidecar.testbed.processes import RunningSidecar, sidecar
from tests.support.http import App, Response, fetch

DOCUMENT: Final = Path(__file__).parents[2] / "docs" / "interop.md"
COOLDOWN_SECONDS: Final = 1.0
"""Of the tests, so that they need not wait for the default of ten."""
_LIMIT_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.05
_IN_FLIGHT: Final = 8


def documented(
    name: str, replaced: Mapping[str, str], *, document: Path = DOCUMENT
) -> dict[str, Any]:
    """Return the configuration that the page gives under *name*, with addresses *replaced*."""
    found = [
        block.split("```")[0]
        for block in document.read_text().split("```yaml\n")[1:]
        if block.startswith(f"# {name}\n")
    ]
    (text,) = found
    for written, real in replaced.items():
        assert written in text, f"{name} in {document} has no {written}"
        text = text.replace(written, real)
    configuration: dict[str, Any] = yaml.safe_load(text)
    return configuration


@dataclass(frozen=True)
class Outcome:
    """What became of one token."""

    status: int
    reason: str
    """Code of the refusal; empty when the app answered."""
    detail: str
    """What the log says beyond that."""
    body: Mapping[str, Any] = field(repr=False)
    """The problem document."""


ACCEPTED: Final = Outcome(200, "", "", {})


@dataclass
class Guard:
    """A sidecar that runs, and what it has logged."""

    running: RunningSidecar
    app: App
    log: list[str]
    news: asyncio.Event

    def address(self, *words: str) -> Address:
        """Return where the listener named by *words* is."""
        host, _, port = self.running.listener(*words).rpartition(":")
        return Address(host, int(port))

    async def present(self, token: str, path: str = "/things") -> Outcome:
        """Send *token* with a request of its own."""
        answer = await fetch(self.address("inbound"), path, bearer=token)
        if not answer.reason:
            assert answer.status == 200
            return ACCEPTED
        record = await self._record(answer)
        return Outcome(
            answer.status, answer.reason, record.get("detail", ""), json.loads(answer.body)
        )

    async def _record(self, answer: Response) -> dict[str, Any]:
        """Wait for the line of the access log with the answer's decision."""
        (decision,) = answer.values("x-sidecar-decision")
        async with asyncio.timeout(_LIMIT_SECONDS):
            while True:
                self.news.clear()
                for record in map(json.loads, self.log):
                    if record.get("decision") == decision:
                        return dict(record)
                await self.news.wait()

    async def admin(self, path: str) -> Response:
        """Ask the admin listener."""
        return await fetch(self.address("admin"), path)

    async def until_ready(self) -> None:
        """Wait until the keys are loaded."""
        async with asyncio.timeout(_LIMIT_SECONDS):
            while (await self.admin("/readyz")).status != 200:
                await asyncio.sleep(_POLL_SECONDS)

    async def until_cool(self) -> None:
        """Wait until a key that is not known may be asked for again."""
        async with asyncio.timeout(_LIMIT_SECONDS):
            while time.time() - await self._fetched_at() <= COOLDOWN_SECONDS:
                await asyncio.sleep(_POLL_SECONDS)

    async def _fetched_at(self) -> float:
        name = "sidecar_jwks_last_success_timestamp_seconds"
        lines = (await self.admin("/metrics")).body.decode().splitlines()
        (value,) = [line.rpartition(" ")[2] for line in lines if line.startswith(name)]
        return float(value)

    @asynccontextmanager
    async def under_load(self, tokens: list[str]) -> AsyncIterator["Load"]:
        """Send *tokens* in turn, several at a time, for the length of the block."""
        load = Load(f"http://{self.running.listener('inbound')}/things", tokens)
        task = asyncio.create_task(run_load(load.calls(), load.judge, in_flight=_IN_FLIGHT))
        try:
            yield load
        finally:
            load.ending = True
            load.report = await task


class Load:
    """Clients that present tokens until told to stop, and how each token fared."""

    def __init__(self, url: str, tokens: list[str]) -> None:
        self.tokens = tokens
        """May grow while the load runs."""
        self.ending = False
        self.report: LoadReport | None = None
        self.accepted: Counter[str] = Counter()
        self._url = url
        self._judged = 0
        self._news = asyncio.Event()

    def calls(self) -> Iterator[Call]:
        """Yield the next call for as long as the load runs."""
        number = 0
        while not self.ending:
            token = self.tokens[number % len(self.tokens)]
            number += 1
            yield Call(token, self._url, {"authorization": f"Bearer {token}"})

    def judge(self, call: Call, status: int, fields: Mapping[str, str], _body: bytes) -> Verdict:
        """Count an answer; anything but the app's own is a refusal."""
        self._judged += 1
        self._news.set()
        if status == 200:
            self.accepted[call.user] += 1
            return Right()
        return Refused(f"{status} {fields.get('x-sidecar-reason', '')}")

    async def further(self, count: int) -> None:
        """Wait for *count* more answers."""
        until = self._judged + count
        async with asyncio.timeout(_LIMIT_SECONDS):
            while self._judged < until:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def guard(
    directory: Path, configuration: Mapping[str, Any], *, ready: bool = True, **issuer: Any
) -> AsyncIterator[Guard]:
    """Run a sidecar with *configuration*; *issuer* replaces keys of its issuers."""
    log: list[str] = []
    news = asyncio.Event()

    def on_line(line: str) -> None:
        log.append(line)
        news.set()

    async with App(automatic=True).running() as app:
        issuers = {
            name: {**keys, "refresh_cooldown": f"{COOLDOWN_SECONDS:.0f}s", **issuer}
            for name, keys in configuration["issuers"].items()
        }
        inbound = {**configuration["inbound"], "listen": "127.0.0.1:0", "app": str(app.origin)}
        complete = {
            **configuration,
            "issuers": issuers,
            "inbound": inbound,
            "admin": {"listen": "127.0.0.1:0"},
            "log": {"access": "refusals"},
            "drain_timeout": "1s",
        }
        file = directory / "sidecar.yaml"
        file.write_text(yaml.safe_dump(complete))
        async with sidecar("sidecar", file, on_access_log=on_line) as running:
            guarded = Guard(running, app, log, news)
            if ready:
                await guarded.until_ready()
            yield guarded
