"""Serve metrics, probes and public keys, and nothing else.

Owns the admin listener and its paths. What the metrics count and what readiness waits for is
decided elsewhere and asked here on each request.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response

from sidecar.admin.public_keys import PATH, public_keys
from sidecar.admin.serving import OperatorServer, Route, response, routed, text
from sidecar.telemetry.metrics import Metrics

MAX_CONNECTIONS: Final = 64
KEEPALIVE_SECONDS: Final = 75.0
"""Idle connections, silent ones and unfinished heads end then; scrapes come more often."""

_INDEX: Final = """jwt-sidecar
/metrics  Prometheus metrics
/livez    200 while the process works
/startupz 200 once it listens and has had its keys, else 503 and what is missing
/readyz   200 when it takes traffic, else 503 and what is missing
"""
_PROBES: Final = "/app-probe/… the app's own probes, by number\n"
_KEYS: Final = f"{PATH}  public key of what is signed for the app\n"


class AdminServer:
    """The admin listener. Never needs a token, so it says nothing that needs one."""

    def __init__(
        self,
        metrics: Metrics,
        readiness: Callable[[], Sequence[str]],
        *,
        live: Callable[[], bool],
        startup: Callable[[], Sequence[str]] = tuple,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
        jwks: Callable[[], bytes | None] = lambda: None,
        app_probes: Mapping[str, Route] | None = None,
    ) -> None:
        """Ask *readiness* for one line per missing item (none: ready) and *live* per probe.

        *startup* is *readiness* for the start. *jwks* gives the key set with which the app checks
        what the sidecar signs for it, if it does; *app_probes* ask the app.
        """
        self._metrics = metrics
        self._readiness = readiness
        self._live = live
        self._startup = startup
        self._jwks = jwks
        self._index = f"{_INDEX}{_PROBES if app_probes else ''}"
        routes = {
            "/": Route(self._tell_paths),
            "/metrics": Route(self._tell_metrics),
            "/livez": Route(self._tell_liveness),
            "/readyz": Route(self._tell_readiness),
            "/startupz": Route(self._tell_startup),
            **(app_probes or {}),
            **public_keys(jwks),
        }
        self._server = OperatorServer(
            routed(routes), max_connections=MAX_CONNECTIONS, keepalive_seconds=keepalive_seconds
        )

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen on *host* and *port*; return both as bound. Raises OSError."""
        loop = asyncio.get_running_loop()
        listener = await self._server.start(
            lambda protocols: loop.create_server(protocols, host, port)
        )
        bound: tuple[str, int] = listener.sockets[0].getsockname()[:2]
        return bound

    async def stop(self, *, timeout_seconds: float = 1.0) -> None:
        """Stop listening and end every connection, within twice *timeout_seconds*."""
        await self._server.stop(timeout_seconds)

    async def _tell_paths(self, _request: BaseRequest) -> Response:
        return text(200, self._index if self._jwks() is None else self._index + _KEYS)

    async def _tell_metrics(self, request: BaseRequest) -> Response:
        body, content_type = self._metrics.render(",".join(request.headers.getall("Accept", ())))
        return response(200, body, content_type)

    async def _tell_liveness(self, _request: BaseRequest) -> Response:
        return text(200, "live\n") if self._live() else text(503, "not live\n")

    async def _tell_readiness(self, _request: BaseRequest) -> Response:
        return _told(self._readiness(), "ready\n")

    async def _tell_startup(self, _request: BaseRequest) -> Response:
        return _told(self._startup(), "started\n")


def _told(missing: Sequence[str], otherwise: str) -> Response:
    if not missing:
        return text(200, otherwise)
    # One item is one line, whatever an error message inside it may hold.
    return text(503, "".join(f"{' '.join(item.split())}\n" for item in missing))
