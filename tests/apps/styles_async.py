"""How coroutines come to make a call: from the same frame to a task that serves everybody."""

import asyncio
import contextlib
import contextvars
import importlib
import threading
import time
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any

from tests.apps import styles_sync
from tests.apps.clients import Answer
from tests.apps.job import Job
from tests.apps.styles_sync import WAIT_SECONDS

Style = Callable[[Job], Awaitable[list[Answer]]]
STYLES: dict[str, Style] = {}
_BATCH_SECONDS = 0.01
_kept: set[asyncio.Task[Any]] = set()
"""Tasks that nobody awaits; the loop itself holds them only weakly."""


def style(function: Style) -> Style:
    STYLES[function.__name__] = function
    return function


# --- what the request waits for ---


@style
async def direct(job: Job) -> list[Answer]:
    return [await job.call_async()]


@style
async def await_chain(job: Job) -> list[Answer]:
    async def outer() -> Answer:
        return await inner()

    async def inner() -> Answer:
        await asyncio.sleep(0)
        return await job.call_async()

    return [await outer(), await outer()]


@style
async def gather(job: Job) -> list[Answer]:
    both = asyncio.gather(job.call_async(), job.call_async())
    return list(await both)


@style
async def gather_nested(job: Job) -> list[Answer]:
    async def two() -> list[Answer]:
        return list(await asyncio.gather(job.call_async(), job.call_async()))

    first, second = await asyncio.gather(two(), two())
    return [*first, *second]


@style
async def task_group(job: Job) -> list[Answer]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(job.call_async()) for _ in range(2)]
    return [task.result() for task in tasks]


@style
async def wait_for(job: Job) -> list[Answer]:
    return [await asyncio.wait_for(job.call_async(), WAIT_SECONDS)]


@style
async def timeout_block(job: Job) -> list[Answer]:
    async with asyncio.timeout(WAIT_SECONDS):
        return [await job.call_async()]


@style
async def to_thread(job: Job) -> list[Answer]:
    return [await asyncio.to_thread(job.call)]


@style
async def run_in_executor(job: Job) -> list[Answer]:
    return [await asyncio.get_running_loop().run_in_executor(None, job.call)]


@style
async def async_generator(job: Job) -> list[Answer]:
    async def pages() -> AsyncIterator[Answer]:
        yield await job.call_async()
        yield await job.call_async()

    return [answer async for answer in pages()]


@style
async def async_context(job: Job) -> list[Answer]:
    @contextlib.asynccontextmanager
    async def opened() -> AsyncIterator[Answer]:
        yield await job.call_async()

    async with opened() as answer:
        return [answer, await job.call_async()]


@style
async def semaphore(job: Job) -> list[Answer]:
    """Requests wait for each other: one that ends wakes the next."""
    limit = _of_this_loop(_limits, lambda: asyncio.Semaphore(2))
    async with limit:
        return [await job.call_async()]


_limits: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]
_limits = weakref.WeakKeyDictionary()


def _of_this_loop(made: Any, make: Callable[[], Any]) -> Any:
    loop = asyncio.get_running_loop()
    if loop not in made:
        made[loop] = make()
    return made[loop]


# --- what nothing forces the request to wait for ---


@style
async def bare_task(job: Job) -> list[Answer]:
    task = asyncio.create_task(job.call_async())
    await asyncio.sleep(0)
    return [await task]


@style
async def shield(job: Job) -> list[Answer]:
    return [await asyncio.shield(job.call_async())]


@style
async def gathered_tasks(job: Job) -> list[Answer]:
    tasks = [asyncio.create_task(job.call_async()) for _ in range(2)]
    return list(await asyncio.gather(*tasks))


@style
async def as_completed(job: Job) -> list[Answer]:
    return [await each for each in asyncio.as_completed([job.call_async(), job.call_async()])]


