"""The program whose calls ``bench.carrier`` measures: it prints CPU microseconds per call.

Run in a process of its own, with or without a carrier on its path. It makes its calls inside a
request, so that there is a handle to read and to write.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Coroutine
from statistics import median
from typing import Any, Final

BATCH: Final = 50
HANDLE: Final = "sdc1" + "0" * 28


def main(arguments: list[str]) -> None:
    client, port, calls = arguments[0], int(arguments[1]), int(arguments[2])
    url = f"http://127.0.0.1:{port}/"
    batches = MEASURES[client](url, max(calls // BATCH, 3))
    print(median(batches[1:]) / BATCH * 1e6)  # the first one warms up


def begin() -> None:
    """Be a request that has a handle, if a carrier is there to hold it."""
    if "sidecar_carrier" in sys.modules:
        from sidecar_carrier import held  # type: ignore[import-not-found]  # found on PYTHONPATH

        held.begin(HANDLE)


def measured(call: Callable[[], object], batches: int) -> list[float]:
    begin()
    return [_batch(call) for _ in range(batches)]


def _batch(call: Callable[[], object]) -> float:
    start = time.process_time()
    for _ in range(BATCH):
        call()
    return time.process_time() - start


async def measured_async(
    call: Callable[[], Coroutine[Any, Any, object]], batches: int
) -> list[float]:
    begin()
    seconds = []
    for _ in range(batches):
        start = time.process_time()
        for _again in range(BATCH):
            await call()
        seconds.append(time.process_time() - start)
    return seconds


def with_http_client(url: str, batches: int) -> list[float]:
    import http.client

    connection = http.client.HTTPConnection(url.split("/")[2])

    def call() -> None:
        connection.request("GET", "/")
        connection.getresponse().read()

    return measured(call, batches)


def with_requests(url: str, batches: int) -> list[float]:
    import requests

    with requests.Session() as session:
        session.trust_env = False
        return measured(lambda: session.get(url), batches)


def with_httpx(url: str, batches: int) -> list[float]:
    import httpx

    with httpx.Client(trust_env=False) as client:
        return measured(lambda: client.get(url), batches)


def with_httpx_async(url: str, batches: int) -> list[float]:
    import httpx

    async def run() -> list[float]:
        async with httpx.AsyncClient(trust_env=False) as client:
            return await measured_async(lambda: client.get(url), batches)

    return asyncio.run(run())


def with_aiohttp(url: str, batches: int) -> list[float]:
    import aiohttp

    async def run() -> list[float]:
        async with aiohttp.ClientSession() as session:

            async def call() -> None:
                async with session.get(url) as response:
                    await response.read()

            return await measured_async(call, batches)

    return asyncio.run(run())


def with_submit(_: str, batches: int) -> list[float]:
    """No call at all: a job given to a pool that outlives the request, and its result."""
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(1)
    return measured(lambda: pool.submit(int).result(), batches)


MEASURES: Final[dict[str, Callable[[str, int], list[float]]]] = {
    "http.client": with_http_client,
    "requests": with_requests,
    "httpx": with_httpx,
    "httpx async": with_httpx_async,
    "aiohttp": with_aiohttp,
    "pool.submit": with_submit,
}
NEEDS: Final = {"requests": "requests", "httpx": "httpx", "httpx async": "httpx"}
"""Modules that may not be there, by what needs them."""


if __name__ == "__main__":
    main(sys.argv[1:])
