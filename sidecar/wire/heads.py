"""Head of an HTTP/1.1 message as a value, and back to bytes.

Whoever forwards a head drops lines by their index and adds lines of its own; the framing and
``Connection`` lines are written here, from what was understood and not from what was sent.
"""

from typing import Final

from sidecar.core.outcome import Reason

HEAD_END: Final = b"\r\n\r\n"


class MessageError(Exception):
    """The peer sent something that is not the HTTP we accept. *reason* decides the answer."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def malformed(detail: str) -> MessageError:
    return MessageError(Reason.MESSAGE_MALFORMED, detail)


class RequestHead:
    """A request's head as understood. *lines* are the field lines, each with its CRLF.

    *marked* lists ``(mark, index into lines, value)`` for the fields that are not ordinary.
    Assigning ``b""`` to a line drops it.
    """

    __slots__ = (
        "chunked", "close", "expects", "host", "http10", "length", "lines", "marked", "method",
        "proxied", "takes_trailers", "target", "upgrade",
    )  # fmt: skip

    def __init__(self, method: bytes, target: bytes, lines: list[bytes]) -> None:
        self.method = method
        self.target = target
        self.lines = lines
        self.marked: list[tuple[int, int, bytes]] = []
        self.host = b""
        self.length = 0
        """Content-Length; meaningless where *chunked*."""
        self.chunked = False
        self.close = False
        """The connection ends after this exchange, by the peer's wish or version."""
        self.http10 = False
        self.expects = False
        """Content follows once the caller is told ``100 Continue``."""
        self.takes_trailers = False
        """The caller said ``TE: trailers``."""
        self.proxied = b""
        """The authority of a target in absolute form, or of ``CONNECT``."""
        self.upgrade = b""
        """The key of a request for a WebSocket; empty where nothing of that kind is asked."""

    @property
    def has_content(self) -> bool:
        return self.chunked or self.length > 0

    def serialize(self, target: bytes, extra: bytes, *, close: bool = False) -> bytes:
        """The head to send onward, with *extra* complete lines, as HTTP/1.1.

        *close* asks the next hop to end the connection after its answer.
        """
        framing = b"transfer-encoding: chunked\r\n" if self.chunked else b""
        if self.takes_trailers:
            # We pass them on, so we may ask for them on the caller's behalf (RFC 9110, 6.5.1).
            framing += b"te: trailers\r\n"
            framing += b"connection: te, close\r\n" if close else b"connection: te\r\n"
        elif close:
            framing += b"connection: close\r\n"
        return b"%b %b HTTP/1.1\r\n%b%b%b\r\n" % (
            self.method,
            target,
            b"".join(self.lines),
            extra,
            framing,
        )


class ResponseHead:
    """A response's head as understood; *lines* and *marked* as in ``RequestHead``."""

    __slots__ = ("chunked", "close", "length", "lines", "marked", "status", "status_line")

    def __init__(self, status: int, status_line: bytes, lines: list[bytes]) -> None:
        self.status = status
        self.status_line = status_line
        self.lines = lines
        self.marked: list[tuple[int, int, bytes]] = []
        self.length: int | None = None
        """Content-Length, ``None`` where absent."""
        self.chunked = False
        self.close = False

    def drop(self, mark: int) -> None:
        """Drop every line with *mark*."""
        for each, index, _ in self.marked:
            if each == mark:
                self.lines[index] = b""

    def serialize(self, extra: bytes) -> bytes:
        """The head to send onward, with *extra* complete lines, as HTTP/1.1."""
        return b"%b%b%b\r\n" % (self.status_line, b"".join(self.lines), extra)
