"""Serve the control socket: what the operator of this pod may ask, and nobody else.

Owns the paths and who is answered. The file is ``sidecar.admin.control_socket``'s; what there is
to tell comes from whoever is asked.
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from typing import Final

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response
from msgspec.json import encode

from sidecar.admin.control_socket import ControlSocket, peer_uid
from sidecar.admin.serving import OperatorServer, Route, response, routed, text
from sidecar.admin.status import STATUS_PATH, Status

MAX_CONNECTIONS: Final = 16
KEEPALIVE_SECONDS: Final = 15.0
_ROOT: Final = 0


class ControlServer:
    """The control socket. Answers the user that runs the sidecar, and root."""

    def __init__(
        self,
        path: str,
        status: Callable[[], Status],
        *,
        more: Mapping[str, Route] | None = None,
        keepalive_seconds: float = KEEPALIVE_SECONDS,
    ) -> None:
        """Listen at *path*; *status* is asked on each request for it, *more* answers besides."""
        self._path = path
        self._status = status
        self._user = os.geteuid()
        self._routed = routed({STATUS_PATH: Route(self._tell_status), **(more or {})})
        self._server = OperatorServer(
            self._answer, max_connections=MAX_CONNECTIONS, keepalive_seconds=keepalive_seconds
        )
        self._socket: ControlSocket | None = None

    async def start(self) -> None:
        """Take the path and listen. Raises ``ControlSocketError``."""
        self._socket = taken = ControlSocket(self._path)
        loop = asyncio.get_running_loop()
        await self._server.start(
            lambda protocols: loop.create_unix_server(protocols, sock=taken.socket)
        )

    async def stop(self, *, timeout_seconds: float = 1.0) -> None:
        """Remove the socket and end every connection, within twice *timeout_seconds*."""
        if self._socket is None:
            return
        self._socket.release()
        await self._server.stop(timeout_seconds)
        self._socket = None

    async def _answer(self, request: BaseRequest) -> Response:
        # The mode keeps others out already; this holds where somebody has widened it.
        if request.transport is None or not self._may_ask(peer_uid(request.transport)):
            return text(403, f"only user {self._user} and root are answered here\n")
        return await self._routed(request)

    def _may_ask(self, uid: int | None) -> bool:
        return uid is None or uid in (self._user, _ROOT)

    async def _tell_status(self, _request: BaseRequest) -> Response:
        return response(200, encode(self._status()), "application/json")
