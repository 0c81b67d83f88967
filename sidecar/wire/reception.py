"""Where requests begin and end in the bytes that a caller sends.

Owns the buffer of what has arrived and not been taken, and the refusal of what is no request. What
happens with a request belongs to ``sidecar.wire.downstream``.
"""

from abc import abstractmethod
from typing import TYPE_CHECKING

from sidecar.core.outcome import Reason
from sidecar.wire.beginnings import is_hopeless
from sidecar.wire.heads import HEAD_END, MessageError, RequestHead
from sidecar.wire.pacing import HEAD, IDLE, PacedConnection
from sidecar.wire.request_head import parse_request_head

if TYPE_CHECKING:
    from sidecar.wire.listener import Listener


class RequestReception(PacedConnection):
    """Takes heads off the buffer, one exchange after the other."""

    def __init__(self, listener: "Listener") -> None:
        super().__init__(listener)
        self._buffer = b""
        self._looping = False

    @abstractmethod
    def _begin(self, head: RequestHead) -> None:
        """A request's head is complete; what follows it is in the buffer."""

    @abstractmethod
    def _refuse_message(self, reason: Reason, detail: str) -> None:
        """The bytes are no request: answer outside any exchange, and close."""

    def _read_requests(self) -> None:
        """Take requests off the buffer until one has to be waited for.

        A loop and not a recursion: a caller may send any number of requests at once.
        """
        if self._looping:
            return
        self._looping = True
        try:
            while self._buffer and self._reading <= HEAD and not self._write_blocked:
                if not self._read_head():
                    break
        finally:
            self._looping = False
        if self._write_blocked and self._buffer and self._reading <= HEAD:
            self._pause()

    def _read_head(self) -> bool:
        """Begin the exchange whose head is complete; false while it is not."""
        buffer = self._buffer
        listener = self._listener
        # One empty line is ignored (RFC 9112, 2.2).
        start = 2 if buffer.startswith(b"\r\n") else 0
        end = buffer.find(HEAD_END, start)
        if end < 0 or end - start > listener.limits.max_head_bytes:
            self._await_head(buffer, start)
            return False
        self._buffer = buffer[end + 4 :]
        try:
            head = self._parse(buffer[start : end + 2])
        except MessageError as error:
            self._refuse_message(error.reason, error.detail)
            return False
        self._begin(head)
        return True

    def _parse(self, raw: bytes) -> RequestHead:
        """Read a head; raises ``MessageError``."""
        return parse_request_head(raw, self._listener.names, self._listener.limits)

    def _await_head(self, buffer: bytes, start: int) -> None:
        limits = self._listener.limits
        if len(buffer) - start >= limits.max_head_bytes + len(HEAD_END):
            line_end = buffer.find(b"\r\n", start)
            if line_end < 0 or line_end - start > limits.max_target_bytes + 64:
                self._refuse_message(
                    Reason.TARGET_TOO_LONG, f"over {limits.max_target_bytes} bytes"
                )
            else:
                self._refuse_message(Reason.HEAD_TOO_LARGE, f"over {limits.max_head_bytes} bytes")
        elif is_hopeless(buffer, start):
            self._refuse_message(Reason.MESSAGE_MALFORMED, "what has arrived begins no request")
        elif self._reading == IDLE and len(buffer) > start:
            self._reading = HEAD
            self.deadline = self._listener.clock() + limits.header_timeout_seconds
