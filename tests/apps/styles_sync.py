"""How code that may block comes to make a call: from the same frame to a worker of everybody's.

Every style answers when the calls it is responsible for were made, except those that call after
the response.
"""

import asyncio
import concurrent.futures
import contextlib
import contextvars
import functools
import importlib
import multiprocessing
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from typing import Any

from tests.apps.clients import Answer, close_those_of_this_loop
from tests.apps.job import Job

Style = Callable[[Job], list[Answer]]
STYLES: dict[str, Style] = {}
WAIT_SECONDS = 60.0
_BATCH_SECONDS = 0.01
_THREADS = 32

_once = threading.RLock()


def style(function: Style) -> Style:
    STYLES[function.__name__] = function
    return function


# --- what the request waits for ---


@style
def direct(job: Job) -> list[Answer]:
    return [job.call()]


@style
def twice(job: Job) -> list[Answer]:
    """One after the other, the second from within the handling of an error."""
    first = job.call()
    try:
        os.environ["SURELY_ABSENT"]
    except KeyError:
        return [first, job.call()]
    return [first]


@style
def generator(job: Job) -> list[Answer]:
    """The call is made inside a generator's frame."""

    def pages() -> Generator[Answer, None, None]:
        yield job.call()
        yield job.call()

    return list(pages())


@style
def copied_context(job: Job) -> list[Answer]:
    return [contextvars.copy_context().run(job.call)]


@style
def executor_block(job: Job) -> list[Answer]:
    """A pool of the request's own, left before it answers."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        submitted = pool.submit(job.call)
        mapped = list(pool.map(Job.call, [job]))
        return [submitted.result(), *mapped]


@style
def asyncio_run(job: Job) -> list[Answer]:
    """A loop of the request's own: await chain, gather, wait_for, TaskGroup, to_thread."""

    async def main() -> list[Answer]:
        loop = asyncio.get_running_loop()
        try:
            first, second = await asyncio.gather(job.call_async(), job.call_async())
            third = await asyncio.wait_for(job.call_async(), WAIT_SECONDS)
            async with asyncio.TaskGroup() as group:
                fourth = group.create_task(job.call_async())
            fifth = await asyncio.to_thread(job.call)
            sixth = await loop.run_in_executor(None, job.call)
            return [await job.call_async(), first, second, third, fourth.result(), fifth, sixth]
        finally:
            await close_those_of_this_loop()

    return asyncio.run(main())


@style
def loop_of_the_thread(job: Job) -> list[Answer]:
    """A loop that belongs to the server's thread and is used by one request after the other."""
    loop = getattr(_local, "loop", None)
    if loop is None:
        loop = _local.loop = asyncio.new_event_loop()
    return [loop.run_until_complete(job.call_async())]


_local = threading.local()


# --- what nothing forces the request to wait for ---


@functools.cache
def _shared_pool() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(_THREADS)


@style
def executor_shared(job: Job) -> list[Answer]:
    pool = _shared_pool()
    return [pool.submit(job.call).result(), *pool.map(Job.call, [job])]


def _in_thread(make: Callable[[Callable[[], None]], threading.Thread], job: Job) -> list[Answer]:
    answers: list[Answer] = []
    thread = make(lambda: answers.append(job.call()))
    thread.start()
    thread.join(WAIT_SECONDS)
    return answers


@style
def thread(job: Job) -> list[Answer]:
    return _in_thread(lambda function: threading.Thread(target=function), job)


@style
def timer(job: Job) -> list[Answer]:
    return _in_thread(lambda function: threading.Timer(0, function), job)


@style
def thread_in_copied_context(job: Job) -> list[Answer]:
    context = contextvars.copy_context()
    return _in_thread(lambda call: threading.Thread(target=context.run, args=(call,)), job)


@style
def gevent_spawn(job: Job) -> list[Answer]:
    greenlet = importlib.import_module("gevent").spawn(job.call)
    answer: Answer = greenlet.get(timeout=WAIT_SECONDS)
    return [answer]


