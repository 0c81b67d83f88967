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

from tests.apps import styles_async, styles_sync
from tests.apps.clients import Answer
from tests.apps.job import Job, release


def respond(target: str) -> tuple[int, bytes]:
    """Do what *target* says in the calling thread; return status and content of the response."""
    if target.startswith("/release"):
        return _release()
    try:
        job = Job.parse(target)
        style = styles_sync.STYLES[job.style]
    except (KeyError, ValueError):
        return 404, b"no such style"
    try:
        return _reported(style(job))
    except Exception as error:  # an app's own mistake is its answer
        return 500, json.dumps([type(error).__name__]).encode()


async def respond_async(target: str) -> tuple[int, bytes]:
    """Do what *target* says in the running task; return status and content of the response."""
    if target.startswith("/release"):
        return _release()
    try:
        job = Job.parse(target)
        style = styles_async.STYLES[job.style]
    except (KeyError, ValueError):
        return 404, b"no such style"
    try:
        return _reported(await style(job))
    except Exception as error:
        return 500, json.dumps([type(error).__name__]).encode()


async def later(target: str) -> None:
    """Do what a framework was told to do after the response: ``/background/<client>``."""
    job = Job.parse(target)
    await asyncio.sleep(job.linger_seconds)
    await job.call_async()


def _release() -> tuple[int, bytes]:
    release()
    return 200, b"[]"


def _reported(answers: list[Answer]) -> tuple[int, bytes]:
    return 200, json.dumps([str(answer) for answer in answers]).encode()
