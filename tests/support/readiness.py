"""Wait until a sidecar process has its keys: that it listens does not mean that."""

import asyncio

import aiohttp

from sidecar.testbed.processes import RunningSidecar

LIMIT_SECONDS = 30.0
_POLL_SECONDS = 0.05


async def until_ready(client: aiohttp.ClientSession, running: RunningSidecar) -> None:
    """Ask ``/readyz`` until it says yes."""
    url = f"http://{running.listener('admin')}/readyz"
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            async with client.get(url) as answer:
                if answer.status == 200:
                    return
            await asyncio.sleep(_POLL_SECONDS)
