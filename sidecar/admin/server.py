"""Serve metrics and probes, and nothing else.

Owns the admin listener: its paths, its limits and its connections. What the metrics count and what
readiness waits for is decided elsewhere and asked here on each request.

aiohttp's low-level server is enough for four fixed paths, and costs each pod a megabyte less than
its application framework.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server

from sidecar.telemetry.metrics import Metrics

MAX_CONNECTIONS: Final = 64
KEEPALIVE_SECONDS: Final = 75.0
"""Idle connections, silent ones and unfinished heads end then; scrapes come more often."""
MAX_LINE_BYTES: Final = 2048
MAX_HEADERS: Final = 64
MAX_BODY_WAIT_SECONDS: Final = 1.0

_INDEX: Final = """jwt-sidecar
/metrics  Prometheus metrics
/livez    200 while the process works
/readyz   200 when it takes traffic, else 503 and what is missing
"""

_log = logging.getLogger("sidecar.admin")


class AdminServer:
    """The admin listener. Never needs a token, so it says nothing that needs one."""

    def __init__(
        self,
        metrics: Metrics,
        readiness: Callable[[], Sequence[str]],
        *,
        live: Callable[[], bool],
        keepalive_seconds: float = KEEPALIVE_SECONDS,
    ) -> None:
        """Ask *readiness* for one line per missing item (none: ready) and *live* per probe."""
        self._metrics = metrics
        self._readiness = readiness
        self._live = live
        self._keepalive_seconds = keepalive_seconds
        self._listener: asyncio.Server | None = None
        self._connections: _Connections | None = None

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen on *host* and *port*; return both as bound. Raises OSError."""
        self._connections = _Connections(self._answer, self._keepalive_seconds)
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(self._connections, host, port)
        bound: tuple[str, int] = self._listener.sockets[0].getsockname()[:2]
        return bound

    async def stop(self, *, timeout_seconds: float = 1.0) -> None:
        """Stop listening, finish what is being answered, close every connection.

        Whoever does not take an answer within twice *timeout_seconds* is cut off.
        """
        if self._listener is None or self._connections is None:
            return
        self._listener.close()
        await self._connections.close(timeout_seconds)
        await self._listener.wait_closed()
        self._listener = self._connections = None

    async def _answer(self, request: BaseRequest) -> Response:
        answer: Callable[[BaseRequest], Response]
        match request.path:
            case "/metrics":
                answer = self._tell_metrics
            case "/livez":
                answer = self._tell_liveness
            case "/readyz":
                answer = self._tell_readiness
            case "/":
                answer = _tell_paths
            case _:
                return _text(404, "not found\n")
        if request.method not in ("GET", "HEAD"):
            return _text(405, "method not allowed\n", allow="GET, HEAD")
        return answer(request)

    def _tell_metrics(self, request: BaseRequest) -> Response:
        body, content_type = self._metrics.render(",".join(request.headers.getall("Accept", ())))
        return _response(200, body, content_type)

    def _tell_liveness(self, _request: BaseRequest) -> Response:
        return _text(200, "live\n") if self._live() else _text(503, "not live\n")

    def _tell_readiness(self, _request: BaseRequest) -> Response:
        missing = self._readiness()
        if not missing:
            return _text(200, "ready\n")
        # One item is one line, whatever an error message inside it may hold.
        return _text(503, "".join(f"{' '.join(item.split())}\n" for item in missing))


class _Connections(Server):
    """Open connections, at most ``MAX_CONNECTIONS``.

    At the bound the oldest is closed: whoever holds connections open must not keep a probe out,
    for that would restart the pod.
    """

    def __init__(
        self,
        answer: Callable[[BaseRequest], Awaitable[StreamResponse]],
        keepalive_seconds: float,
    ) -> None:
        super().__init__(answer)
        self._keepalive_seconds = keepalive_seconds
        self._open: dict[RequestHandler, asyncio.Transport] = {}

    def __call__(self) -> RequestHandler:
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._keepalive_seconds,
            access_log=None,  # type: ignore[arg-type] # aiohttp's own way to turn it off
            max_line_size=MAX_LINE_BYTES,
            max_field_size=MAX_LINE_BYTES,
            max_headers=MAX_HEADERS,
            lingering_time=MAX_BODY_WAIT_SECONDS,
        )

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        while len(self._open) >= MAX_CONNECTIONS:
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
        response = _text(status, "bad request\n" if status < 500 else "internal error\n")
        response.force_close()
        return response


def _tell_paths(_request: BaseRequest) -> Response:
    return _text(200, _INDEX)


def _text(status: int, text: str, *, allow: str | None = None) -> Response:
    response = _response(status, text.encode(), "text/plain; charset=utf-8")
    if allow is not None:
        response.headers["Allow"] = allow
    return response


def _response(status: int, body: bytes, content_type: str) -> Response:
    # Server is set because aiohttp would otherwise name itself, Python and their versions.
    headers = {"Content-Type": content_type, "Cache-Control": "no-store", "Server": "jwt-sidecar"}
    return Response(status=status, body=body, headers=headers)
