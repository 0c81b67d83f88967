"""Services in a row, each beside a sidecar process of its own, of which each calls the next.

Owns the apps: each asks the next by the handle that its request came with, as an app with the
strict carrier would, and answers with what it and all after it saw.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sidecar.config.model import Address
from sidecar.testbed.processes import RunningSidecar, sidecar
from tests.support.http import App, Request, Response, fetch

_READY_SECONDS = 30.0
_POLL_SECONDS = 0.02
_VISIT_SECONDS = 90.0
"""For hundreds of visits at once, on a machine with other things to do."""
_CARRIER = ("x-sidecar-carrier", "python/0.1; grade=strict")


@dataclass
class Link:
    """One pod of the row."""

    name: str
    running: RunningSidecar
    app: App
    log: list[str] = field(repr=False)
    onward: Address | None
    """Where its app calls the next one."""

    def address(self, *words: str) -> Address:
        """Return where the listener named by *words* is."""
        return _address(self.running.listener(*words))

    async def samples(self, name: str) -> dict[str, float]:
        """Return the samples of the metric *name*, by their labels as written."""
        lines = (await fetch(self.address("admin"), "/metrics")).body.decode().splitlines()
        pairs = [line.rpartition(" ") for line in lines if line.startswith(f"{name}{{")]
        return {key.removeprefix(name): float(value) for key, _, value in pairs}

    async def until_ready(self) -> None:
        """Wait until the keys are loaded."""
        async with asyncio.timeout(_READY_SECONDS):
            while (await fetch(self.address("admin"), "/readyz")).status != 200:
                await asyncio.sleep(_POLL_SECONDS)


@dataclass(frozen=True)
class Visit:
    """What came of one call to the first service."""

    status: int
    seen: list[dict[str, Any]]
    """What each service along the way saw: ``subject`` and ``token``, or ``status`` and ``reason``
    of the refusal that its call met."""


@dataclass
class Chain:
    """All pods, the first one first."""

    links: list[Link]

    async def visit(self, token: str, target: str = "/users/x") -> Visit:
        """Call the first service with *token*."""
        first = self.links[0].address("inbound")
        answer = await fetch(first, target, bearer=token, limit_seconds=_VISIT_SECONDS)
        if answer.reason:
            return Visit(answer.status, [_refusal(answer)])
        return Visit(answer.status, json.loads(answer.body))


@asynccontextmanager
async def chain(directory: Path, pods: Mapping[str, Mapping[str, Any]]) -> AsyncIterator[Chain]:
    """Run *pods*: configurations by name, in the order of the calls.

    Addresses are filled in: those of listeners, of apps, and of the one destination that all but
    the last have.
    """
    async with AsyncExitStack() as stack:
        links: list[Link] = []
        for name, configuration in reversed(list(pods.items())):
            after = links[0] if links else None
            link = await stack.enter_async_context(
                _link(directory / f"{name}.yaml", name, configuration, after)
            )
            links.insert(0, link)
        await asyncio.gather(*(link.until_ready() for link in links))
        yield Chain(links)


@asynccontextmanager
async def _link(
    file: Path, name: str, configuration: Mapping[str, Any], after: Link | None
) -> AsyncIterator[Link]:
    async with App().running() as app, asyncio.TaskGroup() as serving:
        inbound = {**configuration["inbound"], "listen": "127.0.0.1:0", "app": str(app.origin)}
        complete = {
            **configuration,
            "version": 1,
            "inbound": inbound,
            "admin": {"listen": "127.0.0.1:0"},
            "drain_timeout": "1s",
        }
        words: Sequence[str] = ()
        if after is not None:
            ((destination, keys),) = configuration["outbound"]["destinations"].items()
            upstream = f"http://{after.address('inbound')}"
            keys = {**keys, "listen": "127.0.0.1:0", "upstream": upstream}
            complete["outbound"] = {"destinations": {destination: keys}}
            words = ("outbound", destination)
        file.write_text(yaml.safe_dump(complete))
        log: list[str] = []
        async with sidecar(name, file, on_access_log=log.append) as running:
            onward = _address(running.listener(*words)) if words else None
            task = serving.create_task(_serve(app, onward))
            yield Link(name, running, app, log, onward)
            task.cancel()


async def _serve(app: App, onward: Address | None) -> None:
    async with asyncio.TaskGroup() as group:
        while True:
            group.create_task(_answer(await _next(app), onward))


async def _next(app: App) -> Request:
    while True:
        try:
            return await app.next()
        except TimeoutError:
            continue


async def _answer(request: Request, onward: Address | None) -> None:
    authorization = next(iter(request.values("authorization")), "")
    seen: list[dict[str, Any]] = [
        {
            "subject": next(iter(request.values("x-auth-subject")), ""),
            "token": authorization.removeprefix("Bearer "),
            "target": request.target,
        }
    ]
    if onward is not None:
        fields = [_CARRIER, ("x-sidecar-context", request.handle)]
        answer = await fetch(onward, request.target, fields=fields, limit_seconds=_VISIT_SECONDS)
        seen += [_refusal(answer)] if answer.status != 200 else json.loads(answer.body)
    request.answer(body=json.dumps(seen).encode())


def _refusal(answer: Response) -> dict[str, Any]:
    return {"status": answer.status, "reason": answer.reason}


def _address(text: str) -> Address:
    host, _, port = text.rpartition(":")
    return Address(host, int(port))
