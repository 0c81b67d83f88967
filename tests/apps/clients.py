"""The HTTP clients that ordinary apps use, each as a function from a URL to an answer.

Every client is made by the first request that needs it and shared by all later ones, as apps do;
where it has a pool, the pool has two connections and callers wait for one. An answer of 503 that
no sidecar wrote is the destination's, and is asked for again twice.
"""

import asyncio
import contextlib
import functools
import importlib
import queue
import threading
import weakref
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 60.0
CONNECTIONS = 2
_ATTEMPTS = 3
_REASON = "x-sidecar-reason"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, and the reason if a sidecar refused."""

    status: int
    reason: str = ""

    def __str__(self) -> str:
        return self.reason or str(self.status)


Call = Callable[[str], Answer]
CallAsync = Callable[[str], Awaitable[Answer]]

_once = threading.RLock()


def _shared(make: Callable[[], Any]) -> Callable[[], Any]:
    cached = functools.cache(make)

    def shared() -> Any:
        with _once:
            return cached()

    return shared


def _answer(status: int, fields: Mapping[str, str]) -> Answer:
    return Answer(status, fields.get(_REASON, ""))


# --- blocking clients ---


def _connection(url: str) -> Any:
    parts = urlsplit(url)
    # Imported as an app does, and late: so a carrier patches it as it comes.
    module = importlib.import_module("http.client")
    return module.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT_SECONDS)


def _get_on(connection: Any, url: str) -> Answer:
    parts = urlsplit(url)
    connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""))
    response = connection.getresponse()
    response.read()
    return _answer(response.status, response.headers)


def http_client(url: str) -> Answer:
    """A connection for each call."""
    with contextlib.closing(_connection(url)) as connection:
        return _get_on(connection, url)


@_shared
def _kept() -> Any:
    slots: queue.LifoQueue[Any] = queue.LifoQueue()
    for _ in range(CONNECTIONS):
        slots.put(None)
    return slots


def http_client_kept(url: str) -> Answer:
    """A pool written by hand: the connection that came back last goes out first, and one that
    turns out to be closed is replaced and the call made again.
    """
    slots = _kept()
    connection = slots.get() or _connection(url)
    http = importlib.import_module("http.client")
    try:
        try:
            return _get_on(connection, url)
        except (http.HTTPException, OSError):
            connection.close()
            connection = _connection(url)
            return _get_on(connection, url)
    finally:
        slots.put(connection)


@_shared
def _opener() -> Any:
    module = importlib.import_module("urllib.request")
    return module.build_opener(module.ProxyHandler({}))


def urllib_request(url: str) -> Answer:
    opener = _opener()
    error = importlib.import_module("urllib.error")
    try:
        with opener.open(url, timeout=TIMEOUT_SECONDS) as response:
            response.read()
            return _answer(response.status, response.headers)
    except error.HTTPError as refusal:
        with refusal:
            return _answer(refusal.code, refusal.headers)


@_shared
def _urllib3() -> Any:
    return importlib.import_module("urllib3").PoolManager()


@_shared
def _urllib3_block() -> Any:
    return importlib.import_module("urllib3").PoolManager(maxsize=CONNECTIONS, block=True)


def _get_urllib3(pool: Any, url: str) -> Answer:
    response = pool.request("GET", url, timeout=TIMEOUT_SECONDS)
    return _answer(response.status, response.headers)


def urllib3(url: str) -> Answer:
    return _get_urllib3(_urllib3(), url)


def urllib3_block(url: str) -> Answer:
    """Callers wait until one of the pool's connections is free."""
    return _get_urllib3(_urllib3_block(), url)


def requests(url: str) -> Answer:
    """A session for each call, as ``requests.get`` has."""
    with importlib.import_module("requests").Session() as session:
        session.trust_env = False
        return _get_requests(session, url)


@_shared
def _requests_session() -> Any:
    library = importlib.import_module("requests")
    session = library.Session()
    session.trust_env = False
    adapter = library.adapters.HTTPAdapter(pool_maxsize=CONNECTIONS, pool_block=True)
    session.mount("http://", adapter)
    return session


def _get_requests(session: Any, url: str) -> Answer:
    response = session.get(url, timeout=TIMEOUT_SECONDS)
    return _answer(response.status_code, response.headers)


def requests_session(url: str) -> Answer:
    """One session for all threads, with ``pool_block``."""
    return _get_requests(_requests_session(), url)


