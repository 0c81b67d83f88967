"""What an app does for one request: call out, in a style and with a client that the path names.

``/<style>/<client>?out=<url>`` is answered when the calls that the request waits for were made.
The answer's content is a JSON list of what came of each of them: a status, a sidecar's reason, or
the name of an exception. Further parameters: ``key`` (workers and batches of one key are one),
``hold`` (seconds for which the first request of a key stays open after its call; ``/release``
ends that), ``linger`` (seconds after the response at which a left-behind job calls) and ``pause``
(the longest random delay, in milliseconds, before each call).
"""

import asyncio
import json
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


def respond(target: str) -> tuple[int, bytes]:
    """Do what *target* says in the calling thread; return status and content of the response."""
    from tests.apps.styles_sync import STYLES

    if target.startswith("/release"):
        return _release()
    try:
        job = Job.parse(target)
        style = STYLES[job.style]
    except (KeyError, ValueError):
        return 404, b"no such style"
    try:
        return _reported(style(job))
    except Exception as error:  # an app's own mistake is its answer
        return 500, json.dumps([type(error).__name__]).encode()


async def respond_async(target: str) -> tuple[int, bytes]:
    """Do what *target* says in the running task; return status and content of the response."""
    from tests.apps.styles_async import STYLES

    if target.startswith("/release"):
        return _release()
    try:
        job = Job.parse(target)
        style = STYLES[job.style]
    except (KeyError, ValueError):
        return 404, b"no such style"
    try:
        return _reported(await style(job))
    except Exception as error:
        return 500, json.dumps([type(error).__name__]).encode()


async def afterwards(target: str) -> None:
    """Make the call of *target* some time after the response, for servers that have a place for
    such work (background tasks).
    """
    job = Job.parse(target)
    await asyncio.sleep(job.linger_seconds)
    await job.call_async()


def _release() -> tuple[int, bytes]:
    _Releases.seen += 1
    return 200, b"[]"


def _reported(answers: list[Answer]) -> tuple[int, bytes]:
    return 200, json.dumps([str(answer) for answer in answers]).encode()
