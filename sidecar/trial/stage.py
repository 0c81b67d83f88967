"""What a trial needs, running: identity provider, recording destination, sidecar, and the app.

Owns the order of starting and stopping, and what is said when something cannot be started.
"""

import asyncio
import json
import random
import re
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from sidecar.config import endpoints
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.ports import is_free
from sidecar.testbed.processes import (
    READY_SECONDS,
    SIDECAR,
    ChildProcess,
    ProcessError,
    RunningSidecar,
    child_environment,
    child_process,
    sidecar,
)
from sidecar.trial.cast import Cast
from sidecar.trial.plan import Plan
from sidecar.trial.recorder import Manner, Recorder
from sidecar.trial.tally import Tally

AUDIENCE: Final = "trial"
_READY: Final = re.compile("^sidecar: ready$")
_PROBLEM: Final = re.compile(r"sidecar\.yaml:[0-9]+:[0-9]+: (.*)")
_PROBE_SECONDS: Final = 0.05
_LEAST_TOKEN_SECONDS: Final = 600.0


class TrialError(Exception):
    """The trial cannot start; one line that says what to do, and what a program wrote last."""

    def __init__(self, message: str, last_lines: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.last_lines = tuple(last_lines)


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs."""

    cast: Cast
    tally: Tally
    recorder: Recorder
    sidecar: RunningSidecar
    app: ChildProcess | None
    """``None``: it was running already."""

    @property
    def url(self) -> str:
        """Where users reach the app: its sidecar."""
        return f"http://{self.sidecar.listener('inbound')}"


@asynccontextmanager
async def stage(
    plan: Plan, *, rng: random.Random, sidecar_command: Sequence[str] = SIDECAR
) -> AsyncIterator[Stage]:
    """Set the stage and clear it whatever happens on it.

    The sidecar comes before the app, which may call through it from its first moment. Raises
    ``TrialError`` when something cannot be started.
    """
    _check_ports(plan)
    async with AsyncExitStack() as stack:
        if not plan.start:
            await _until_it_answers(plan, None)
        provider = await stack.enter_async_context(
            IdentityProvider(
                audience=(AUDIENCE,),
                algorithms=("RS256",),
                lifetime_seconds=max(_LEAST_TOKEN_SECONDS, 2 * plan.timeout_seconds),
            )
        )
        cast = Cast(plan.endpoints, plan.users, provider.mint.token)
        tally = Tally(cast, [endpoint.name for endpoint in plan.endpoints])
        recorder = await stack.enter_async_context(
            Recorder(
                plan.destinations,
                cast,
                Manner(
                    answer=plan.answer,
                    latency_seconds=plan.latency_seconds,
                    faults=plan.faults,
                    hold_seconds=plan.hold_seconds,
                ),
                record=tally.arrived,
                rng=rng,
            )
        )
        running = await stack.enter_async_context(
            running_sidecar(
                configuration(plan, provider.issuer, recorder.ports),
                command=sidecar_command,
                on_access_log=tally.read_access_log,
            )
        )
        app = None
        if plan.start:
            app = await stack.enter_async_context(_started_app(plan, running))
            await _until_it_answers(plan, app)
        yield Stage(cast, tally, recorder, running, app)


@asynccontextmanager
async def running_sidecar(
    mapping: Mapping[str, Any],
    *,
    command: Sequence[str] = SIDECAR,
    on_access_log: Callable[[str], None] | None = None,
) -> AsyncIterator[RunningSidecar]:
    """Run a sidecar with the configuration *mapping* and yield it when it is ready."""
    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="sidecar-trial-"))
        path = Path(directory) / "sidecar.yaml"
        path.write_text(json.dumps(mapping, indent=2), encoding="utf-8")  # YAML 1.2 contains JSON
        try:
            running = await stack.enter_async_context(
                sidecar("the sidecar", path, command=command, on_access_log=on_access_log)
            )
            await running.process.line(_READY, timeout_seconds=READY_SECONDS)
        except ProcessError as error:
            problems = [found[1] for found in map(_PROBLEM.search, error.last_lines) if found]
            if problems:
                message = f"the sidecar does not accept this: {'; '.join(problems)}"
                raise TrialError(message) from None
            raise TrialError(str(error), error.last_lines) from None
        except OSError as error:
            raise TrialError(f"the sidecar cannot be started: {error.strerror}") from None
        yield running


def configuration(plan: Plan, issuer: str, upstream_ports: Mapping[str, int]) -> dict[str, Any]:
    """The configuration of the sidecar on trial."""
    attribution: dict[str, Any] = {"carrier": plan.carrier}
    if plan.exclusive != "off":
        attribution["exclusive"] = plan.exclusive
    ours: dict[str, Any] = {
        "version": 1,
        "issuers": {"trial": {"issuer": issuer, "audiences": [AUDIENCE], "profile": "keycloak"}},
        "inbound": {
            "listen": "127.0.0.1:0",
            "app": plan.app,
            "token_to_app": plan.token_to_app,
        },
        "attribution": attribution,
        "outbound": {
            "destinations": {
                name: {
                    "listen": f"127.0.0.1:{port}",
                    "upstream": f"http://127.0.0.1:{upstream_ports[name]}",
                    "min_assurance": plan.min_assurance,
                }
                for name, port in plan.destinations.items()
            }
        },
        "admin": {"listen": "127.0.0.1:0"},
        "log": {"access": "refusals"},
    }
    return _merged(ours, plan.configuration)


def _merged(ours: dict[str, Any], theirs: Mapping[str, object]) -> dict[str, Any]:
    merged = dict(ours)
    for key, value in theirs.items():
        mine = merged.get(key)
        if isinstance(mine, dict) and isinstance(value, Mapping):
            merged[key] = _merged(mine, value)
        else:
            merged[key] = value
    return merged


def _check_ports(plan: Plan) -> None:
    for name, port in plan.destinations.items():
        if port and not is_free(port):
            raise TrialError(
                f"port {port} of destination {name} is taken: stop what listens there, because "
                "this test stands in for it"
            )
    port = endpoints.origin(plan.app).port
    if plan.start and not is_free(port):
        raise TrialError(
            f"something listens on {plan.app} already: stop it, or leave out --start to test it"
        )


async def _until_it_answers(plan: Plan, app: ChildProcess | None) -> None:
    """Return when the app accepts connections. No request is made: the first one is precious."""
    address = endpoints.origin(plan.app).address
    attempts_end = asyncio.get_running_loop().time() + (READY_SECONDS if app else 0)
    while True:
        if app is not None and app.exit_code is not None:
            raise TrialError(
                f"the app ended with exit code {app.exit_code} before it listened on {plan.app}",
                app.last_lines(),
            )
        try:
            _, writer = await asyncio.open_connection(address.host, address.port)
        except OSError:
            if asyncio.get_running_loop().time() >= attempts_end:
                break
            await asyncio.sleep(_PROBE_SECONDS)
        else:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
            return
    if app is None:
        raise TrialError(
            f"nothing listens on {plan.app}: start the app first, or have it started by --start"
        )
    raise TrialError(
        f"the app did not listen on {plan.app} within {READY_SECONDS:g} s", app.last_lines()
    )


@asynccontextmanager
async def _started_app(plan: Plan, running: RunningSidecar) -> AsyncIterator[ChildProcess]:
    environment = child_environment(
        PORT=str(endpoints.origin(plan.app).port),
        **_destination_urls(plan, running),
        **plan.environment,
    )
    if plan.carrier in ("auto", "python"):
        environment |= await _carrier_environment(environment)
    stack = AsyncExitStack()
    try:
        app = await stack.enter_async_context(
            child_process("the app", plan.start, environment=environment, with_children=True)
        )
    except (OSError, ValueError) as error:
        cause = error.strerror if isinstance(error, OSError) else str(error)
        raise TrialError(f"cannot start {plan.start[0]!r}: {cause}") from None
    async with stack:
        yield app


def _destination_urls(plan: Plan, running: RunningSidecar) -> dict[str, str]:
    """``DESTINATION_<NAME>`` for apps that are told where to call, as the URL on localhost."""
    urls = {}
    for name in plan.destinations:
        port = running.listener("outbound", name).rpartition(":")[2]
        variable = re.sub("[^A-Z0-9]", "_", name.upper())
        urls[f"DESTINATION_{variable}"] = f"http://localhost:{port}"
    return urls


async def _carrier_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What ``sidecar carrier env`` says, asked as a user would."""
    lines: list[str] = []
    command = (*SIDECAR, "carrier", "env", "python")
    async with child_process(
        "sidecar carrier env", command, environment=environment, on_stdout=lines.append
    ) as child:
        code = await child.end(timeout_seconds=READY_SECONDS)
        if code != 0:
            raise TrialError("`sidecar carrier env python` failed", child.last_lines())
    return dict(line.split("=", 1) for line in lines if "=" in line)