@style
def single_flight(job: Job) -> list[Answer]:
    """Who comes while somebody asks gets that one's answer."""
    with _once:
        flight = _flights.get(job.key)
        leads = flight is None
        if flight is None:
            flight = _flights[job.key] = concurrent.futures.Future()
    if leads:
        try:
            flight.set_result(job.call())
        except Exception as error:
            flight.set_exception(error)
        finally:
            with _once:
                del _flights[job.key]
    return [flight.result(WAIT_SECONDS)]


_flights: dict[str, concurrent.futures.Future[Answer]] = {}


# --- after the response ---


@style
def detached_thread(job: Job) -> list[Answer]:
    def later() -> None:
        time.sleep(job.linger_seconds)
        job.call()

    threading.Thread(target=later, daemon=True).start()
    return []


@style
def detached_in_executor(job: Job) -> list[Answer]:
    def later() -> None:
        time.sleep(job.linger_seconds)
        job.call()

    _shared_pool().submit(later)
    return []


# --- workers that serve everybody ---


class Worker:
    """Serves a queue until it finds ``None``.

    Each item is a job and where its answer goes: the call is made for the job's user by whoever
    runs the worker.
    """

    def __init__(self) -> None:
        self.items: queue.Queue[tuple[Job, concurrent.futures.Future[Answer]] | None]
        self.items = queue.Queue()

    def loop(self) -> None:
        while (item := self.items.get()) is not None:
            job, answer = item
            _settle(answer, job)

    def put(self, job: Job) -> concurrent.futures.Future[Answer]:
        answer: concurrent.futures.Future[Answer] = concurrent.futures.Future()
        self.items.put((job, answer))
        return answer

    def ask(self, job: Job) -> Answer:
        return self.put(job).result(WAIT_SECONDS)


EAGER = Worker()


def _start_eager() -> None:
    threading.Thread(target=EAGER.loop, daemon=True).start()


_start_eager()
# Servers that load the app before they fork leave the thread behind.
os.register_at_fork(after_in_child=_start_eager)
_workers: dict[str, Worker] = {}


def _ask_lazy(job: Job, start: Callable[[Worker], object]) -> list[Answer]:
    """Have the key's worker call; the first request starts it and, if so told, stays open."""
    with _once:
        worker = _workers.get(job.key)
        starts = worker is None
        if worker is None:
            worker = _workers[job.key] = Worker()
            start(worker)
    answers = [worker.ask(job)]
    if starts:
        job.hold()
    return answers


@style
def eager_worker(job: Job) -> list[Answer]:
    """The worker was started with the app."""
    return [EAGER.ask(job)]


@style
def lazy_thread(job: Job) -> list[Answer]:
    return _ask_lazy(job, _start_thread)


def _start_thread(worker: Worker) -> None:
    threading.Thread(target=worker.loop, daemon=True).start()


@style
def lazy_timer(job: Job) -> list[Answer]:
    return _ask_lazy(job, _start_timer)


def _start_timer(worker: Worker) -> None:
    timer = threading.Timer(0, worker.loop)
    timer.daemon = True
    timer.start()


@style
def lazy_thread_in_copied_context(job: Job) -> list[Answer]:
    return _ask_lazy(job, _start_in_copied_context)


def _start_in_copied_context(worker: Worker) -> None:
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(worker.loop,), daemon=True).start()


@style
def lazy_in_executor(job: Job) -> list[Answer]:
    """An endless loop, submitted to a pool by the first request."""
    return _ask_lazy(
        job, lambda worker: concurrent.futures.ThreadPoolExecutor(1).submit(worker.loop)
    )


@style
def lazy_in_kept_pool(job: Job) -> list[Answer]:
    """A pool that the first request entered, to be left when the app ends."""
    return _ask_lazy(job, _start_in_kept_pool)


