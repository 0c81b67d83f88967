"""Pods replaced and configurations changed under load: what callers notice of it.

A small cluster on loopback: two pods of user-service behind what a Service is, one pod of
profile-service behind them, a sidecar in each, the carrier in user-service. Callers send tokens of
many users over kept-alive connections and repeat nothing. First the configuration of both
user-service pods is changed under them, then each pod is replaced as a Deployment does it:

1. a new pod becomes ready and gets its share of new connections;
2. the old one is told to drain by its preStop hook, while the app's own hook sleeps;
3. a while later new connections no longer go to it, for endpoints reach nodes late;
4. the app gets SIGTERM; when it has ended, so does the sidecar.

Run as ``python -m bench.rolling``. Ends with 1 if any call failed or got somebody else's answer.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

import sidecar as package
from bench.report import progress
from sidecar.testbed.ports import free_ports
from sidecar.testbed.processes import (
    SIDECAR,
    ChildProcess,
    RunningSidecar,
    child_environment,
    service,
    sidecar,
)
from sidecar.testbed.steady import Call, Tally, calling
from sidecar.testbed.token_mint import TokenMint

ISSUER: Final = "https://issuer.example"
USERS: Final = 50
_CONFIGURATION: Final = """\
version: 1
issuers:
  shop:
    issuer: {issuer}
    audiences: [{audience}]
    profile: keycloak
    jwks_file: {keys}
