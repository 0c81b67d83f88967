"""The injector's two servers: admission over TLS for the API server, and a plain one for operators.

Owns connections, their limits, what a request must be to be read, and draining. What becomes of
an object is decided by ``sidecar.kubernetes.deciding``.
"""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final, TypeAlias

from aiohttp.web_protocol import RequestHandler
from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response, StreamResponse
from aiohttp.web_server import Server

from sidecar.kubernetes import admission
from sidecar.kubernetes.admission import Answer, Review, ReviewError
from sidecar.kubernetes.deciding import Decider
from sidecar.kubernetes.injector_metrics import InjectorMetrics
from sidecar.telemetry.lines import Lines, Moments

MAX_BODY_BYTES: Final = 3 << 20
"""The API server's own bound on an object."""
BODY_SECONDS: Final = 5.0
DECISION_SECONDS: Final = 8.0
"""Less than the webhook's timeout, so that the API server hears why."""
MAX_CONNECTIONS: Final = 512
KEEPALIVE_SECONDS: Final = 120.0
"""The API server gives a connection up after 90."""
HANDSHAKE_SECONDS: Final = 5.0
MAX_HEAD_BYTES: Final = 16 << 10
MAX_LOGGED_MESSAGE: Final = 1024
SERVER: Final = "jwt-sidecar"
PATHS: Final = {"/mutate": "pod", "/validate": "service"}

_INDEX: Final = """jwt-sidecar injector
/metrics  Prometheus metrics
/livez    200 while the process works
/readyz   200 when it answers the API server, else 503 and what is missing
"""
Handling: TypeAlias = Callable[[BaseRequest], Awaitable[StreamResponse]]

_log = logging.getLogger("sidecar.injector")


class AdmissionLog:
    """One JSON line per answer: what was asked and what came of it, and nothing of the object."""

    def __init__(self, lines: Lines, clock: Callable[[], float]) -> None:
        self._lines = lines
        self._clock = clock
        self._moments = Moments()

    def answered(self, review: Review, answer: Answer, seconds: float) -> None:
        line = {
            "time": self._moments.told(self._clock()),
            "event": "admission",
            "kind": review.kind,
            "operation": review.operation,
            "namespace": review.namespace,
            "name": review.name,
            "uid": review.uid,
            "dry_run": review.is_dry_run,
            "result": answer.result,
            "message": answer.message[:MAX_LOGGED_MESSAGE],
            "warnings": len(answer.warnings),
            "seconds": round(seconds, 6),
        }
        self._lines.add(
            json.dumps({key: value for key, value in line.items() if value != ""}).encode()
        )
        self._lines.flush()

    def close(self) -> None:
        self._lines.close(1.0)