@_shared
def _httpx() -> Any:
    library = importlib.import_module("httpx")
    return library.Client(
        limits=library.Limits(max_connections=CONNECTIONS),
        # Its pool for threads may lose an answer: see the race in tests.matrix.expectations.
        timeout=library.Timeout(TIMEOUT_SECONDS, read=5),
        trust_env=False,
        verify=False,  # everything here is plain, and certificates take long to load
    )


def httpx(url: str) -> Answer:
    response = _httpx().get(url)
    return _answer(response.status_code, response.headers)


@_shared
def _botocore() -> Any:
    session = importlib.import_module("botocore.httpsession")
    return session.URLLib3Session(timeout=TIMEOUT_SECONDS, max_pool_connections=CONNECTIONS)


def botocore(url: str) -> Answer:
    """What boto3's clients send their requests with."""
    request = importlib.import_module("botocore.awsrequest").AWSRequest("GET", url)
    response = _botocore().send(request.prepare())
    return _answer(response.status_code, response.headers)


BLOCKING: dict[str, Call] = {
    function.__name__: function
    for function in (
        http_client,
        http_client_kept,
        urllib_request,
        urllib3,
        urllib3_block,
        requests,
        requests_session,
        httpx,
        botocore,
    )
}

# --- asyncio clients, one for each loop ---

_by_loop: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Any]] = (
    weakref.WeakKeyDictionary()
)


def _of_this_loop(name: str, make: Callable[[], Any]) -> Any:
    made = _by_loop.setdefault(asyncio.get_running_loop(), {})
    if name not in made:
        made[name] = make()
    return made[name]


def _make_httpx_async() -> Any:
    library = importlib.import_module("httpx")
    return library.AsyncClient(
        limits=library.Limits(max_connections=CONNECTIONS),
        timeout=TIMEOUT_SECONDS,
        trust_env=False,
        verify=False,  # everything here is plain, and certificates take long to load
    )


async def httpx_async(url: str) -> Answer:
    response = await _of_this_loop("httpx_async", _make_httpx_async).get(url)
    return _answer(response.status_code, response.headers)


def _make_aiohttp() -> Any:
    library = importlib.import_module("aiohttp")
    return library.ClientSession(
        connector=library.TCPConnector(limit=CONNECTIONS),
        timeout=library.ClientTimeout(total=TIMEOUT_SECONDS),
    )


async def aiohttp(url: str) -> Answer:
    async with _of_this_loop("aiohttp", _make_aiohttp).get(url) as response:
        await response.read()
        return _answer(response.status, response.headers)


NON_BLOCKING: dict[str, CallAsync] = {
    function.__name__: function for function in (httpx_async, aiohttp)
}


async def close_those_of_this_loop() -> None:
    """For a loop that ends with the request: its clients could not be used in another one."""
    made = _by_loop.pop(asyncio.get_running_loop(), {})
    if "httpx_async" in made:
        await made["httpx_async"].aclose()
    if "aiohttp" in made:
        await made["aiohttp"].close()


# --- both kinds of app can use both kinds of client ---


def _attempts() -> Iterator[int]:
    return iter(range(_ATTEMPTS))


def _is_passing_error(answer: Answer) -> bool:
    return answer.status == 503 and not answer.reason


def blocking(name: str) -> Call:
    """The client called *name* for code that may block; ``KeyError`` if there is none."""
    if name in NON_BLOCKING:
        return functools.partial(_run, NON_BLOCKING[name])
    return functools.partial(_persist, BLOCKING[name])


def _persist(client: Call, url: str) -> Answer:
    answer = Answer(0)
    for _ in _attempts():
        answer = client(url)
        if not _is_passing_error(answer):
            break
    return answer


def _run(client: CallAsync, url: str) -> Answer:
    async def main() -> Answer:
        try:
            return await _persist_async(client, url)
        finally:
            await close_those_of_this_loop()

    return asyncio.run(main())


def non_blocking(name: str) -> CallAsync:
    """The client called *name* for coroutines; a blocking one is called in a thread."""
    if name in NON_BLOCKING:
        return functools.partial(_persist_async, NON_BLOCKING[name])
    call = blocking(name)
    return lambda url: asyncio.to_thread(call, url)


async def _persist_async(client: CallAsync, url: str) -> Answer:
    answer = Answer(0)
    for _ in _attempts():
        answer = await client(url)
        if not _is_passing_error(answer):
            break
    return answer


LIBRARIES = {
    "urllib3": "urllib3",
    "urllib3_block": "urllib3",
    "requests": "requests",
    "requests_session": "requests",
    "httpx": "httpx",
    "httpx_async": "httpx",
    "botocore": "botocore",
    "aiohttp": "aiohttp",
}
"""What must be installed for a client, where that is not the standard library."""