inbound:
  listen: 127.0.0.1:0
  app: http://{app}
{inbound}  rules:
    - paths: [/**]
      require: authenticated
log:
  access: 'off'
{more}"""
_ADMIN: Final = "admin:\n  listen: 127.0.0.1:0\n"
_DEMO: Final = Path(package.__file__).parent / "demo"
_CARRIER: Final = Path(package.__file__).parent / "carriers" / "python"
_READY_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Terms:
    """How long things take that Kubernetes does not do at once, in seconds."""

    endpoints: float = 1.0
    """From the decision to end a pod until nobody opens connections to it."""
    app_sleep: float = 3.0
    """The app's preStop hook."""


_TERMS: Final = Terms()


@dataclass
class Pod:
    """One app and its sidecar."""

    name: str
    configuration: Path
    text: str
    app: ChildProcess
    sidecar: RunningSidecar
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def address(self) -> tuple[str, int]:
        return _split(self.sidecar.listener("inbound"))

    def configure(self, via: str) -> None:
        """Replace the configuration as a whole, as a projected volume does."""
        written = self.configuration.with_suffix(".new")
        written.write_text(self.text.replace("VIA", via))
        written.rename(self.configuration)


class Service:
    """Where new connections go: to the ready pods in turn."""

    def __init__(self) -> None:
        self.pods: list[Pod] = []
        self._turn = count()

    def address(self) -> tuple[str, int]:
        return self.pods[next(self._turn) % len(self.pods)].address


class Cluster:
    """Starts pods, and ends them, for as long as *stack* lasts."""

    def __init__(self, directory: Path, stack: AsyncExitStack, terms: Terms) -> None:
        self.mint = TokenMint(
            ISSUER, audience=["user-service", "profile-service"], algorithms=("ES256",)
        )
        self._directory = directory
        self._stack = stack
        self._terms = terms
        self._number = count(1)
        self._profiles = ""
        (directory / "keys.json").write_text(json.dumps(self.mint.jwks()))

    async def profile_service(self) -> None:
        """Start the destination, which stays."""
        _, port = await self._stack.enter_async_context(
            service(
                "profile-service",
                _DEMO / "profile_service.py",
                "--port",
                "0",
                environment=child_environment(),
            )
        )
        path = self._directory / "profile-service.yaml"
        path.write_text(self._configuration("profile-service", port, more=_ADMIN))
        running = await self._stack.enter_async_context(sidecar("profile-service", path))
        await _until_told(running, "/readyz", "ready\n")
        self._profiles = running.listener("inbound")

    @asynccontextmanager
    async def user_service(self) -> AsyncIterator[Pod]:
        """Run a pod of user-service; at the end it is ended as Kubernetes ends one."""
        name = f"user-service-{next(self._number)}"
        app_port, outbound_port = free_ports(2)
        more = (
            f"{_ADMIN}  control: unix:{self._directory / name}.sock\n"
            "outbound:\n  destinations:\n    profile-service:\n"
            f"      listen: 127.0.0.1:{outbound_port}\n"
            f"      upstream: http://{self._profiles}\n"
        )
        path = self._directory / f"{name}.yaml"
        text = self._configuration(
            "user-service", f"127.0.0.1:{app_port}", inbound="  via: VIA\n", more=more
        )
        path.write_text(text)
        environment = child_environment(
            PROFILES_URL=f"http://localhost:{outbound_port}",
            PYTHONPATH=str(_CARRIER),
            SIDECAR_TARGETS=f"localhost:{outbound_port}",
            SIDECAR_CARRIER="grade=strict",
        )
        async with (
            sidecar(name, path) as running,
            service(
                name,
                _DEMO / "user_service.py",
                "--port",
                str(app_port),
                environment=environment,
            ) as (app, _address),
        ):
            await _until_told(running, "/readyz", "ready\n")
            yield Pod(name, path, text, app, running)

    async def end(self, pod: Pod, service: Service) -> Mapping[str, float]:
        """End *pod*; return how long the two hooks and the sidecar's own end took."""
        began = time.monotonic()
        drain = (*SIDECAR, "drain", "--control", f"{self._directory / pod.name}.sock")
        hook = await asyncio.create_subprocess_exec(*drain, stdout=asyncio.subprocess.DEVNULL)
        if await hook.wait():
            raise RuntimeError(f"{pod.name}: sidecar drain ended with {hook.returncode}")
        drained = time.monotonic()
        await asyncio.sleep(self._terms.endpoints)
        service.pods.remove(pod)
        await asyncio.sleep(max(0.0, self._terms.app_sleep - (time.monotonic() - began)))
        await pod.app.stop()
        app_ended = time.monotonic()
        if await pod.sidecar.process.stop(grace_seconds=30.0):
            raise RuntimeError(f"{pod.name}: the sidecar ended with an error")
        return {"drain": drained - began, "sidecar": time.monotonic() - app_ended}

    def calls(self) -> Sequence[Call]:
        """Return a call for each user, whose answer names that user twice."""
        return [
            Call(
                f"GET /users/user-{number} HTTP/1.1\r\nHost: user-service\r\nAuthorization: Bearer "
                f"{self.mint.token(f'user-{number}', scope='profile.read')}\r\n\r\n".encode(),
                # What profile-service says of who asked it, which is inside of the profile.
                f'"x-auth-subject": "user-{number}"'.encode(),
            )
            for number in range(USERS)
        ]

    def _configuration(self, audience: str, app: str, *, inbound: str = "", more: str) -> str:
        return _CONFIGURATION.format(
            issuer=ISSUER,
            audience=audience,
            keys=self._directory / "keys.json",
            app=app,
            inbound=inbound,
            more=more,
        )


async def measure(terms: Terms, *, reloads: int, restarts: int, callers: int) -> dict[str, Any]:
    """Change and replace under load; return what callers noticed."""
    found: dict[str, Any] = {}
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rolling-")))
        cluster = Cluster(directory, stack, terms)
        await cluster.profile_service()
        front = Service()
        pods = {}
        for _ in range(2):
            pod_stack = await stack.enter_async_context(AsyncExitStack())
            pod = await pod_stack.enter_async_context(cluster.user_service())
            pods[pod.name] = pod_stack
            front.pods.append(pod)
        calls = cluster.calls()
        async with calling(front.address, calls, callers=callers) as tally:
            await tally.until(200)
            found["before"] = _summary(tally)
        async with calling(front.address, calls, callers=callers) as tally:
            await tally.until(50)
            for number in range(reloads):
                for pod in front.pods:
                    pod.configure(f"v{number}")
                await asyncio.gather(*(_reloaded(pod, number + 1) for pod in front.pods))
                await tally.until(50)
            found["reloads"] = {"count": reloads * len(front.pods), **_summary(tally)}
        hooks = []
        async with calling(front.address, calls, callers=callers) as tally:
            await tally.until(50)
            for _ in range(restarts):
                old = front.pods[0]
                pod_stack = await stack.enter_async_context(AsyncExitStack())
                pod = await pod_stack.enter_async_context(cluster.user_service())
                pods[pod.name] = pod_stack
                front.pods.append(pod)
                hooks.append(await cluster.end(old, front))
                await pods.pop(old.name).aclose()
                progress(f"{old.name} replaced by {pod.name}; calls so far: {dict(tally.outcomes)}")
            await tally.until(50)
            found["restarts"] = {
                "count": restarts,
                "drain_seconds": [round(each["drain"], 2) for each in hooks],
                "sidecar_end_seconds": [round(each["sidecar"], 2) for each in hooks],
                **_summary(tally),
            }
    return found


def _summary(tally: Tally) -> dict[str, Any]:
    cuts = quantiles(tally.seconds, n=100)
    return {
        "calls": tally.calls,
        "connections": tally.connections,
        "failed": sum(tally.other_than(200).values()),
        "outcomes": dict(tally.outcomes),
        "p50_ms": round(1000 * cuts[49], 1),
        "p99_ms": round(1000 * cuts[98], 1),
        "max_ms": round(1000 * max(tally.seconds), 1),
    }


async def _reloaded(pod: Pod, times: int) -> None:
    line = f'sidecar_config_reloads_total{{result="success"}} {times}.0'
    await _until_told(pod.sidecar, "/metrics", line)


async def _until_told(running: RunningSidecar, path: str, part: str) -> None:
    async with asyncio.timeout(_READY_SECONDS):
        while part not in await _get(running, path):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.05)


async def _get(running: RunningSidecar, path: str) -> str:
    reader, writer = await asyncio.open_connection(*_split(running.listener("admin")))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.partition(b"\r\n\r\n")[2].decode()


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host, int(port)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.rolling", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--reloads", type=int, default=10, help="changed configurations")
    parser.add_argument("--restarts", type=int, default=4, help="replaced pods")
    parser.add_argument("--callers", type=int, default=16)
    parser.add_argument("--endpoints", type=float, default=_TERMS.endpoints, metavar="SECONDS")
    parser.add_argument("--app-sleep", type=float, default=_TERMS.app_sleep, metavar="SECONDS")
    given = parser.parse_args()
    terms = Terms(endpoints=given.endpoints, app_sleep=given.app_sleep)
    found = asyncio.run(
        measure(terms, reloads=given.reloads, restarts=given.restarts, callers=given.callers)
    )
    print(json.dumps(found, indent=2))
    failed = sum(part["failed"] for part in found.values())
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
