"""How servers and frameworks hand a request on, and what else an app may start while it has one.

``/handoff/<name>?out=<url>`` names a function here; every other target is ``work``'s. Each call
that a function is responsible for has been made when the app has answered.
"""

import asyncio
import contextlib
import contextvars
import http.client
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from urllib.parse import parse_qs, quote, urlsplit

from . import work

Answer = tuple[int, bytes]
PREFIX = "/handoff/"


class Intended(Exception):
    """Raised by an app whose handler is to fail."""


def respond(target: str) -> Answer:
    name, out = split(target)
    if name is None:
        return work.respond(target)
    SYNC[name](out)
    return 200, b"ok"


async def respond_async(target: str) -> Answer:
    name, out = split(target)
    if name is None:
        return await work.respond_async(target)
    await ASYNC[name](out)
    return 200, b"ok"


def split(target: str) -> tuple[str | None, str]:
    """The handoff's name, ``None`` if the target is not one; and the URL to call."""
    parts = urlsplit(target)
    out = parse_qs(parts.query).get("out", [""])[0]
    return (parts.path[len(PREFIX) :] if parts.path.startswith(PREFIX) else None), out


def wsgi_target(environ: dict[str, str]) -> str:
    return quote(environ["PATH_INFO"]) + "?" + environ["QUERY_STRING"]


def call(url: str) -> None:
    parts = urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)
    connection.request("GET", parts.path)
    connection.getresponse().read()
    connection.close()


# --- in the request's own thread or task ---


def calls(out: str) -> None:
    """Several calls, so that requests which share a process come to interleave."""
    for _ in range(3):
        call(out)


async def calls_async(out: str) -> None:
    for _ in range(3):
        await asyncio.sleep(random.random() / 100)
        call(out)


def fails(out: str) -> None:
    call(out)
    raise Intended


async def fails_async(out: str) -> None:
    call(out)
    await asyncio.sleep(0)
    raise Intended


def abandoned(out: str) -> None:
    """The client goes away during the first call."""
    call(out)
    call(out + "/after")


async def abandoned_async(out: str) -> None:
    try:
        await asyncio.to_thread(call, out)
    finally:
        call(out + "/after")


# --- children that nothing joins ---


def loose(out: str) -> None:
    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(call, out))
    thread.start()
    thread.join()


async def loose_async(out: str) -> None:
    await asyncio.create_task(calls_async(out))
    await asyncio.to_thread(loose, out)


# --- children that the request waits for ---


async def gathered(out: str) -> None:
    await asyncio.gather(calls_async(out), asyncio.to_thread(calls, out))


async def grouped(out: str) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(calls_async(out))
        group.create_task(asyncio.to_thread(calls, out))


async def executed(out: str) -> None:
    await asyncio.get_running_loop().run_in_executor(None, calls, out)


async def anyio_group(out: str) -> None:
    import anyio

    async def child(group: anyio.abc.TaskGroup) -> None:
        group.start_soon(calls_async, out)

    async def started(*, task_status: anyio.abc.TaskStatus[None]) -> None:
        await calls_async(out)
        task_status.started()
        await calls_async(out)

    async with anyio.create_task_group() as group:
        group.start_soon(calls_async, out)
        group.start_soon(lambda: calls_async(out))
        group.start_soon(child, group)
        await group.start(started)


async def anyio_thread(out: str) -> None:
    import anyio

    def job() -> None:
        call(out)
        anyio.from_thread.run(calls_async, out)
        call(out)

    await anyio.to_thread.run_sync(job)


async def anyio_left_behind(out: str) -> None:
    """A thread that its caller stops waiting for, and a bare task that starts a thread."""
    import anyio

    loop, scope = asyncio.get_running_loop(), anyio.CancelScope()
    given_up, finished = threading.Event(), threading.Event()

    def job() -> None:
        loop.call_soon_threadsafe(scope.cancel)
        given_up.wait(30)
        call(out)
        finished.set()

    with scope:
        await anyio.to_thread.run_sync(job, abandon_on_cancel=True)
    given_up.set()
    await asyncio.to_thread(finished.wait, 30)
    await asyncio.create_task(_awaited(anyio.to_thread.run_sync, call, out))


async def anyio_foreign_group(out: str) -> None:
    """A group that a bare task opened, though the request itself starts a child in it."""
    import anyio

    opened: asyncio.Future[anyio.abc.TaskGroup] = asyncio.get_running_loop().create_future()
    called, done = asyncio.Event(), asyncio.Event()

    async def owner() -> None:
        async with anyio.create_task_group() as group:
            opened.set_result(group)
            await called.wait()
        done.set()

    async def child() -> None:
        await calls_async(out)
        called.set()

    keeper = asyncio.create_task(owner())
    (await opened).start_soon(child)
    await done.wait()
    await keeper