def _start_in_kept_pool(worker: Worker) -> None:
    stack = contextlib.ExitStack()
    stack.enter_context(concurrent.futures.ThreadPoolExecutor(1)).submit(worker.loop)
    _stacks.append(stack)


_stacks: list[contextlib.ExitStack] = []


@style
def lazy_in_pool_of_generator(job: Job) -> list[Answer]:
    """The same, the pool's block being in a context manager written as a generator."""
    return _ask_lazy(job, _start_in_pool_of_generator)


def _start_in_pool_of_generator(worker: Worker) -> None:
    @contextlib.contextmanager
    def running() -> Generator[None, None, None]:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            pool.submit(worker.loop)
            yield

    stack = contextlib.ExitStack()
    stack.enter_context(running())
    _stacks.append(stack)


@style
def lazy_greenlet(job: Job) -> list[Answer]:
    gevent = importlib.import_module("gevent")
    return _ask_lazy(job, lambda worker: gevent.spawn(worker.loop))


@style
def done_callback(job: Job) -> list[Answer]:
    """Whoever waits for a future that another request settles calls from a callback of it."""
    answer: concurrent.futures.Future[Answer] = concurrent.futures.Future()
    with _once:
        shared = _signals.get(job.key)
        leads = shared is None
        if shared is None:
            shared = _signals[job.key] = concurrent.futures.Future()
    shared.add_done_callback(lambda _: _settle(answer, job))
    if leads:
        time.sleep(_BATCH_SECONDS)
        with _once:
            del _signals[job.key]
        shared.set_result(None)
    return [answer.result(WAIT_SECONDS)]


def _settle(answer: concurrent.futures.Future[Answer], job: Job) -> None:
    if not answer.set_running_or_notify_cancel():
        return  # nobody waits for it any more
    try:
        answer.set_result(job.call())
    except Exception as error:
        answer.set_exception(error)


_signals: dict[str, concurrent.futures.Future[None]] = {}


# --- a request that works for others: no carrier can see that these calls are not its own ---


@style
def leader_pool(job: Job) -> list[Answer]:
    """The first request runs a worker in a pool of its own; others use it until that one ends."""
    with _once:
        worker = _workers.get(job.key)
        if worker is not None:
            answer = worker.put(job)
        else:
            own = _workers[job.key] = Worker()
    if worker is not None:
        return [answer.result(WAIT_SECONDS)]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        pool.submit(own.loop)
        answers = [own.ask(job)]
        job.hold()
        with _once:
            del _workers[job.key]
            own.items.put(None)
    return answers


@style
def leader_batch(job: Job) -> list[Answer]:
    """Whoever comes first waits a moment, then calls for all who came meanwhile in its frame."""
    answer: concurrent.futures.Future[Answer] = concurrent.futures.Future()
    with _once:
        batch = _batches.setdefault(job.key, [])
        batch.append((job, answer))
        leads = len(batch) == 1
    if leads:
        time.sleep(_BATCH_SECONDS)
        with _once:
            del _batches[job.key]
        for each, where in batch:
            _settle(where, each)
    return [answer.result(WAIT_SECONDS)]


_batches: dict[str, list[tuple[Job, concurrent.futures.Future[Answer]]]] = {}


# --- other processes ---


@style
def fork(job: Job) -> list[Answer]:
    child = os.fork()
    if child == 0:
        try:
            job.call()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    return []


_CHILD = """
import sys, urllib.request
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1]).read()
"""


@style
def child_process(job: Job) -> list[Answer]:
    subprocess.run([sys.executable, "-c", _CHILD, job.url], stderr=subprocess.DEVNULL, check=False)
    return []


@style
def multiprocessing_child(job: Job) -> list[Answer]:
    child: Any = multiprocessing.get_context("fork").Process(target=job.call)
    child.start()
    child.join(WAIT_SECONDS)
    return []