class Webhook:
    """Answers the API server's POSTs. Knows when it is to end."""

    def __init__(
        self,
        decider: Decider,
        metrics: InjectorMetrics,
        log: AdmissionLog,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.is_draining = False
        self._decider = decider
        self._metrics = metrics
        self._log = log
        self._clock = clock

    async def answer(self, request: BaseRequest) -> StreamResponse:
        answer = await self._answer(request)
        if self.is_draining:
            # Whoever keeps the connection would send the next request to one that has gone.
            answer.force_close()
        return answer

    async def _answer(self, request: BaseRequest) -> Response:
        if request.path not in PATHS:
            return _text(404, f"not found: the paths are {' and '.join(PATHS)}\n")
        if request.method != "POST":
            return _text(405, "method not allowed: the API server sends POST\n", {"Allow": "POST"})
        if request.content_type != "application/json":
            return _closing(_text(415, "the content type must be application/json\n"))
        began = self._clock()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _body(request)
        except TimeoutError:
            return _closing(_text(408, f"the body did not arrive within {BODY_SECONDS:g}s\n"))
        if body is None:
            limit = f"{MAX_BODY_BYTES >> 20}MiB"
            return _closing(_text(413, f"the body is larger than {limit}\n"))
        try:
            review = admission.read(body)
        except ReviewError as error:
            _log.warning("%s: not answered: %s", request.path, error)
            return _text(400, f"{error}\n")
        decided = await self._decided(request, review, _patience(request))
        seconds = self._clock() - began
        self._metrics.admitted(review.kind, decided.result, seconds)
        self._log.answered(review, decided, seconds)
        written = await asyncio.to_thread(admission.written, review.uid, decided)
        return _response(200, written, "application/json")

    async def _decided(self, request: BaseRequest, review: Review, seconds: float) -> Answer:
        wanted = PATHS[request.path]
        if review.kind not in (wanted, "other"):
            other = next(path for path, kind in PATHS.items() if kind == review.kind)
            message = f"jwt-sidecar: {review.resource} are for {other}, not for {request.path}"
            return Answer("refused", message)
        return await self._decider.decide(review, timeout_seconds=seconds)


class Operators:
    """Probes and metrics."""

    def __init__(self, metrics: InjectorMetrics, missing: Callable[[], Sequence[str]]) -> None:
        self._metrics = metrics
        self._missing = missing

    async def answer(self, request: BaseRequest) -> StreamResponse:
        if request.path not in ("/", "/metrics", "/livez", "/readyz"):
            return _text(404, "not found\n")
        if request.method not in ("GET", "HEAD"):
            return _closing(_text(405, "method not allowed\n", {"Allow": "GET, HEAD"}))
        if request.path == "/metrics":
            accept = ",".join(request.headers.getall("Accept", ()))
            body, content_type = self._metrics.render(accept)
            return _response(200, body, content_type)
        if request.path == "/readyz":
            if missing := self._missing():
                return _text(503, "".join(f"{' '.join(item.split())}\n" for item in missing))
            return _text(200, "ready\n")
        return _text(200, _INDEX if request.path == "/" else "live\n")


class Listener:
    """One socket and its connections: bounded, and drained at the end. Starts and stops once."""

    def __init__(
        self,
        answer: Handling,
        *,
        max_connections: int = MAX_CONNECTIONS,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
    ) -> None:
        self._connections = _Connections(answer, max_connections, keepalive_seconds)
        self._server: asyncio.Server | None = None

    async def start(
        self, host: str, port: int, *, tls: Callable[[], ssl.SSLContext | None] | None = None
    ) -> tuple[str, int]:
        """Listen, and return host and port as bound; *tls* is asked once per connection.

        While *tls* gives nothing, handshakes fail.
        """
        loop = asyncio.get_running_loop()
        if tls is None:
            self._server = await loop.create_server(self._connections, host, port)
        else:
            self._server = await loop.create_server(
                self._connections,
                host,
                port,
                ssl=_following(tls),
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=1.0,
            )
        bound: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        return bound

    async def stop(self, timeout_seconds: float) -> None:
        """Stop listening, finish what is being answered, close every connection."""
        if self._server is None:
            return
        self._server.close()
        await self._connections.close(timeout_seconds)
        await self._server.wait_closed()
        self._server = None


def _following(current: Callable[[], ssl.SSLContext | None]) -> ssl.SSLContext:
    """Return a context that has each handshake continue with the *current* one.

    Connections that are open keep what they began with. The hook is called without a server name
    too, which clients that were given an address do not send.
    """
    front = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    front.minimum_version = ssl.TLSVersion.TLSv1_2
    front.set_alpn_protocols(["http/1.1"])
    # Nothing is resumed: a ticket would outlive the certificate that it was given under.
    front.options |= ssl.OP_NO_TICKET | ssl.OP_NO_RENEGOTIATION
    front.num_tickets = 0

    def choose(connection: ssl.SSLObject, _name: str | None, _: object) -> int | None:
        if (context := current()) is None:
            return ssl.ALERT_DESCRIPTION_INTERNAL_ERROR
        connection.context = context
        return None

    front.sni_callback = choose  # for typeshed it is for sockets alone
    return front


class _Connections(Server):
    """Open connections, at most *max_connections*.

    At the bound the one that has been idle longest is closed; where all are busy, the new one is.
    """

    def __init__(
        self,
        answer: Handling,
        max_connections: int,
        keepalive_seconds: float,
    ) -> None:
        super().__init__(self._busy_while(answer))
        self._max_connections = max_connections
        self._keepalive_seconds = keepalive_seconds
        self._open: dict[RequestHandler, asyncio.Transport] = {}
        self._busy: set[RequestHandler] = set()

    def _busy_while(self, answer: Handling) -> Handling:
        async def answered(request: BaseRequest) -> StreamResponse:
            handler = request.protocol
            self._busy.add(handler)
            try:
                return await answer(request)
            finally:
                self._busy.discard(handler)
                if (transport := self._open.pop(handler, None)) is not None:
                    self._open[handler] = transport  # now the one that was used last

        return answered

    def __call__(self) -> RequestHandler:
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=self._keepalive_seconds,
            access_log=None,  # type: ignore[arg-type] # aiohttp's own way to turn it off
            max_line_size=MAX_HEAD_BYTES,
            max_field_size=MAX_HEAD_BYTES,
            lingering_time=1.0,
        )

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._open[handler] = transport
        if len(self._open) > self._max_connections:
            idle = (each for each in self._open if each not in self._busy)
            _cut(self._open.pop(next(idle)))

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        self._open.pop(handler, None)
        self._busy.discard(handler)
        super().connection_lost(handler, exc)

    async def close(self, timeout_seconds: float) -> None:
        self.pre_shutdown()
        await self.shutdown(timeout_seconds)
        for transport in list(self._open.values()):
            _cut(transport)


def _cut(transport: asyncio.Transport) -> None:
    with suppress(AttributeError):  # which asyncio's own TLS had for one that has ended (3.11.2)
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
        """Answer what could not be parsed or failed, in a few words and without a stack trace."""
        if status >= 500:
            _log.error("%s %s failed", request.method, request.path, exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("the answer was cut short")
        return _closing(_text(status, "bad request\n" if status < 500 else "internal error\n"))


async def _body(request: BaseRequest) -> bytes | None:
    """Return the body, or nothing where it is too large."""
    if (request.content_length or 0) > MAX_BODY_BYTES:
        return None
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _patience(request: BaseRequest) -> float:
    """Return for how long a decision may take: the API server says what it waits, ``10s``."""
    written = request.query.get("timeout", "")
    number = written.removesuffix("s")
    if written.endswith("s") and number.isascii() and number.isdecimal() and len(number) <= 3:
        return max(0.5, min(DECISION_SECONDS, int(number) * 0.8))
    return DECISION_SECONDS


def _text(status: int, body: str, fields: dict[str, str] | None = None) -> Response:
    answer = _response(status, body.encode(), "text/plain; charset=utf-8")
    answer.headers.update(fields or {})
    return answer


def _response(status: int, body: bytes, content_type: str) -> Response:
    headers = {"Content-Type": content_type, "Cache-Control": "no-store", "Server": SERVER}
    return Response(status=status, body=body, headers=headers)


def _closing(answer: Response) -> Response:
    answer.force_close()
    return answer