async def group_in_group(out: str) -> None:
    """Tasks of a task's own group, started by that group's tasks, in both libraries."""
    import anyio

    async def start(group: anyio.abc.TaskGroup) -> None:
        group.start_soon(calls_async, out)

    async def create(group: asyncio.TaskGroup) -> None:
        group.create_task(calls_async(out))

    async def child() -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(start, group)
        async with asyncio.TaskGroup() as other:
            other.create_task(create(other))

    async with anyio.create_task_group() as group:
        group.start_soon(child)
    async with asyncio.TaskGroup() as other:
        other.create_task(child())


async def kept_groups(out: str) -> None:
    """Groups in an exit stack that might be kept, and one that was entered elsewhere."""
    import anyio

    async def enter() -> asyncio.TaskGroup:
        return await asyncio.TaskGroup().__aenter__()

    async with contextlib.AsyncExitStack() as stack:
        group = await stack.enter_async_context(anyio.create_task_group())
        group.start_soon(calls_async, out)
        (await stack.enter_async_context(asyncio.TaskGroup())).create_task(calls_async(out))
    other = await enter()
    other.create_task(calls_async(out))
    await other.__aexit__(None, None, None)


async def bridged(out: str) -> None:
    """Into a thread and back into the loop, as Django does it."""
    from asgiref.sync import async_to_sync, sync_to_async

    def job() -> None:
        call(out)
        async_to_sync(calls_async)(out)
        call(out)

    await sync_to_async(job)()
    await sync_to_async(job, thread_sensitive=False)()
    await asyncio.gather(sync_to_async(call)(out), sync_to_async(call)(out))


def bridged_sync(out: str) -> None:
    """The same from a thread, where the coroutine runs in a loop of its own."""
    from asgiref.sync import async_to_sync, sync_to_async

    async def main() -> None:
        await calls_async(out)
        await sync_to_async(call)(out)

    async_to_sync(main)()
    call(out)


async def bridged_left_behind(out: str) -> None:
    """A thread whose caller was cancelled, and a bare task that starts one."""
    from asgiref.sync import sync_to_async

    loop = asyncio.get_running_loop()
    given_up, finished = threading.Event(), threading.Event()

    def job() -> None:
        loop.call_soon_threadsafe(caller.cancel)
        given_up.wait(30)
        call(out)
        finished.set()

    caller = asyncio.gather(sync_to_async(job, thread_sensitive=False)())
    with contextlib.suppress(asyncio.CancelledError):
        await caller
    given_up.set()
    await asyncio.to_thread(finished.wait, 30)
    await asyncio.create_task(_awaited(sync_to_async(call), out))


# --- a worker that the first request starts, and that serves everybody ---

_items: "list[asyncio.Queue[tuple[str, asyncio.Event]]]" = []


async def lazy_first(out: str) -> None:
    """Start the worker, have it call for us, then stay open with a call of our own."""
    _items[:] = [asyncio.Queue()]
    worker = asyncio.create_task(_work(_items[0]))
    await lazy_next(out + "/first")
    await asyncio.to_thread(call, out + "/open")
    worker.cancel()


async def lazy_next(out: str) -> None:
    done = asyncio.Event()
    await _items[0].put((out, done))
    await done.wait()


async def _work(items: "asyncio.Queue[tuple[str, asyncio.Event]]") -> None:
    """Call for each item in every way there is to hand on what a task has."""
    while True:
        out, done = await items.get()
        call(out)
        await gathered(out)
        await grouped(out)
        await executed(out)
        await anyio_group(out)
        await anyio_thread(out)
        await bridged(out)
        done.set()


LAZY_CALLS = 1 + 6 + 6 + 3 + 15 + 5 + 12


async def _awaited(function: Callable[..., Awaitable[object]], *args: object) -> None:
    await function(*args)


SYNC: dict[str, Callable[[str], None]] = {
    "calls": calls,
    "fails": fails,
    "abandoned": abandoned,
    "loose": loose,
    "bridged": bridged_sync,
}

ASYNC: dict[str, Callable[[str], Awaitable[None]]] = {
    "calls": calls_async,
    "fails": fails_async,
    "abandoned": abandoned_async,
    "loose": loose_async,
    "gathered": gathered,
    "grouped": grouped,
    "executed": executed,
    "anyio_group": anyio_group,
    "anyio_thread": anyio_thread,
    "anyio_left_behind": anyio_left_behind,
    "anyio_foreign_group": anyio_foreign_group,
    "group_in_group": group_in_group,
    "kept_groups": kept_groups,
    "bridged": bridged,
    "bridged_left_behind": bridged_left_behind,
    "lazy_first": lazy_first,
    "lazy_next": lazy_next,
}


# --- a response that calls out while it is being sent ---


class Stream:
    """A WSGI app's iterable: calls for each part, and when it is closed."""

    def __init__(self, out: str) -> None:
        self._out = out

    def __iter__(self) -> Iterator[bytes]:
        for _ in range(3):
            call(self._out)
            yield b"part"

    def close(self) -> None:
        call(self._out)


async def stream_async(out: str) -> AsyncIterator[bytes]:
    for _ in range(4):
        await asyncio.sleep(0)
        call(out)
        yield b"part"
