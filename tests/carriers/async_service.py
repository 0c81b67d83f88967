"""An asynchronous service whose requests share one loop, and the clients that live in it.

Its server is a few lines, so that no server library is needed: it tells the carrier where a
request begins and ends, as the carrier's patches of real servers do. The patterns know nothing.
"""

import asyncio
import contextlib
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import httpx
from sidecar_carrier import held  # type: ignore[import-not-found]  # found on PYTHONPATH

from sidecar.core.names import CONTEXT_HEADER

CONNECTIONS = int(os.environ.get("SERVICE_CONNECTIONS", "2"))


@dataclass(frozen=True, slots=True)
class Clients:
    """What all requests share."""

    aiohttp: aiohttp.ClientSession
    httpx: Any


@dataclass(frozen=True, slots=True)
class Request:
    """One inbound request: whom to call, what came with it, and what is there to call with."""

    out: str
    headers: Message
    clients: Clients

    @property
    def path(self) -> str:
        return urlsplit(self.out).path

    @property
    def origin(self) -> str:
        return f"http://{urlsplit(self.out).netloc}"


Pattern = Callable[[Request], Awaitable[object]]
PATTERNS: dict[str, Pattern] = {}


def pattern(function: Pattern) -> Pattern:
    PATTERNS[function.__name__] = function
    return function


async def body() -> AsyncIterator[bytes]:
    for part in [b"a", b"b"]:
        await asyncio.sleep(0)
        yield part


# --- aiohttp ---


async def get(request: Request, **options: Any) -> None:
    async with request.clients.aiohttp.get(request.out, **options) as response:
        await response.read()


@pattern
async def shared_aiohttp(request: Request) -> None:
    for _again in range(2):
        await get(request)


@pattern
async def insistent_aiohttp(request: Request) -> None:
    """aiohttp itself tries a second time."""
    for _again in range(9):
        with contextlib.suppress(aiohttp.ServerDisconnectedError):
            await get(request)
            return


@pattern
async def aiohttp_kinds(request: Request) -> None:
    session = request.clients.aiohttp
    await session.post(request.out, data=b"abc")
    await session.post(request.out, data=body(), headers={"host": "profile.example"})
    await session.put(request.out, json={})
    async with aiohttp.request("GET", request.out) as response:
        await response.read()
    async with aiohttp.ClientSession(request.origin) as own:
        await own.get(request.path)
    with contextlib.suppress(aiohttp.WSServerHandshakeError):
        await session.ws_connect(request.out)


@pattern
async def aiohttp_joined(request: Request) -> None:
    """What ``session.get`` gives is no coroutine of Python's own, and is gathered all the same."""
    session = request.clients.aiohttp
    for response in await asyncio.gather(*[session.get(request.out) for _ in range(3)]):
        response.release()
    (await asyncio.wait_for(session.get(request.out), 30)).release()
    both: Any = session.get(request.out)
    for response in await asyncio.gather(both, both):
        response.release()
    async with asyncio.TaskGroup() as group:
        group.create_task(session._request("GET", request.out))
        group.create_task(session.get(request.out))


@pattern
async def aiohttp_bare_task(request: Request) -> None:
    await asyncio.create_task(get(request))
    got: Any = request.clients.aiohttp.get(request.out)
    (await asyncio.create_task(got)).release()


