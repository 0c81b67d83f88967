"""Ways in which a request's identity might get to work that is not its own, tried in one process.

Run as a program with the carrier on its path; prints what each way saw as JSON: ``own`` where the
code had the request's handle, ``none`` where it had none. The names of those that the request
surely waits for end in ``_joined``; all others must see ``none``, though the request is still open.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import gc
import json
import sys
import threading
from typing import TYPE_CHECKING

import sidecar_carrier  # type: ignore[import-not-found]  # on PYTHONPATH

sidecar_carrier.activate()

from sidecar_carrier import held  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any

    Way = Callable[[list[str]], Any]

HANDLE = "sdc1" + "a" * 28
WAYS: list[Way] = []
Pool = concurrent.futures.ThreadPoolExecutor


def way(function: Way) -> Way:
    WAYS.append(function)
    return function


def since(*version: int) -> Callable[[Way], Way]:
    return way if sys.version_info >= version else lambda function: function


def look() -> str:
    return "own" if held.handle() == HANDLE else "none"


async def look_later(seen: list[str], seconds: float = 0.01) -> None:
    await asyncio.sleep(seconds)
    seen.append(look())


def look_when(go: threading.Event, seen: list[str]) -> None:
    go.wait(10)
    seen.append(look())


async def fail() -> None:
    raise OSError


# --- asyncio ---


@way
async def generator_finalised(seen: list[str]) -> None:
    """The loop closes a forgotten async generator in a task of its own."""

    async def forgotten() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await asyncio.sleep(0)
            seen.append(look())

    generator = forgotten()
    await generator.__anext__()
    del generator
    gc.collect()
    await asyncio.sleep(0.01)


@way
async def shielded_and_given_up(seen: list[str]) -> None:
    work = asyncio.shield(asyncio.gather(look_later(seen, 0.03)))
    with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
        await asyncio.wait_for(work, 0.005)
    await asyncio.sleep(0.05)


@way
async def left_behind_and_waiting_for_others(seen: list[str]) -> None:
    """The request awaits a gather again, but not the one that the child is in."""
    with contextlib.suppress(OSError):
        await asyncio.gather(look_later(seen, 0.02), fail())
    await asyncio.gather(asyncio.sleep(0.04), asyncio.sleep(0.04))


@way
async def cancellation_ignored(seen: list[str]) -> None:
    async def stubborn() -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1)
        await look_later(seen)

    gathered = asyncio.gather(stubborn())
    await asyncio.sleep(0)
    gathered.cancel()
    await asyncio.sleep(0.03)
    with contextlib.suppress(asyncio.CancelledError):
        await gathered


@way
async def callbacks(seen: list[str]) -> None:
    loop = asyncio.get_running_loop()
    loop.call_soon(lambda: seen.append(look()))
    loop.call_soon_threadsafe(lambda: seen.append(look()))
    future = loop.create_future()
    future.add_done_callback(lambda _: seen.append(look()))
    future.set_result(None)
    await asyncio.sleep(0.01)


@way
async def context_in_other_hands(seen: list[str]) -> None:
    """Another task and another thread run with a copy of the request's context."""
    context = contextvars.copy_context()

    async def other() -> None:
        seen.append(context.run(look))

    await contextvars.Context().run(asyncio.ensure_future, other())
    thread = threading.Thread(target=lambda: seen.append(context.run(look)))
    thread.start()
    thread.join()


@since(3, 12)
async def eager_tasks(seen: list[str]) -> None:
    """A task that runs its first step inside the request's own."""
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]

    async def worker() -> None:
        seen.append(look())
        await look_later(seen)

    task = asyncio.ensure_future(worker())
    gathered = asyncio.gather(worker())
    await asyncio.sleep(0.02)
    await task
    await gathered


@since(3, 11)
async def group_entered_by_a_method(seen: list[str]) -> None:
    class Session:
        async def __aenter__(self) -> None:
            self.group = await asyncio.TaskGroup().__aenter__()
            self.task = self.group.create_task(look_later(seen))

        async def __aexit__(self, *_: object) -> None:
            await self.group.__aexit__(None, None, None)

    async with Session():
        await asyncio.sleep(0.02)


