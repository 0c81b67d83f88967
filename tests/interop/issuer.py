"""One issuer as a child process that can be stopped and started again, and how it is asked."""

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any, Final

import aiohttp

from sidecar.testbed.processes import child_environment, child_process

START_SECONDS: Final = 150.0
"""Java on a busy machine; a fifth of it is usual."""
STOP_SECONDS: Final = 20.0


class IssuerProcess:
    """A program that says in a line of its output when it serves."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        ready: re.Pattern[str],
        environment: Mapping[str, str],
    ) -> None:
        self.name = name
        self._command = command
        self._ready = ready
        self._environment = child_environment(**environment)
        self._running = AsyncExitStack()

    async def start(self) -> None:
        """Start it and wait until it serves."""
        child = await self._running.enter_async_context(
            child_process(
                self.name, self._command, environment=self._environment, with_children=True
            )
        )
        await child.line(self._ready, timeout_seconds=START_SECONDS)
        self._running.push_async_callback(child.stop, grace_seconds=STOP_SECONDS)

    async def stop(self) -> None:
        """Stop it and wait until nothing of it is left."""
        await self._running.aclose()


async def post_form(
    url: str, form: Mapping[str, str], *, client: tuple[str, str] | None = None
) -> dict[str, Any]:
    """Post *form*, as *client* with its secret, and return the JSON object of the answer."""
    fields = {}
    if client is not None:
        encoded = base64.b64encode(":".join(client).encode()).decode()
        fields["authorization"] = f"Basic {encoded}"
    answer: dict[str, Any] = await ask("POST", url, data=form, headers=fields)
    return answer


async def ask(method: str, url: str, **options: Any) -> Any:
    """Make one request, which must succeed, and return the JSON of the answer if it has any."""
    limit = aiohttp.ClientTimeout(total=30)
    async with (
        aiohttp.ClientSession(timeout=limit) as client,
        client.request(method, url, **options) as answer,
    ):
        body = await answer.read()
        assert answer.ok, f"{method} {url}: {answer.status} {body[:500]!r}"
        return json.loads(body) if body else None


def header_of(token: str) -> dict[str, Any]:
    """Return the JOSE header of a compact token, unchecked."""
    return _decoded(token, 0)


def claims_of(token: str) -> dict[str, Any]:
    """Return the claims of a compact token, unchecked."""
    return _decoded(token, 1)


def _decoded(token: str, part: int) -> dict[str, Any]:
    text = token.split(".")[part]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return decoded


async def several(issue: Callable[[], Awaitable[str]], count: int) -> list[str]:
    """Call *issue* so often, at once, and return the tokens."""
    return list(await asyncio.gather(*(issue() for _ in range(count))))