@style
async def executor_shared(job: Job) -> list[Answer]:
    return await asyncio.to_thread(styles_sync.executor_shared, job)


@style
async def thread(job: Job) -> list[Answer]:
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[Answer] = loop.create_future()
    threading.Thread(target=_run_for, args=(loop, answered, job)).start()
    return [await asyncio.wait_for(answered, WAIT_SECONDS)]


def _run_for(loop: asyncio.AbstractEventLoop, answered: "asyncio.Future[Answer]", job: Job) -> None:
    answer = job.call()
    loop.call_soon_threadsafe(answered.set_result, answer)


@style
async def other_loop(job: Job) -> list[Answer]:
    """A loop in a thread of its own does all the calling."""
    sent = asyncio.run_coroutine_threadsafe(job.call_async(), _loop_in_thread())
    return [await asyncio.wrap_future(sent)]


_loops: list[asyncio.AbstractEventLoop] = []
_once = threading.Lock()


def _loop_in_thread() -> asyncio.AbstractEventLoop:
    with _once:
        if not _loops:
            _loops.append(asyncio.new_event_loop())
            threading.Thread(target=_loops[0].run_forever, daemon=True).start()
        return _loops[0]


@style
async def call_soon(job: Job) -> list[Answer]:
    """A loop callback starts the task."""
    loop = asyncio.get_running_loop()
    started: asyncio.Future[asyncio.Task[Answer]] = loop.create_future()
    loop.call_soon(lambda: started.set_result(loop.create_task(job.call_async())))
    return [await (await started)]


@style
async def single_flight(job: Job) -> list[Answer]:
    """Who comes while somebody asks awaits the same task."""
    task = _flights.get(job.key)
    if task is None:
        task = _flights[job.key] = asyncio.create_task(job.call_async())
        task.add_done_callback(lambda _: _flights.pop(job.key))
    return [await asyncio.shield(task)]


_flights: dict[str, asyncio.Task[Answer]] = {}


# --- after the response ---


@style
async def detached_task(job: Job) -> list[Answer]:
    async def later() -> None:
        await asyncio.sleep(job.linger_seconds)
        await job.call_async()

    _keep(later())
    return []


def _keep(coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
    task = asyncio.create_task(coroutine)
    _kept.add(task)
    task.add_done_callback(_kept.discard)
    return task


@style
async def detached_thread(job: Job) -> list[Answer]:
    return styles_sync.detached_thread(job)


@style
async def timed_out_thread(job: Job) -> list[Answer]:
    """The thread goes on when the request has given it up and answered."""

    def slow() -> None:
        time.sleep(job.linger_seconds)
        job.call()

    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.to_thread(slow), 0.001)
    return []


# --- workers that serve everybody ---


class Worker:
    """Serves a queue until it finds ``None``, in a task; see ``styles_sync.Worker``."""

    def __init__(self) -> None:
        self.items: asyncio.Queue[tuple[Job, asyncio.Future[Answer]] | None] = asyncio.Queue()

    async def loop(self) -> None:
        while (item := await self.items.get()) is not None:
            await _serve(*item)

    async def ask(self, job: Job) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self.items.put_nowait((job, answer))
        return await answer


async def _serve(job: Job, answer: "asyncio.Future[Answer]") -> None:
    try:
        settled = await job.call_async()
    except Exception as error:
        if not answer.done():
            answer.set_exception(error)
    else:
        if not answer.done():
            answer.set_result(settled)


_workers: dict[str, Worker] = {}


async def _ask_lazy(job: Job, start: Callable[[Worker], object]) -> list[Answer]:
    worker = _workers.get(job.key)
    starts = worker is None
    if worker is None:
        worker = _workers[job.key] = Worker()
        start(worker)
    answers = [await worker.ask(job)]
    if starts:
        await job.hold_async()
    return answers


@style
async def eager_worker(job: Job) -> list[Answer]:
    """The worker thread was started with the app."""
    return [await asyncio.wrap_future(styles_sync.EAGER.put(job))]