@since(3, 11)
async def group_joined(seen: list[str]) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(look_later(seen))


@since(3, 11)
async def group_of_a_context_manager_joined(seen: list[str]) -> None:
    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[asyncio.TaskGroup]:
        async with asyncio.TaskGroup() as group:
            yield group

    async with opened() as group:
        group.create_task(look_later(seen))


@since(3, 12)
async def group_with_eager_tasks_joined(seen: list[str]) -> None:
    asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined,unused-ignore]
    async with asyncio.TaskGroup() as group:
        group.create_task(look_later(seen))


# --- threads ---


@way
def thread_after_its_job(seen: list[str]) -> None:
    with Pool(1) as pool:
        pool.submit(int).result()
        contextvars.Context().run(pool.submit, lambda: seen.append(look())).result()


@way
def pool_entered_by_a_method(seen: list[str]) -> None:
    go = threading.Event()

    class Session:
        def __enter__(self) -> None:
            self.pool = Pool(1).__enter__()
            self.job = self.pool.submit(look_when, go, seen)

        def __exit__(self, *_: object) -> None:
            self.pool.shutdown()

    with Session():
        go.set()


@way
def pool_of_a_forgotten_generator(seen: list[str]) -> None:
    go = threading.Event()

    def opened() -> Iterator[None]:
        with Pool(1) as pool:
            pool.submit(look_when, go, seen)
            yield

    generator = opened()
    next(generator)
    go.set()
    list(generator)


@way
def generator_in_another_thread(seen: list[str]) -> None:
    def steps() -> Iterator[str]:
        yield look()

    generator = steps()
    thread = threading.Thread(target=lambda: seen.append(next(generator)))
    thread.start()
    thread.join()


@way
def loop_that_others_use(seen: list[str]) -> None:
    """The request's thread drives a loop; another thread sends a coroutine to it."""
    loop = asyncio.new_event_loop()

    def send() -> None:
        asyncio.run_coroutine_threadsafe(look_later(seen), loop)

    timer = threading.Timer(0.01, send)
    timer.start()
    loop.run_until_complete(asyncio.sleep(0.1))
    timer.join()
    loop.close()


@way
def loop_with_a_task_of_before(seen: list[str]) -> None:
    """A bare task stays in a loop that the request's thread then runs again."""
    loop = asyncio.new_event_loop()
    kept = []

    async def start() -> None:
        kept.append(asyncio.ensure_future(look_later(seen)))

    loop.run_until_complete(start())
    loop.run_until_complete(asyncio.sleep(0.03))
    loop.close()


@way
def settled_by_the_request(seen: list[str]) -> None:
    """Somebody else's callback runs in the thread of the request that settles the future."""
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    contextvars.Context().run(future.add_done_callback, lambda _: seen.append(look()))
    future.set_result(None)


@way
def own_callback_joined(seen: list[str]) -> None:
    future: concurrent.futures.Future[None] = concurrent.futures.Future()
    future.add_done_callback(lambda _: seen.append(look()))
    future.set_result(None)


@way
def pools_joined(seen: list[str]) -> None:
    @contextlib.contextmanager
    def opened() -> Iterator[Pool]:
        with Pool(1) as pool:
            yield pool

    with Pool(1) as first, Pool(1) as second, opened() as third:
        seen += [pool.submit(look).result() for pool in (first, second, third)]
        seen += list(first.map(lambda _: look(), [None]))


def try_way(function: Way) -> list[str]:
    """Be a request that does this and nothing else."""
    seen: list[str] = []
    if not asyncio.iscoroutinefunction(function):
        with_handle = held.begin(HANDLE)
        function(seen)
        held.end(with_handle)
        return seen

    async def serve() -> None:
        with_handle = held.begin(HANDLE)
        await function(seen)
        held.end(with_handle)

    asyncio.run(serve())
    return seen


if __name__ == "__main__":
    json.dump({each.__name__: try_way(each) for each in WAYS}, sys.stdout)
