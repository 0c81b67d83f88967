"""One pod for the matrix: an app in a process of its own, its sidecar, and a destination.

The destination demands the grade that is tested, so that what an app sends below it is refused
and seen to be.
"""

import importlib.util
import json
import os
import re
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from sidecar.testbed.processes import (
    READY_SECONDS,
    ChildProcess,
    RunningSidecar,
    child_environment,
    child_process,
    sidecar,
)
from sidecar.testbed.token_mint import TokenMint
from tests.matrix.destination import Destination

Grade = Literal["strict", "standard", "compat"]
Terms = Literal["usual", "exclusive", "linger"]
"""What the configuration lets requests do besides: take turns, or call after their response."""
GRADES: Final[tuple[Grade, ...]] = ("strict", "standard", "compat")
ROOT: Final = Path(__file__).parents[2]
CARRIER: Final = ROOT / "sidecar" / "carriers" / "python"
_ISSUER: Final = "https://issuer.example"
_AUDIENCE: Final = "app"
_PORT: Final = re.compile(r"^\d+$")

_CONFIGURATION = """\
version: 1
issuers:
  shop:
    issuer: {issuer}
    audiences: [{audience}]
    jwks_file: {keys}
inbound:
  listen: 127.0.0.1:0
  app: http://127.0.0.1:{app}
  limits:
    upstream_idle_timeout: 1s # gunicorn closes after two
  rules:
    - paths: [/**]
      require: authenticated
{rule}outbound:
  destinations:
    destination:
      listen: 127.0.0.1:0
      upstream: http://127.0.0.1:{destination}
      min_assurance: {grade}
      limits:
        idle_timeout: {idle}
{attribution}admin:
  listen: 127.0.0.1:0
log:
  access: "off"
  level: error
"""
_LINGER: Final = "      linger: 5s\n"
_EXCLUSIVE: Final = "attribution:\n  exclusive: credential\n  exclusive_wait: 60s\n"


@dataclass(frozen=True, slots=True)
class Users:
    """Synthetic users with a token each."""

    mint: TokenMint
    tokens: Mapping[str, str]

    @classmethod
    def make(cls, count: int) -> "Users":
        mint = TokenMint(
            _ISSUER, audience=[_AUDIENCE], algorithms=("ES256",), lifetime_seconds=7200
        )
        return cls(mint, {name: mint.token(name) for name in (f"user{n}" for n in range(count))})

    def owners(self) -> dict[str, str]:
        """The user by token."""
        return {token: user for user, token in self.tokens.items()}


@dataclass(frozen=True, slots=True)
class Pod:
    """The pieces a cell talks to."""

    users: Users
    destination: Destination
    sidecar: RunningSidecar
    app: ChildProcess
    app_port: int
    client: aiohttp.ClientSession

    @property
    def inbound(self) -> str:
        return f"http://{self.sidecar.listener('inbound')}"

    @property
    def outbound(self) -> str:
        """Where the app calls the destination."""
        return f"http://{self.sidecar.listener('outbound')}"

    async def refusals(self) -> Counter[str]:
        """How many outbound calls the sidecar has refused so far, by reason."""
        async with self.client.get(f"http://{self.sidecar.listener('admin')}/metrics") as answer:
            exposition = await answer.text()
        counts: Counter[str] = Counter()
        for family in text_string_to_metric_families(exposition):
            for sample in family.samples:
                if (
                    sample.name == "sidecar_rejections_total"
                    and sample.labels["direction"] == "outbound"
                ):
                    counts[sample.labels["reason"]] += int(sample.value)
        return counts

    async def release(self) -> None:
        """Let requests end that stay open because they were told to; past the sidecar."""
        async with self.client.get(f"http://127.0.0.1:{self.app_port}/release"):
            pass


@asynccontextmanager
async def pod(
    users: Users,
    command: Sequence[str],
    grade: Grade = "strict",
    *,
    terms: Terms = "usual",
    environment: Mapping[str, str] | None = None,
    idle: str = "60s",
) -> AsyncIterator[Pod]:
    """Run the app that *command* starts, with what carries handles at this *grade*, which the
    destination demands, or with *environment*. Where callers take turns it demands `standard` of
    what would be `compat` otherwise. The sidecar closes a connection of the app's that was *idle*
    for so long.

    Raises ``ProcessError`` when the app or the sidecar does not start.
    """
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sidecar-matrix-")))
        destination = await stack.enter_async_context(Destination(users.owners()).running())
        client = await stack.enter_async_context(
            aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        )
        app, port = await _start_app(stack, command, environment or carried(grade))
        keys = directory / "jwks.json"
        keys.write_text(json.dumps(users.mint.jwks()))
        configuration = directory / "sidecar.yaml"
        configuration.write_text(
            _CONFIGURATION.format(
                issuer=_ISSUER,
                audience=_AUDIENCE,
                keys=keys,
                app=port,
                destination=destination.port,
                grade="standard" if (terms, grade) == ("exclusive", "compat") else grade,
                idle=idle,
                rule=_LINGER if terms == "linger" else "",
                attribution=_EXCLUSIVE if terms == "exclusive" else "",
            )
        )
        running = await stack.enter_async_context(sidecar("sidecar", configuration))
        yield Pod(users, destination, running, app, port, client)


async def _start_app(
    stack: AsyncExitStack, command: Sequence[str], environment: Mapping[str, str]
) -> tuple[ChildProcess, int]:
    arguments = (sys.executable, *command)
    app = await stack.enter_async_context(
        child_process(
            "app",
            arguments,
            environment=child_environment(**{"PYTHONWARNINGS": "", **environment}),
            with_children=True,
        )
    )
    return app, int((await app.line(_PORT, timeout_seconds=READY_SECONDS)).group())


def carried(grade: Grade) -> dict[str, str]:
    """What the app's environment says so that it loads our carrier; for `compat`, OpenTelemetry
    without it.
    """
    if grade == "compat":
        return traced()
    return {**_path(CARRIER), "SIDECAR_CARRIER": f"grade={grade}"}


def traced(*, beside: Path | None = None) -> dict[str, str]:
    """What ``opentelemetry-instrument`` sets, with our carrier first on the path if it is given.
    Spans go nowhere.
    """
    module = importlib.util.find_spec("opentelemetry.instrumentation.auto_instrumentation")
    places = list(module.submodule_search_locations or ()) if module else []
    path = _path(*filter(None, (beside, *map(Path, places))))
    return {**path, **dict.fromkeys(_EXPORTERS, "none")}


_EXPORTERS: Final = ("OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER", "OTEL_LOGS_EXPORTER")


def _path(*entries: Path) -> dict[str, str]:
    path = (*map(str, entries), str(ROOT), os.environ.get("PYTHONPATH", ""))
    return {"PYTHONPATH": os.pathsep.join(filter(None, path))}