@pattern
async def aiohttp_leaves_no_mark(request: Request) -> None:
    """Neither the app's headers, nor what it can see of its request, has anything of ours."""
    seen: list[object] = []

    async def started(_: object, __: object, params: aiohttp.TraceRequestStartParams) -> None:
        seen.append(params.headers)

    async def sent(_: object, __: object, params: aiohttp.TraceRequestHeadersSentParams) -> None:
        seen.append(params.headers)

    async def middleware(
        sent: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        response = await handler(sent)
        seen.append(sent.headers)
        return response

    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(started)
    trace.on_request_headers_sent.append(sent)
    mine = {"x-mine": "1"}
    async with (
        aiohttp.ClientSession(trace_configs=[trace], middlewares=[middleware]) as session,
        session.get(request.out, headers=mine) as response,
    ):
        seen.append(response.request_info.headers)
    assert mine == {"x-mine": "1"}
    assert len(seen) == 4
    assert "sidecar" not in str(seen).lower()


@pattern
async def aiohttp_middleware(request: Request) -> None:
    """One that sends a request again, as those do that answer a challenge."""

    async def twice(
        sent: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        (await handler(sent)).release()
        await asyncio.sleep(0.001)
        return await handler(sent)

    await get(request, middlewares=[twice])


@pattern
async def aiohttp_copies_headers(request: Request) -> None:
    await get(request, headers=dict(request.headers.items()))


@pattern
async def aiohttp_copies_headers_in_task(request: Request) -> None:
    await asyncio.create_task(get(request, headers=dict(request.headers.items())))


@pattern
async def aiohttp_redirect(request: Request) -> None:
    await get(request)


@pattern
async def aiohttp_proxy(request: Request) -> None:
    await request.clients.aiohttp.get("http://profile.example" + request.path, proxy=request.origin)


@pattern
async def aiohttp_tunnel(request: Request) -> None:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        await request.clients.aiohttp.get(
            "https://tunnelled.example" + request.path,
            proxy=request.origin,
            timeout=aiohttp.ClientTimeout(1),
        )


@pattern
async def aiohttp_unix(request: Request) -> None:
    connector = aiohttp.UnixConnector(os.environ["UNIX_UPSTREAM"])
    async with aiohttp.ClientSession(connector=connector) as session:
        await session.get("http://localhost" + request.path)


@pattern
async def aiohttp_tls(request: Request) -> None:
    await get(request, ssl=False)
    await get(request, ssl=False, headers=dict(request.headers.items()))


# --- httpx ---


@pattern
async def shared_httpx(request: Request) -> None:
    for _again in range(2):
        await request.clients.httpx.get(request.out)


@pattern
async def insistent_httpx(request: Request) -> None:
    for _again in range(9):
        with contextlib.suppress(httpx.RemoteProtocolError):
            await request.clients.httpx.get(request.out)
            return


@pattern
async def httpx_kinds(request: Request) -> None:
    async with httpx.AsyncClient(base_url=request.origin, trust_env=False) as client:
        await client.post(request.path, content=b"abc")
        await client.post(request.path, content=body())
        async with client.stream("GET", request.path) as response:
            await response.aread()


@pattern
async def httpx_joined(request: Request) -> None:
    client = request.clients.httpx
    await asyncio.gather(*[client.get(request.out) for _ in range(3)])
    async with asyncio.TaskGroup() as group:
        group.create_task(client.get(request.out))


@pattern
async def httpx_bare_task(request: Request) -> None:
    await asyncio.create_task(request.clients.httpx.get(request.out))


@pattern
async def httpx_copies_headers(request: Request) -> None:
    await request.clients.httpx.get(request.out, headers=dict(request.headers.items()))


@pattern
async def httpx_redirect(request: Request) -> None:
    await request.clients.httpx.get(request.out, follow_redirects=True)


@pattern
async def httpx_proxy(request: Request) -> None:
    async with httpx.AsyncClient(proxy=request.origin, trust_env=False) as client:
        await client.get("http://profile.example" + request.path)


@pattern
async def httpx_tunnel(request: Request) -> None:
    async with httpx.AsyncClient(proxy=request.origin, trust_env=False) as client:
        with contextlib.suppress(httpx.TransportError):
            await client.get("https://tunnelled.example" + request.path)


@pattern
async def httpx_unix(request: Request) -> None:
    transport = httpx.AsyncHTTPTransport(uds=os.environ["UNIX_UPSTREAM"])
    async with httpx.AsyncClient(transport=transport) as client:
        await client.get("http://localhost" + request.path)


@pattern
async def httpx_tls(request: Request) -> None:
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:
        await client.get(request.out)
        await client.get(request.out, headers=dict(request.headers.items()))


@pattern
async def httpx_own_transport(request: Request) -> None:
    seen = []

    async def application(scope: Any, _: object, send: Any) -> None:
        seen.append(scope["headers"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    transport = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=transport) as client:
        await client.get(request.out)
    assert len(seen) == 1
    assert "sidecar" not in str(seen).lower()


# --- where a copied context does not count, in any grade ---


@pattern
async def bare_thread_with_loop(request: Request) -> None:
    """A thread with a copy of the context, as later Pythons start them, and a loop of its own."""
    import contextvars

    async def call_in_own_session() -> None:
        async with aiohttp.ClientSession() as session:
            await session.get(request.out)

    context = contextvars.copy_context()
    thread = threading.Thread(target=context.run, args=(asyncio.run, call_in_own_session()))
    thread.start()
    while thread.is_alive():
        await asyncio.sleep(0.001)


# --- the server ---


async def respond(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, clients: Clients
) -> None:
    line, _, rest = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")
    headers = BytesParser().parsebytes(rest)
    target = urlsplit(line.split()[1].decode())
    out = parse_qs(target.query).get("out", [""])[0]
    cell = held.begin(headers.get(CONTEXT_HEADER))
    try:
        await PATTERNS[target.path[1:]](Request(out, headers, clients))
    finally:
        if cell is not None:
            held.end(cell)
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


async def main() -> None:
    async with (
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as session,
        httpx.AsyncClient(
            limits=httpx.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
            trust_env=False,
            timeout=60,
        ) as client,
    ):
        clients = Clients(session, client)
        server = await asyncio.start_server(
            lambda reader, writer: respond(reader, writer, clients), "127.0.0.1", 0, backlog=128
        )
        sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
        sys.stdout.flush()
        await server.serve_forever()


if __name__ == "__main__":
    if os.environ.get("SERVICE_LOOP") == "uvloop":
        import uvloop

        uvloop.run(main())
    else:
        asyncio.run(main())
