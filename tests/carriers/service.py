"""A service without auth code: what its handlers do is what ordinary apps do to call out.

Run as a program by the tests, on every Python the carrier supports; it knows no carrier. The
first path segment names a pattern, ``out`` is the URL to call. Every pattern answers when the
calls it is responsible for were made.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import http.client
import http.server
import os
import queue
import socket
import socketserver
import ssl
import sys
import threading
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    Pattern = Callable[["Handler", str], None]

PATTERNS: dict[str, Pattern] = {}

SHARED_POOL = concurrent.futures.ThreadPoolExecutor(16)
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def pattern(function: Pattern) -> Pattern:
    PATTERNS[function.__name__] = function
    return function


def call(url: str) -> None:
    DIRECT.open(url, timeout=30).read()


async def call_async(url: str) -> None:
    """Call from the task that is running; that it blocks the loop is beside the point."""
    await asyncio.sleep(0)
    call(url)


def connection_to(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    assert parts.hostname
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=30)


def path_of(url: str) -> str:
    return urlsplit(url).path


# --- client libraries ---


@pattern
def urllib_request(_: Handler, out: str) -> None:
    call(out)


@pattern
def high_level(_: Handler, out: str) -> None:
    connection = connection_to(out)
    connection.request("POST", path_of(out), body=b"abc", headers={"x-mine": "1"})
    connection.getresponse().read()
    connection.request("POST", path_of(out), body=iter([b"a", b"b"]))
    connection.getresponse().read()


@pattern
def low_level(_: Handler, out: str) -> None:
    connection = connection_to(out)
    connection.putrequest("GET", path_of(out), skip_accept_encoding=True)
    connection.putheader("x-mine", "1")
    connection.endheaders()
    connection.getresponse().read()


POOLED: Any = queue.LifoQueue()


@pattern
def pooled(_: Handler, out: str) -> None:
    """A pool as urllib3 has it: the connection that comes back last goes out first."""
    try:
        connection = POOLED.get_nowait()
    except queue.Empty:
        connection = connection_to(out)
    connection.request("GET", path_of(out))
    connection.getresponse().read()
    POOLED.put(connection)


KEPT: list[http.client.HTTPConnection] = []
KEPT_LOCK = threading.Lock()


@pattern
def one_connection(_: Handler, out: str) -> None:
    with KEPT_LOCK:
        if not KEPT:
            KEPT.append(connection_to(out))
        KEPT[0].request("GET", path_of(out))
        KEPT[0].getresponse().read()


@pattern
def copies_headers(handler: Handler, out: str) -> None:
    connection = connection_to(out)
    connection.request("GET", path_of(out), headers=dict(handler.headers.items()))
    connection.getresponse().read()


@pattern
def copies_headers_in_thread(handler: Handler, out: str) -> None:
    in_thread(lambda: copies_headers(handler, out))


@pattern
def copies_headers_to_tls(handler: Handler, out: str) -> None:
    request = urllib.request.Request(out, headers=dict(handler.headers.items()))
    urllib.request.urlopen(request, context=ssl._create_unverified_context()).read()


@pattern
def tls(_: Handler, out: str) -> None:
    urllib.request.urlopen(out, context=ssl._create_unverified_context()).read()


@pattern
def tls_by_own_class(_: Handler, out: str) -> None:
    """urllib3's HTTPS connection is no subclass of the standard one either."""

    class Secure(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            self.sock = ssl._create_unverified_context().wrap_socket(self.sock)

    parts = urlsplit(out)
    connection = Secure(str(parts.hostname), parts.port)
    connection.request("GET", parts.path)
    connection.getresponse().read()


@pattern
def tls_by_wrapper(_: Handler, out: str) -> None:
    """A TLS library whose connection is no socket, as pyOpenSSL's."""

    class Wrapped:
        def __init__(self, sock: socket.socket) -> None:
            self._tls = ssl._create_unverified_context().wrap_socket(sock)
            self.sendall, self.makefile = self._tls.sendall, self._tls.makefile
            self.getpeername, self.close = self._tls.getpeername, self._tls.close
            self.family = sock.family

    class Secure(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            self.sock = Wrapped(self.sock)

    parts = urlsplit(out)
    connection = Secure(str(parts.hostname), parts.port)
    connection.request("GET", parts.path)
    connection.getresponse().read()


@pattern
def tunnel(_: Handler, out: str) -> None:
    connection = connection_to(out)
    connection.set_tunnel("profile.example", 80)
    connection.request("GET", path_of(out))
    connection.getresponse().read()


@pattern
def proxy(_: Handler, out: str) -> None:
    parts = urlsplit(out)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": parts.netloc}))
    opener.open("http://profile.example" + parts.path, timeout=30).read()


@pattern
def unix_socket(_: Handler, out: str) -> None:
    """As Docker's client does: the host is called localhost, the socket is no network."""

    class Unix(http.client.HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(os.environ["UNIX_UPSTREAM"])

    connection = Unix("localhost")
    connection.request("GET", path_of(out))
    connection.getresponse().read()


@pattern
def localhost_by_name(_: Handler, out: str) -> None:
    call(out.replace("127.0.0.1", "localhost"))


@pattern
def disturbed(_: Handler, out: str) -> None:
    """While one call is being put together, somebody else tries the same connection in vain."""
    connection = connection_to(out)
    connection.putrequest("GET", path_of(out))

    def intrude() -> None:
        with contextlib.suppress(http.client.CannotSendRequest):
            connection.request("GET", path_of(out))

    in_thread(intrude)
    connection.endheaders()
    connection.getresponse().read()


@pattern
def urllib3(_: Handler, out: str) -> None:
    from pip._vendor import urllib3 as library  # the one copy that every interpreter has

    with library.PoolManager(maxsize=1, block=True) as pool:
        for _again in range(2):
            pool.request("GET", out)
        pool.request("POST", out, body=b"abc")


@pattern
def requests(_: Handler, out: str) -> None:
    from pip._vendor import requests as library

    with library.Session() as session:
        session.trust_env = False
        session.get(out)
        session.post(out, data=iter([b"a", b"b"]))


# --- errors ---


@pattern
def fails(_: Handler, out: str) -> None:
    call(out)
    raise RuntimeError("the handler fails")


# --- children the request waits for ---


@pattern
def run(_: Handler, out: str) -> None:
    asyncio.run(call_async(out))


@pattern
def run_until_complete(_: Handler, out: str) -> None:
    loop = asyncio.new_event_loop()
    loop.run_until_complete(call_async(out))
    loop.run_until_complete(loop.create_task(call_async(out)))
    loop.close()


@pattern
def gather(_: Handler, out: str) -> None:
    async def main() -> None:
        await asyncio.gather(call_async(out), asyncio.gather(call_async(out), call_async(out)))

    asyncio.run(main())


@pattern
def wait_for(_: Handler, out: str) -> None:
    async def main() -> None:
        await asyncio.wait_for(call_async(out), 30)
        await asyncio.wait_for(asyncio.gather(call_async(out), call_async(out)), timeout=30)

    asyncio.run(main())


@pattern
def task_group(_: Handler, out: str) -> None:
    async def child(group: asyncio.TaskGroup) -> None:
        group.create_task(call_async(out))

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(call_async(out))
            group.create_task(child(group))

    asyncio.run(main())


@pattern
def to_thread(_: Handler, out: str) -> None:
    async def main() -> None:
        await asyncio.to_thread(call, out)
        await asyncio.gather(*(asyncio.to_thread(call, out) for _ in range(4)))

    asyncio.run(main())


@pattern
def run_in_executor(_: Handler, out: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, call, out)
        await loop.run_in_executor(SHARED_POOL, call, out)
        await asyncio.gather(*(loop.run_in_executor(None, call, out) for _ in range(4)))
        await asyncio.wait_for(loop.run_in_executor(None, call, out), 30)
        await loop.run_in_executor(None, lambda: asyncio.run(call_async(out)))

    asyncio.run(main())


@pattern
def own_pool(_: Handler, out: str) -> None:
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(call, out) for _ in range(4)]:
            future.result()
        list(pool.map(call, [out] * 4))


# --- children that nothing forces the request to wait for ---


def in_thread(function: Callable[[], None]) -> None:
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


@pattern
def thread(_: Handler, out: str) -> None:
    in_thread(lambda: call(out))


@pattern
def thread_with_context(_: Handler, out: str) -> None:
    """As threads start by default in later free-threaded builds, and in some pools today."""
    context = contextvars.copy_context()
    in_thread(lambda: context.run(call, out))


@pattern
def thread_with_context_and_loop(_: Handler, out: str) -> None:
    context = contextvars.copy_context()
    in_thread(lambda: context.run(asyncio.run, call_async(out)))


@pattern
def timer(_: Handler, out: str) -> None:
    timer = threading.Timer(0, call, [out])
    timer.start()
    timer.join()


@pattern
def shared_pool(_: Handler, out: str) -> None:
    SHARED_POOL.submit(call, out).result()
    list(SHARED_POOL.map(call, [out]))


@pattern
def kept_pool(_: Handler, out: str) -> None:
    """Entered through an exit stack: nothing says when it will be left."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(concurrent.futures.ThreadPoolExecutor(1)).submit(call, out).result()


@pattern
def pool_entered_elsewhere(_: Handler, out: str) -> None:
    def entered() -> concurrent.futures.ThreadPoolExecutor:
        return concurrent.futures.ThreadPoolExecutor(1).__enter__()

    pool = entered()
    pool.submit(call, out).result()
    pool.shutdown()


@pattern
def own_kind_of_pool(_: Handler, out: str) -> None:
    class Pool(concurrent.futures.ThreadPoolExecutor):
        pass

    with Pool(1) as pool:
        pool.submit(call, out).result()


@pattern
def bare_task(_: Handler, out: str) -> None:
    async def main() -> None:
        await asyncio.create_task(call_async(out))
        await asyncio.gather(asyncio.ensure_future(call_async(out)))
        await asyncio.shield(call_async(out))
        await asyncio.wait([asyncio.create_task(call_async(out))])

    asyncio.run(main())


@pattern
def loop_callback(_: Handler, out: str) -> None:
    async def main() -> None:
        done = asyncio.Event()

        def callback() -> None:
            call(out)
            done.set()

        asyncio.get_running_loop().call_later(0, callback)
        await done.wait()

    asyncio.run(main())


@pattern
def not_awaited_at_once(_: Handler, out: str) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        later: list[asyncio.Future[Any]] = [
            asyncio.gather(call_async(out)),
            loop.run_in_executor(None, call, out),
        ]
        while not all(future.done() for future in later):
            await asyncio.sleep(0.001)

    asyncio.run(main())


@pattern
def awaited_later(_: Handler, out: str) -> None:
    """Awaited in the end, but not straight away; the calls come when they are awaited."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        awaited, awaited_too = asyncio.Event(), threading.Event()

        async def child() -> None:
            await awaited.wait()
            call(out)

        def job() -> None:
            awaited_too.wait(30)
            call(out)

        gathered, sent = asyncio.gather(child()), loop.run_in_executor(None, job)
        await asyncio.sleep(0)
        loop.call_soon(awaited.set)
        await gathered
        loop.call_soon(awaited_too.set)
        await sent

    asyncio.run(main())


@pattern
def left_behind(_: Handler, out: str) -> None:
    """The first child fails, the parent goes on, the others are nobody's any more."""

    async def main() -> None:
        failed = asyncio.Event()

        async def fail() -> None:
            raise OSError

        async def stay() -> None:
            await failed.wait()
            call(out)
            finished.set()

        async def stay_a_step() -> None:
            await asyncio.sleep(0)
            call(out)

        finished = asyncio.Event()
        with contextlib.suppress(OSError):
            await asyncio.gather(fail(), stay(), stay_a_step())
        failed.set()
        await finished.wait()

    asyncio.run(main())


@pattern
def timed_out(_: Handler, out: str) -> None:
    """A thread cannot be cancelled: it goes on when nobody waits for it any more."""

    async def main() -> None:
        given_up, finished = threading.Event(), threading.Event()

        def job() -> None:
            given_up.wait(30)
            call(out)
            finished.set()

        loop = asyncio.get_running_loop()
        with contextlib.suppress(asyncio.TimeoutError, TimeoutError):
            await asyncio.wait_for(loop.run_in_executor(None, job), 0.01)
        given_up.set()
        finished.wait(30)

    asyncio.run(main())


@pattern
def task_outlives_request(_: Handler, out: str) -> None:
    """A task in another thread's loop, that waits until nobody waits for it any more."""

    async def later() -> None:
        await asyncio.sleep(0.5)
        call(out)

    asyncio.run_coroutine_threadsafe(later(), loop_in_thread())


@pattern
def other_loop(_: Handler, out: str) -> None:
    asyncio.run_coroutine_threadsafe(call_async(out), loop_in_thread()).result()


@pattern
def forked(_: Handler, out: str) -> None:
    child = os.fork()
    if child == 0:
        try:
            call(out)
        finally:
            os._exit(0)
    os.waitpid(child, 0)


@pattern
def afterwards(handler: Handler, out: str) -> None:
    handler.after = out


@pattern
def afterwards_failing(handler: Handler, out: str) -> None:
    handler.after = out
    raise RuntimeError("the handler fails")


# --- a worker that the first request starts and that serves everybody ---

_loops: list[asyncio.AbstractEventLoop] = []


def loop_in_thread() -> asyncio.AbstractEventLoop:
    if not _loops:
        _loops.append(asyncio.new_event_loop())
        threading.Thread(target=_loops[0].run_forever, daemon=True).start()
    return _loops[0]


class Worker:
    """Serves a queue until it gets ``None``; several items that lie there become one call."""

    def __init__(self) -> None:
        self.items: Any = queue.Queue()

    def loop(self) -> None:
        while self.step():
            pass

    def step(self) -> bool:
        item = self.items.get()
        if item is None:
            return False
        batch = [item]
        while not self.items.empty():
            batch.append(self.items.get())
        for url, _ in batch:
            call(url)
        for _, done in batch:
            done.set()
        return True

    async def loop_async(self) -> None:
        step = True
        while step:
            while self.items.empty():
                await asyncio.sleep(0.001)
            step = self.step()

    def ask(self, url: str) -> None:
        done = threading.Event()
        self.items.put((url, done))
        assert done.wait(30)


def start_thread(worker: Worker) -> None:
    threading.Thread(target=worker.loop, daemon=True).start()


def start_timer(worker: Worker) -> None:
    threading.Timer(0, worker.loop).start()


def start_in_shared_pool(worker: Worker) -> None:
    SHARED_POOL.submit(worker.loop)


def start_by_map(worker: Worker) -> None:
    SHARED_POOL.map(Worker.loop, [worker])


def start_in_kept_pool(worker: Worker) -> None:
    stack = contextlib.ExitStack()
    stack.enter_context(concurrent.futures.ThreadPoolExecutor(1)).submit(worker.loop)
    KEPT_STACKS.append(stack)


KEPT_STACKS: list[contextlib.ExitStack] = []


def start_in_other_loop(worker: Worker) -> None:
    asyncio.run_coroutine_threadsafe(worker.loop_async(), loop_in_thread())


def start_with_context(worker: Worker) -> None:
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(worker.loop,), daemon=True).start()


async def start_task(worker: Worker) -> object:
    return asyncio.ensure_future(worker.loop_async())


async def start_gather(worker: Worker) -> object:
    return asyncio.gather(worker.loop_async())


async def start_executor(worker: Worker) -> object:
    return asyncio.get_running_loop().run_in_executor(None, worker.loop)


async def start_callbacks(worker: Worker) -> object:
    loop = asyncio.get_running_loop()
    stopped = loop.create_future()

    def step() -> None:
        if worker.items.empty() or worker.step():
            loop.call_later(0.001, step)
        else:
            stopped.set_result(None)

    loop.call_soon(step)
    return stopped


WORKERS: dict[str, Worker] = {}


def first_starts_worker(kind: str, out: str) -> None:
    """Start the worker, have it call for us, then stay open with a call of our own."""
    worker = WORKERS[kind] = Worker()
    start = globals()["start_" + kind]
    if not asyncio.iscoroutinefunction(start):
        start(worker)
        worker.ask(out + "/first")
        call(out + "/open")
        return

    async def main() -> None:
        running = await start(worker)
        await asyncio.get_running_loop().run_in_executor(None, worker.ask, out + "/first")
        await asyncio.get_running_loop().run_in_executor(None, call, out + "/open")
        await running

    asyncio.run(main())


# --- the server ---


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    after = ""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        out = parse_qs(parts.query).get("out", [""])[0]
        step, _, kind = parts.path[1:].partition("/")
        if step == "first":
            first_starts_worker(kind, out)
        elif step == "next":
            WORKERS[kind].ask(out)
        elif step == "stop":
            WORKERS[kind].items.put(None)
        else:
            PATTERNS[step](self, out)
        self.send_response(200)
        self.send_header("content-length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def finish(self) -> None:
        self.do_after()
        super().finish()

    def do_after(self) -> None:
        """Call out in the request's own thread, but after the request."""
        if self.after:
            call(self.after)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # inherited name
        pass


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exc_info()[1], (RuntimeError, ConnectionError)):
            super().handle_error(request, client_address)


def wsgi(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    call(parse_qs(environ["QUERY_STRING"])["out"][0])
    start_response("200 OK", [("content-length", "2")])
    return [b"ok"]


def make_server(kind: str) -> socketserver.TCPServer:
    if kind == "wsgiref":
        from wsgiref import simple_server

        class Quiet(simple_server.WSGIRequestHandler):
            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # inherited name
                pass

        return simple_server.make_server("127.0.0.1", 0, wsgi, handler_class=Quiet)
    if kind == "own_loop":
        return Server(("127.0.0.1", 0), OwnLoop)
    if kind == "odd_headers":
        Handler.MessageClass = OddHeaders
    return Server(("127.0.0.1", 0), Handler)


class Mixin:
    """Replaces ``handle_one_request`` as werkzeug does: it parses, and never calls the base."""

    def handle_one_request(self: Any) -> None:
        self.raw_requestline = self.rfile.readline()
        if not self.raw_requestline:
            self.close_connection = True
        elif self.parse_request():
            self.do_GET()


class OwnLoop(Mixin, Handler):
    """Replaces ``handle`` as well, and calls out between two requests."""

    def handle(self) -> None:
        self.close_connection = False
        while not self.close_connection:
            self.after = ""
            self.handle_one_request()
            self.do_after()


class OddHeaders(http.client.HTTPMessage):
    """Headers that do not work the way the carrier expects."""

    get_all = None  # type: ignore[assignment]  # that is the point


def main(arguments: list[str]) -> None:
    server = make_server(arguments[0] if arguments else "http.server")
    sys.stdout.write(f"{server.socket.getsockname()[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
