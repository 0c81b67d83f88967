"""One request's errand: whom to call, how, and how long to take over it."""

import asyncio
import random
import time
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from tests.apps.clients import Answer, blocking, non_blocking

_POLL_SECONDS = 0.01


class _Releases:
    """How often held requests have been let go."""

    seen = 0


@dataclass(frozen=True, slots=True)
class Job:
    """One request's errand."""

    style: str
    client: str
    url: str
    key: str
    hold_seconds: float
    linger_seconds: float
    pause_seconds: float

    @classmethod
    def parse(cls, target: str) -> "Job":
        """Read a request target. Raises ``ValueError`` if it is not one of ours."""
        parts = urlsplit(target)
        style, client = parts.path.strip("/").split("/")
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        return cls(
            style=style,
            client=client,
            url=query.get("out", ""),
            key=query.get("key", "") + style + client,
            hold_seconds=float(query.get("hold", 0)),
            linger_seconds=float(query.get("linger", 0.05)),
            pause_seconds=float(query.get("pause", 0)) / 1000,
        )

    def call(self) -> Answer:
        """Make the request's call, here and now."""
        self.pause()
        return blocking(self.client)(self.url)

    async def call_async(self) -> Answer:
        """Make the request's call in the task that is running."""
        await self.pause_async()
        return await non_blocking(self.client)(self.url)

    def pause(self) -> None:
        """Take a random moment, so that requests overlap in every order."""
        time.sleep(random.uniform(0, self.pause_seconds))

    async def pause_async(self) -> None:
        await asyncio.sleep(random.uniform(0, self.pause_seconds))

    def hold(self) -> None:
        """Keep the request open for as long as it asks for."""
        end, released = time.monotonic() + self.hold_seconds, _Releases.seen
        while time.monotonic() < end and _Releases.seen == released:
            time.sleep(_POLL_SECONDS)

    async def hold_async(self) -> None:
        end, released = time.monotonic() + self.hold_seconds, _Releases.seen
        while time.monotonic() < end and _Releases.seen == released:
            await asyncio.sleep(_POLL_SECONDS)


def release() -> None:
    """Let every request go that holds."""
    _Releases.seen += 1
