"""TLS on connections that others opened to us: the handshake, and how such a connection ends.

A connection exists for the listener's exchanges only once its handshake is done. Certificates, and
what a peer must show, are in the ``ssl.SSLContext`` that somebody else made; counting and logging
failed handshakes is somebody else's too.
"""

import asyncio
import os
import socket
import ssl
from collections.abc import Callable, Hashable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, cast

from sidecar.tls.alerts import answering
from sidecar.wire.downstream import Downstream
from sidecar.wire.pacing import IDLE, LINGER

if TYPE_CHECKING:
    from sidecar.wire.listener import Listener

HandshakeFailure = Literal[
    "not_tls", "protocol", "no_certificate", "certificate_refused", "refused_by_peer", "timeout",
    "gone", "other",
]  # fmt: skip
"""Why a handshake came to nothing. ``certificate_refused``: we did not accept the peer's;
``refused_by_peer``: it did not accept ours."""

READ_HIGH_WATER_BYTES: Final = 1
"""Encrypted bytes at which the socket is read no more while the application does not read.

uvloop throws away what waits here when the peer closes the connection meanwhile, so nothing may
be read from the socket that cannot be handed over: then the end is read after it.
"""

_NOT_TLS: Final = (
    "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
    "WRONG_VERSION_NUMBER",
    "UNKNOWN_PROTOCOL",
)
_PROTOCOL: Final = (
    "NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "UNKNOWN_SSL_VERSION",
    "NO_SUITABLE_SIGNATURE_ALGORITHM", "NO_SUITABLE_KEY_SHARE",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ListenerTls:
    """What a listener needs to serve TLS."""

    context: Callable[[], ssl.SSLContext]
    """Asked for each connection, so that a new certificate serves the next one."""
    failed: Callable[[HandshakeFailure, str, str], None]
    """Told why, in detail, and which peer."""
    terms: Hashable = None
    """What connections are made under, besides the files' contents: equal where that is alike."""


class TlsGate(asyncio.Protocol):
    """An accepted connection whose handshake is not done. Nothing of ours exists for it yet.

    The handshake has the header section's time. One task per connection, not per request.

    The loops' own TLS servers say neither how many handshakes are in progress nor why one failed,
    and their ``start_tls`` loses what arrives early (uvloop), so the socket is taken from the plain
    transport, which has read nothing of it yet.
    """

    def __init__(self, listener: "Listener", tls: ListenerTls) -> None:
        self._listener = listener
        self._tls = tls
        self._peer = ""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        raw = cast(asyncio.Transport, transport)
        peer = raw.get_extra_info("peername")
        self._peer = peer[0] if isinstance(peer, tuple) else ""
        if self._listener.shakes_hands(self, self._peer):
            try:
                accepted = socket.socket(fileno=os.dup(raw.get_extra_info("socket").fileno()))
                accepted.setblocking(False)
            except OSError as error:  # no descriptor is left
                self._tls.failed("other", describe(error), self._peer)
                self._end()
            else:
                task = asyncio.get_running_loop().create_task(self._shake_hands(accepted))
                task.add_done_callback(partial(self._done, accepted))
                self._task = task
        raw.abort()

    def abort(self) -> None:
        if self._task is not None:
            self._task.cancel()

    async def _shake_hands(self, accepted: socket.socket) -> None:
        limits = self._listener.limits
        answering.set(accepted)  # for this task, and what the loop does on its behalf
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: cast(asyncio.Protocol, TlsDownstream(self._listener, self)),
                accepted,
                ssl=self._tls.context(),
                ssl_handshake_timeout=limits.header_timeout_seconds,
                ssl_shutdown_timeout=limits.body_timeout_seconds,
            )
        except OSError as error:
            self._tls.failed(*explain(error), self._peer)

    def _done(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        """The task has ended, perhaps before it began."""
        if task.cancelled():
            accepted.close()
        self._end()

    def _end(self) -> None:
        self._listener.shook_hands(self)
        self._listener.check_empty()


class TlsDownstream(Downstream):
    """One connection from a caller, behind TLS.

    Differs from a plain one only in how an end is said: with ``close_notify`` where TCP has its
    own half-close, also to a connection that was idle for too long (RFC 8446, 6.1).
    """

    def __init__(self, listener: "Listener", gate: TlsGate) -> None:
        super().__init__(listener)
        self._gate = gate
        self._was_idle = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._listener.shook_hands(self._gate)
        limit_reading(transport)
        super().connection_made(transport)

    def _half_close(self) -> None:
        """Send ``close_notify`` behind what is written, and go on reading.

        The transports can only close both ways, and asyncio's then cuts off a peer that is still
        sending. So the TLS object is told directly; what it has to say is sent when reading is
        resumed, on both loops.
        """
        transport = self._transport
        # It wants to read the peer's own, or complains of content that comes before that.
        with suppress(ssl.SSLError):
            transport.get_extra_info("ssl_object").unwrap()
        transport.pause_reading()
        transport.resume_reading()
        self._paused = False

    def _give_up(self, now: float) -> None:
        """As for a plain connection, except that the end of what is written may be in user space.

        The transport below TLS keeps it from us; whoever reads slowly has ``body_timeout`` for it.
        """
        if (
            self._reading == LINGER
            and not self._was_idle
            and not self._transport.is_closing()
            and self._transport.get_write_buffer_size() == 0
        ):
            self._transport.close()
            self.deadline = now + self._listener.limits.body_timeout_seconds
        else:
            super()._give_up(now)

    def expire(self, now: float) -> None:
        if self._reading == IDLE and not self._write_blocked and not self._transport.is_closing():
            self._end_idle()
        else:
            super().expire(now)

    def close_idle(self) -> None:
        if self._reading == IDLE:
            self._end_idle()

    def _end_idle(self) -> None:
        """Say goodbye and leave at the next sweep: a client's pool would not answer for long."""
        self._was_idle = True
        self._begin_linger()
        self.deadline = self._listener.clock()


def limit_reading(transport: asyncio.BaseTransport) -> None:
    """See ``READ_HIGH_WATER_BYTES``."""
    # Both loops' TLS transports have it, though no type says so.
    transport.set_read_buffer_limits(high=READ_HIGH_WATER_BYTES)  # type: ignore[attr-defined]


def explain(error: OSError) -> tuple[HandshakeFailure, str]:
    """Return the kind of a failed handshake and one line for the log."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "certificate_refused", describe(error)
    if isinstance(error, ssl.SSLError):
        reason = error.reason or ""
        if reason in _NOT_TLS:
            return "not_tls", describe(error)
        if reason in _PROTOCOL:
            return "protocol", describe(error)
        if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            return "no_certificate", describe(error)
        return ("refused_by_peer" if "ALERT" in reason else "other"), describe(error)
    if isinstance(error, ConnectionAbortedError | TimeoutError):
        return "timeout", "the handshake took too long"
    if isinstance(error, ConnectionError):
        return "gone", "the peer left during the handshake"
    return "other", describe(error)


def describe(error: OSError) -> str:
    """One line that says what TLS found wrong, without places in somebody's source."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {error.verify_message}"[:200]
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()[:200]
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return str(text)[:200]
