"""Tell a caller why its handshake failed.

TLS has the reason ready as an alert (RFC 8446, 6.2), but both loops close the connection before
they send it, so that callers see a reset and look for the fault in the network.
"""

import ssl
from contextlib import suppress
from contextvars import ContextVar
from socket import socket
from typing import Final

answering: Final[ContextVar[socket | None]] = ContextVar("answering", default=None)
"""The connection whose handshake is about to begin; set by whoever begins it."""


class _AlertingObject(ssl.SSLObject):
    """Sends the alert by itself when its handshake fails."""

    outgoing: ssl.MemoryBIO
    connection: socket | None

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except ssl.SSLError:
            alert = self.outgoing.read()
            if self.connection is not None and alert:
                # Never waits. What cannot be sent at once is not worth more.
                with suppress(OSError):
                    self.connection.send(alert)
            raise
        self.connection = None


class AlertingContext(ssl.SSLContext):
    """A context for listeners."""

    sslobject_class = _AlertingObject

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        made = super().wrap_bio(incoming, outgoing, server_side, server_hostname, session)
        assert isinstance(made, _AlertingObject)
        made.outgoing = outgoing
        made.connection = answering.get()
        return made