@style
async def lazy_task(job: Job) -> list[Answer]:
    return await _ask_lazy(job, lambda worker: _keep(worker.loop()))


@style
async def lazy_by_call_soon(job: Job) -> list[Answer]:
    loop = asyncio.get_running_loop()
    return await _ask_lazy(job, lambda worker: loop.call_soon(lambda: _keep(worker.loop())))


@style
async def lazy_by_gather(job: Job) -> list[Answer]:
    """Gathered, and awaited by nobody."""
    return await _ask_lazy(job, lambda worker: _gathered.append(asyncio.gather(worker.loop())))


_gathered: list["asyncio.Future[Any]"] = []


@style
async def lazy_in_shared_group(job: Job) -> list[Answer]:
    """A task group that the app entered for its whole life, and into which the request puts the
    worker.
    """
    group = await _app_group()
    return await _ask_lazy(job, lambda worker: group.create_task(worker.loop()))


_groups: weakref.WeakKeyDictionary[
    asyncio.AbstractEventLoop, "asyncio.Future[asyncio.TaskGroup]"
] = weakref.WeakKeyDictionary()


async def _app_group() -> asyncio.TaskGroup:
    entered = _of_this_loop(_groups, asyncio.get_running_loop().create_future)
    if not entered.done() and not _owners:
        # As if by the app's start: no request's context is in it.
        _owners.append(contextvars.Context().run(asyncio.create_task, _own(entered)))
    group: asyncio.TaskGroup = await entered
    return group


_owners: list[asyncio.Task[None]] = []


async def _own(entered: "asyncio.Future[asyncio.TaskGroup]") -> None:
    async with asyncio.TaskGroup() as group:
        entered.set_result(group)
        await asyncio.Event().wait()


@style
async def lazy_in_kept_group(job: Job) -> list[Answer]:
    """A task group that the first request entered, to be left when the app ends."""
    return await _ask_lazy_in(job, asyncio.TaskGroup)


@style
async def lazy_in_group_of_generator(job: Job) -> list[Answer]:
    """The same, the group's block being in a context manager written as a generator."""

    @contextlib.asynccontextmanager
    async def running() -> AsyncIterator[asyncio.TaskGroup]:
        async with asyncio.TaskGroup() as group:
            group.create_task(_workers[job.key].loop())
            yield _NoGroup()

    return await _ask_lazy_in(job, running)


@style
async def lazy_in_anyio_group(job: Job) -> list[Answer]:
    """A group of anyio's that the first request entered, as clients with a session do."""

    @contextlib.asynccontextmanager
    async def running() -> AsyncIterator[Any]:
        async with importlib.import_module("anyio").create_task_group() as group:
            group.start_soon(_workers[job.key].loop)
            yield _NoGroup()

    return await _ask_lazy_in(job, running)


class _NoGroup(asyncio.TaskGroup):
    """Stands for one in which the worker runs already."""

    def create_task(self, coro: Any, **_: Any) -> Any:
        coro.close()


async def _ask_lazy_in(
    job: Job, make: Callable[[], contextlib.AbstractAsyncContextManager[Any]]
) -> list[Answer]:
    worker = _workers.get(job.key)
    starts = worker is None
    if worker is None:
        worker = _workers[job.key] = Worker()
        stack = contextlib.AsyncExitStack()
        group = await stack.enter_async_context(make())
        group.create_task(worker.loop())
        _stacks.append(stack)
    answers = [await worker.ask(job)]
    if starts:
        await job.hold_async()
    return answers


_stacks: list[contextlib.AsyncExitStack] = []


@style
async def lazy_left_behind(job: Job) -> list[Answer]:
    """Gathered with something that fails: the request goes on, and so does the worker."""
    worker = _workers.get(job.key)
    if worker is not None:
        return [await worker.ask(job)]
    worker = _workers[job.key] = Worker()

    async def fail() -> None:
        raise OSError

    with contextlib.suppress(OSError):
        await asyncio.gather(worker.loop(), fail())
    answers = [await worker.ask(job)]
    await job.hold_async()
    return answers


