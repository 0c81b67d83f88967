"""Everything the tour needs, running: identity provider, two services, a sidecar beside each.

Owns the order of starting and the reverse order of stopping. What happens on the stage belongs
to ``sidecar.demo.steps``.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import aiohttp

from sidecar.demo.configurations import (
    AUDIENCES,
    profile_service_configuration,
    user_service_configuration,
)
from sidecar.demo.metrics import Reading
from sidecar.demo.ports import Ports
from sidecar.demo.story import Story
from sidecar.testbed.identity_provider import IdentityProvider
from sidecar.testbed.processes import (
    READY_SECONDS,
    SIDECAR,
    ChildProcess,
    ProcessError,
    RunningSidecar,
    child_environment,
    service,
    sidecar,
)

_HERE: Final = Path(__file__).parent
CARRIER: Final = _HERE.parent / "carriers" / "python"
_PROBE_SECONDS: Final = 0.05


class StageError(Exception):
    """The stage cannot be set up; the message is one line that says why."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What runs, and where."""

    provider: IdentityProvider
    client: aiohttp.ClientSession
    user_sidecar: RunningSidecar
    profile_sidecar: RunningSidecar
    services: tuple[ChildProcess, ...]
    directory: Path
    user_service: str
    """``host:port`` of the app itself, past its sidecar."""
    before: tuple[Reading, Reading]
    """The metrics of both sidecars before the first call."""

    @property
    def users_url(self) -> str:
        """Where callers reach user-service: its sidecar."""
        return f"http://{self.user_sidecar.listener('inbound')}"

    @property
    def profiles_url(self) -> str:
        """Where callers reach profile-service: its sidecar."""
        return f"http://{self.profile_sidecar.listener('inbound')}"

    @property
    def sidecars(self) -> tuple[RunningSidecar, RunningSidecar]:
        """User-service's, then profile-service's."""
        return self.user_sidecar, self.profile_sidecar

    def check(self) -> None:
        """Raise ``ProcessError`` if anything that should run has ended."""
        for process in (*(each.process for each in self.sidecars), *self.services):
            process.check()

    async def read_metrics(self) -> tuple[Reading, Reading]:
        """Scrape both sidecars."""
        first, second = [await _scrape(self.client, each) for each in self.sidecars]
        return first, second


@asynccontextmanager
async def stage(
    story: Story, ports: Ports, *, user_sidecar_command: Sequence[str]
) -> AsyncIterator[Stage]:
    """Set the stage, telling each step, and clear it whatever happens on it.

    Raises ``StageError`` or ``ProcessError`` when something cannot be started.
    """
    async with AsyncExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sidecar-demo-")))
        client = await stack.enter_async_context(_client())
        provider = await _provider(stack, ports.identity_provider)
        story.progress("identity provider", f"{provider.issuer}, keys {_listed(provider)}")
        builder = _Builder(story, stack, client, directory)
        profile, _ = await builder.service("profile-service", ports.profile_service)
        profile_sidecar = await builder.sidecar(
            "profile-service", profile_service_configuration(provider.issuer, ports), SIDECAR
        )
        # Before user-service, which calls through it from its first moment.
        user_sidecar = await builder.sidecar(
            "user-service",
            user_service_configuration(provider.issuer, ports),
            user_sidecar_command,
        )
        before = await _scrape(client, user_sidecar), await _scrape(client, profile_sidecar)
        user, user_address = await builder.service(
            "user-service", ports.user_service, **_carried_by(user_sidecar)
        )
        yield Stage(
            provider=provider,
            client=client,
            user_sidecar=user_sidecar,
            profile_sidecar=profile_sidecar,
            services=(profile, user),
            directory=directory,
            user_service=user_address,
            before=before,
        )


@dataclass(frozen=True, slots=True)
class _Builder:
    """Starts programs for as long as *stack* lasts, and tells each one."""

    story: Story
    stack: AsyncExitStack
    client: aiohttp.ClientSession
    directory: Path

    async def service(self, name: str, port: int, **environment: str) -> tuple[ChildProcess, str]:
        process, address = await self.stack.enter_async_context(
            service(
                name,
                _HERE / f"{name.replace('-', '_')}.py",
                *("--port", str(port)),
                environment=child_environment(**environment),
            )
        )
        self.story.progress(name, f"http://{address}")
        return process, address

    async def sidecar(self, app: str, configuration: str, command: Sequence[str]) -> RunningSidecar:
        path = self.directory / f"{app}.yaml"
        path.write_text(configuration, encoding="utf-8")
        running = await self.stack.enter_async_context(
            sidecar(f"{app}'s sidecar", path, command=command)
        )
        await _until_ready(self.client, running)
        listeners = (f"{what} {address}" for what, address in running.listeners.items())
        self.story.progress(f"{app}'s sidecar", ", ".join(listeners))
        return running


def _client() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10))


def _listed(provider: IdentityProvider) -> str:
    return ", ".join(provider.mint.algorithms)


async def _provider(stack: AsyncExitStack, port: int) -> IdentityProvider:
    try:
        return await stack.enter_async_context(IdentityProvider(audience=AUDIENCES, port=port))
    except OSError as error:
        reason = error.strerror or error
        raise StageError(f"the identity provider cannot listen on port {port}: {reason}") from None


async def _until_ready(client: aiohttp.ClientSession, running: RunningSidecar) -> None:
    """Ask ``/readyz`` until it says yes: listening does not mean that the keys are there."""
    answer = "no answer"
    try:
        async with asyncio.timeout(READY_SECONDS):
            while True:
                async with client.get(f"http://{running.listener('admin')}/readyz") as response:
                    if response.status == 200:
                        return
                    answer = " ".join((await response.text()).split())
                await asyncio.sleep(_PROBE_SECONDS)
    except (TimeoutError, aiohttp.ClientError):
        name = running.process.name
        message = f"{name} was not ready within {READY_SECONDS:g} s: {answer}"
        raise ProcessError(message, running.process.last_lines()) from None


async def _scrape(client: aiohttp.ClientSession, running: RunningSidecar) -> Reading:
    try:
        async with client.get(f"http://{running.listener('admin')}/metrics") as response:
            response.raise_for_status()
            return Reading.of(await response.text())
    except (aiohttp.ClientError, TimeoutError) as error:
        message = f"{running.process.name} did not give its metrics: {type(error).__name__}"
        raise ProcessError(message, running.process.last_lines()) from None


def _carried_by(running: RunningSidecar) -> dict[str, str]:
    """What user-service's environment says: load the carrier, and call the sidecar."""
    _, _, port = running.listener("outbound", "profile-service").rpartition(":")
    path = filter(None, (str(CARRIER), os.environ.get("PYTHONPATH")))
    return {
        "PYTHONPATH": os.pathsep.join(path),
        "SIDECAR_CARRIER": "grade=strict",
        "PROFILES_URL": f"http://localhost:{port}",
        "WARM_UP": "1",
    }
