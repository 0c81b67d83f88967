"""TLS on connections that we open: the handshake, a changed context, and an honest end."""

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from sidecar.core.outcome import Reason
from sidecar.wire.connecting import HandshakeError
from sidecar.wire.deadlines import Deadlines
from sidecar.wire.fields import NameTable
from sidecar.wire.limits import WireLimits
from sidecar.wire.pool import Pool
from sidecar.wire.tls import describe, limit_reading
from sidecar.wire.upstream import UpstreamConnection

_TRUNCATED = "the connection was cut off: it ended without TLS close_notify"


class TlsUpstreamConnection(UpstreamConnection):
    """A connection on which the end of the bytes proves nothing unless TLS says it.

    Anybody on the way can end the TCP connection. Content that lasts until the end is whole only
    if the peer's ``close_notify`` came before it (RFC 8446, 6.1; RFC 9112, 9.8).
    """

    def __init__(self, pool: "TlsPool", context: ssl.SSLContext) -> None:
        super().__init__(pool)
        self.context = context

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        limit_reading(transport)
        super().connection_made(transport)

    def eof_received(self) -> bool:
        # asyncio calls this for the end of the TCP connection as well, uvloop does not.
        if self._has_close_notify():
            self._ended_by_peer()
        else:
            self._cut_off()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        # An end that was announced has been dealt with by now.
        if self.requester is not None:
            if isinstance(exc, ssl.SSLError):
                detail = f"{self._ended()}: {describe(exc)}"
                self._lost(Reason.UPSTREAM_RESET, detail)
            elif exc is None:
                self._cut_off()
        super().connection_lost(exc)

    def _cut_off(self) -> None:
        if self.requester is not None:
            self._lost(Reason.UPSTREAM_RESET, f"{_TRUNCATED}, {self._stage()}")

    def _ended(self) -> str:
        return f"TLS failed {self._stage()}"

    def _has_close_notify(self) -> bool:
        tls = self.transport.get_extra_info("ssl_object")
        try:
            return bool(tls.read(1) == b"")
        except ssl.SSLZeroReturnError:
            return True
        except ssl.SSLError:
            return False


class TlsPool(Pool):
    """Connections to one origin, each under the context that was current when it was opened.

    Once there is a new context, none of the others is used for another request: what the old one
    trusted, or showed of us, may be the reason for the change.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        limits: WireLimits,
        names: NameTable,
        deadlines: Deadlines,
        clock: Callable[[], float],
        context: Callable[[], ssl.SSLContext],
        server_name: str,
    ) -> None:
        """*server_name* is sent (SNI) and must be in the certificate."""
        super().__init__(host, port, limits=limits, names=names, deadlines=deadlines, clock=clock)
        self._context = context
        self._server_name = server_name

    def put(self, connection: UpstreamConnection) -> None:
        if getattr(connection, "context", None) is self._context():
            super().put(connection)
        else:
            connection.abort()

    def retire(self) -> None:
        """The context has changed: close what is idle. What is busy ends with its exchange."""
        for connection in list(self._idle):
            connection.abort()

    def _new_connection(self) -> UpstreamConnection:
        return TlsUpstreamConnection(self, self._context())

    async def _connect(self, connection: UpstreamConnection) -> None:
        assert isinstance(connection, TlsUpstreamConnection)
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: cast(asyncio.Protocol, connection),
                self.host,
                self.port,
                ssl=connection.context,
                server_hostname=self._server_name,
            )
        except ssl.SSLError as error:
            raise HandshakeError(f"TLS: {describe(error)}") from error
        except ConnectionResetError as error:
            if error.args:  # the system's own, which says enough
                raise
            raise HandshakeError(
                "TLS: the peer ended the connection during the handshake"
            ) from error