@style
async def lazy_in_given_up_thread(job: Job) -> list[Answer]:
    """The request waits a moment for a thread that never ends, and goes on."""
    worker = _thread_workers.get(job.key)
    if worker is not None:
        return [await asyncio.wrap_future(worker.put(job))]
    worker = _thread_workers[job.key] = styles_sync.Worker()
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(asyncio.to_thread(worker.loop), _BATCH_SECONDS)
    answers = [await asyncio.wrap_future(worker.put(job))]
    await job.hold_async()
    return answers


@style
async def lazy_thread(job: Job) -> list[Answer]:
    return await _ask_lazy_thread(job, styles_sync._start_thread)


@style
async def lazy_in_executor(job: Job) -> list[Answer]:
    """An endless loop, given to the loop's executor by the first request and never awaited."""
    loop = asyncio.get_running_loop()
    return await _ask_lazy_thread(job, lambda worker: loop.run_in_executor(None, worker.loop))


async def _ask_lazy_thread(job: Job, start: Callable[[styles_sync.Worker], object]) -> list[Answer]:
    worker = _thread_workers.get(job.key)
    starts = worker is None
    if worker is None:
        worker = _thread_workers[job.key] = styles_sync.Worker()
        start(worker)
    answers = [await asyncio.wrap_future(worker.put(job))]
    if starts:
        await job.hold_async()
    return answers


_thread_workers: dict[str, styles_sync.Worker] = {}


@style
async def batcher(job: Job) -> list[Answer]:
    """One task, started by whoever comes first, collects for a moment and calls for all."""
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    batch = _batches.setdefault(job.key, [])
    batch.append((job, answer))
    if len(batch) == 1:
        _keep(_call_for_all(job.key))
    return [await answer]


async def _call_for_all(key: str) -> None:
    await asyncio.sleep(_BATCH_SECONDS)
    for job, answer in _batches.pop(key):
        await _serve(job, answer)


_batches: dict[str, list[tuple[Job, "asyncio.Future[Answer]"]]] = {}


@style
async def data_loader(job: Job) -> list[Answer]:
    """As the GraphQL loaders: a loop callback sends off what one turn of the loop collected."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[Answer] = loop.create_future()
    batch = _loads.setdefault(job.key, [])
    batch.append((job, answer))
    if len(batch) == 1:
        loop.call_later(_BATCH_SECONDS, _dispatch, job.key)
    return [await answer]


def _dispatch(key: str) -> None:
    for job, answer in _loads.pop(key):
        _keep(_serve(job, answer))


_loads: dict[str, list[tuple[Job, "asyncio.Future[Answer]"]]] = {}


# --- a request that works for others: no carrier can see that these calls are not its own ---


@style
async def leader_batch(job: Job) -> list[Answer]:
    """Whoever comes first waits a moment, then calls for all who came meanwhile in its frame."""
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    batch = _led.setdefault(job.key, [])
    batch.append((job, answer))
    if len(batch) == 1:
        await asyncio.sleep(_BATCH_SECONDS)
        for each, where in _led.pop(job.key):
            await _serve(each, where)
    return [await answer]


_led: dict[str, list[tuple[Job, "asyncio.Future[Answer]"]]] = {}


@style
async def leader_group(job: Job) -> list[Answer]:
    """The first request runs a worker in its task group; others use it until that one ends."""
    worker = _workers.get(job.key)
    if worker is not None:
        return [await worker.ask(job)]
    worker = _workers[job.key] = Worker()
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.loop())
        answers = [await worker.ask(job)]
        await job.hold_async()
        del _workers[job.key]
        worker.items.put_nowait(None)
    return answers
