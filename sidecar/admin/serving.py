"""HTTP for the operator: a few fixed paths behind one small, bounded server.

Shared by the admin port and the control socket. Owns connections, their limits and the form of
answers; where to listen and what the answers say is decided by each of the two.

aiohttp's low-level server is enough for fixed paths, and costs each pod a megabyte less than its
application framework.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server

MAX_LINE_BYTES: Final = 2048
MAX_HEADERS: Final = 64
MAX_BODY_WAIT_SECONDS: Final = 1.0

SERVER: Final = "jwt-sidecar"
"""What we call ourselves, because aiohttp would name itself, Python and their versions."""

Answer: TypeAlias = Callable[[BaseRequest], Awaitable[Response]]
Protocols: TypeAlias = Callable[[], asyncio.Protocol]

_log = logging.getLogger("sidecar.admin")


@dataclass(frozen=True, slots=True)
class Route:
    """What answers one path, and to which methods."""

    answer: Answer
    methods: tuple[str, ...] = ("GET", "HEAD")


def routed(routes: Mapping[str, Route]) -> Answer:
    """Return what answers by path and method: 404 and 405 for the rest.

    A path is exact, or ends in ``/*``, which is one more segment.
    """

    async def answer(request: BaseRequest) -> Response:
        route = routes.get(request.path)
        if route is None:
            route = routes.get(f"{request.path.rpartition('/')[0]}/*")
        if route is None:
            return text(404, "not found\n")
        if request.method not in route.methods:
            return text(405, "method not allowed\n", allow=", ".join(route.methods))
        return await route.answer(request)

    return answer


def text(status: int, body: str, *, allow: str | None = None) -> Response:
    """Return an answer in plain text."""
    answer = response(status, body.encode(), "text/plain; charset=utf-8")
    if allow is not None:
        answer.headers["Allow"] = allow
    return answer


def response(status: int, body: bytes, content_type: str) -> Response:
    """Return an answer that nobody keeps."""
    headers = {"Content-Type": content_type, "Cache-Control": "no-store", "Server": SERVER}
    return Response(status=status, body=body, headers=headers)


class OperatorServer:
    """One listening socket and its connections. Starts and stops once."""

    def __init__(
        self,
        answer: Answer,
        *,
        max_connections: int,
        keepalive_seconds: float,
        max_line_bytes: int = MAX_LINE_BYTES,
    ) -> None:
        """Connections that fall silent end after *keepalive_seconds*, unfinished heads too."""
        self._answer = answer
        self._max_line_bytes = max_line_bytes
        self._max_connections = max_connections
        self._keepalive_seconds = keepalive_seconds
        self._listener: asyncio.Server | None = None
        self._connections: _Connections | None = None

    async def start(
        self, listen: Callable[[Protocols], Awaitable[asyncio.Server]]
    ) -> asyncio.Server:
        """Give *listen* what to make of each connection, and keep what it returns."""
        connections = _Connections(
            self._answer, self._max_connections, self._keepalive_seconds, self._max_line_bytes
        )
        self._listener = await listen(connections)
        self._connections = connections
        return self._listener

    async def stop(self, timeout_seconds: float) -> None:
        """Stop listening, finish what is being answered, close every connection.

        Whoever does not take an answer within twice *timeout_seconds* is cut off.
        """
        if self._listener is None or self._connections is None:
            return
        self._listener.close()
        await self._connections.close(timeout_seconds)
        await self._listener.wait_closed()
        self._listener = self._connections = None


class _Connections(Server):
    """Open connections, at most *max_connections*.

    At the bound the oldest is closed: whoever holds connections open must not keep a probe out,
    for that would restart the pod.
    """

    def __init__(
        self, answer: Answer, max_connections: int, keepalive_seconds: float, max_line_bytes: int
    ) -> None:
        super().__init__(answer)
        self._max_line_bytes = max_line_bytes
        self._max_connections = max_connections
        self._keepalive_seconds = keepalive_seconds
        self._open: dict[RequestHandler, asyncio.Transport] = {}

    def __call__(self) -> RequestHandler:
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._keepalive_seconds,
            access_log=None,  # type: ignore[arg-type] # aiohttp's own way to turn it off
            max_line_size=self._max_line_bytes,
            max_field_size=self._max_line_bytes,
            max_headers=MAX_HEADERS,
            lingering_time=MAX_BODY_WAIT_SECONDS,
        )

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        while len(self._open) >= self._max_connections:
            self._open.pop(next(iter(self._open))).abort()
        self._open[handler] = transport

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        self._open.pop(handler, None)
        super().connection_lost(handler, exc)

    async def close(self, timeout_seconds: float) -> None:
        self.pre_shutdown()
        await self.shutdown(timeout_seconds)
        for transport in list(self._open.values()):
            transport.abort()


class _Connection(RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - may quote what the caller sent
    ) -> StreamResponse:
        """Answer what could not be parsed or failed, in a few words and without a stack trace.

        Callers may send anything they like: only a fault of ours is worth a line in the log.
        """
        if status >= 500:
            _log.error("%s %s failed", request.method, request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer was cut short")
        answer = text(status, "bad request\n" if status < 500 else "internal error\n")
        answer.force_close()
        return answer
