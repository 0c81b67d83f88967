"""Content of an HTTP/1.1 message: where it ends, and how it is framed for the next hop.

A reader is fed what arrived and gives back what to send on, plus the bytes that came after the
end. Nothing is kept but an unfinished chunk-size line (RFC 9112, 6 and 7).
"""

import re
from collections.abc import Callable
from typing import Final, Protocol

from sidecar.core.outcome import Reason
from sidecar.wire.field_lines import split_lines
from sidecar.wire.fields import is_token
from sidecar.wire.heads import MessageError

MAX_CHUNK_LINE_BYTES: Final = 256
MAX_CHUNK_OVERHEAD_BYTES: Final = 64 * 1024
"""Of chunk-size lines in one message, beyond what honest chunks need: 16 bytes each, and as much
again as their content. Lines of extensions before single bytes cost us work and carry nothing
(CVE-2023-39326)."""
MAX_TRAILER_BYTES: Final = 8 * 1024
MAX_TRAILER_FIELDS: Final = 64
_HONEST_LINE_BYTES: Final = 16

LAST_CHUNK: Final = b"0\r\n\r\n"

# Extensions are read for their grammar and dropped: a recipient must ignore the ones it does not
# know (RFC 9112, 7.1.1), and nobody knows any. White space in them (BWS) is refused though the RFC
# asks recipients to bear it: nobody sends it and other parsers disagree about it.
_CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,15})"
    rb"(?:;[!#$%&'*+.^_`|~0-9A-Za-z-]+"
    rb'(?:=(?:[!#$%&\'*+.^_`|~0-9A-Za-z-]+|"[\t\x20\x21\x23-\x5b\x5d-\x7e]*"))?)*'
)
_CHUNK_LINE_BEGINS = re.compile(rb"[0-9A-Fa-f]{1,15}(?:;[^\r\n]*)?\r?")
"""What the line may look like while its end has not come: junk is not waited for."""


class BodyReader(Protocol):
    """One message's content on its way through."""

    done: bool
    received: int
    """Content bytes so far, framing not counted."""

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """Return what to send on and what follows the content.

        Raises:
            MessageError: the framing is broken, or the content is over its bound.
        """
        ...

    def end(self) -> tuple[bool, bytes]:
        """The peer closed: whether the content is whole, and what to send on for that."""
        ...


class LengthBody:
    """Content of a known length, passed on as it comes."""

    __slots__ = ("_left", "done", "received")

    def __init__(self, length: int) -> None:
        self._left = length
        self.done = length == 0
        self.received = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        size = len(data)
        left = self._left
        if size < left:
            self._left = left - size
            self.received += size
            return data, b""
        self.done = True
        self.received += left
        self._left = 0
        if size == left:
            return data, b""
        return data[:left], data[left:]

    def end(self) -> tuple[bool, bytes]:
        return self.done, b""


class UntilCloseBody:
    """Content of a response that ends with its connection (RFC 9112, 6.3, item 8)."""

    __slots__ = ("_chunked", "done", "received")

    def __init__(self, *, chunked_onward: bool) -> None:
        self._chunked = chunked_onward
        self.done = False
        self.received = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        self.received += len(data)
        if not data or not self._chunked:
            return data, b""
        return b"%x\r\n%b\r\n" % (len(data), data), b""

    def end(self) -> tuple[bool, bytes]:
        self.done = True
        return True, LAST_CHUNK if self._chunked else b""


class ChunkedBody:
    """Chunked content, decoded strictly and framed anew (or left bare for HTTP/1.0).

    Trailers end here, unless the receiver has said that it takes them. In a request nobody can
    say so of the next hop, so a request's trailers always end here (RFC 9110, 6.5.1).
    """

    __slots__ = (
        "_bare", "_held", "_left", "_max", "_overhead", "_relay", "_trailers", "done", "received",
    )  # fmt: skip

    def __init__(
        self,
        *,
        chunked_onward: bool,
        max_bytes: int | None = None,
        relay: Callable[[list[bytes]], bytes] | None = None,
    ) -> None:
        """*relay* is given the trailer section's lines and returns the ones to send on."""
        self._bare = not chunked_onward
        self._relay = relay
        self._max = max_bytes
        self._held = b""
        self._left = 0
        """Bytes of the current chunk still to come, its CRLF included."""
        self._overhead = 0
        self._trailers = False
        self.done = False
        self.received = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        if self._held:
            data = self._held + data
            self._held = b""
        out: list[bytes] = []
        position = 0
        end = len(data)
        while position < end:
            if self._left:
                position = self._take_chunk(data, position, end, out)
            elif self._trailers:
                rest = self._take_trailers(data[position:], out)
                return b"".join(out), rest
            else:
                line_end = data.find(b"\r\n", position, position + MAX_CHUNK_LINE_BYTES)
                if line_end < 0:
                    self._hold_line(data[position:])
                    break
                self._begin_chunk(data[position:line_end])
                position = line_end + 2
        return b"".join(out), b""

    def end(self) -> tuple[bool, bytes]:
        return self.done, b""

    def _begin_chunk(self, line: bytes) -> None:
        match = _CHUNK_LINE.fullmatch(line)
        if match is None:
            raise MessageError(Reason.MESSAGE_MALFORMED, "a chunk-size line is malformed")
        size = int(match[1], 16)
        if size == 0:
            self._trailers = True
            return
        self._overhead = max(0, self._overhead + len(line) - _HONEST_LINE_BYTES - size)
        if self._overhead > MAX_CHUNK_OVERHEAD_BYTES:
            raise MessageError(Reason.MESSAGE_MALFORMED, "chunk extensions outweigh the content")
        self.received += size
        if self._max is not None and self.received > self._max:
            raise MessageError(Reason.BODY_TOO_LARGE, f"over {self._max} bytes")
        self._left = size + 2

    def _hold_line(self, rest: bytes) -> None:
        if len(rest) >= MAX_CHUNK_LINE_BYTES or not _CHUNK_LINE_BEGINS.fullmatch(rest):
            raise MessageError(Reason.MESSAGE_MALFORMED, "a chunk-size line is malformed")
        self._held = rest

    def _take_chunk(self, data: bytes, position: int, end: int, out: list[bytes]) -> int:
        left = self._left
        taken = min(end - position, left)
        content = max(min(taken, left - 2), 0)
        if content:
            part = data[position : position + content]
            out.append(part if self._bare else b"%x\r\n%b\r\n" % (content, part))
        # The CRLF may be cut in two: what is there of it must be right, the rest is awaited.
        if content < taken:
            expected = b"\n" if left == 1 else b"\r\n"
            if not expected.startswith(data[position + content : position + taken]):
                raise MessageError(Reason.MESSAGE_MALFORMED, "a chunk is not followed by CRLF")
        self._left = left - taken
        return position + taken

    def _take_trailers(self, data: bytes, out: list[bytes]) -> bytes:
        """Check the trailer section and send on what may be; return what follows."""
        if data.startswith(b"\r\n"):
            return self._finish(data[2:], out)
        end = data.find(b"\r\n\r\n", 0, MAX_TRAILER_BYTES + 4)
        if end < 0:
            line_ends = data.count(b"\r\n")
            if (
                len(data) >= MAX_TRAILER_BYTES + 4
                or data.count(b"\n") != line_ends
                or data.count(b"\r", 0, -1) > line_ends
            ):
                raise MessageError(Reason.MESSAGE_MALFORMED, "the trailer section is malformed")
            self._held = data
            return b""
        lines = split_lines(data[: end + 2], MAX_TRAILER_FIELDS)
        for line in lines:
            name, colon, _ = line.partition(b":")
            if not colon or not is_token(name):
                raise MessageError(Reason.MESSAGE_MALFORMED, "a trailer field is malformed")
        relayed = self._relay(lines) if self._relay is not None else b""
        return self._finish(data[end + 4 :], out, relayed)

    def _finish(self, rest: bytes, out: list[bytes], trailers: bytes = b"") -> bytes:
        self.done = True
        if not self._bare:
            out.append(b"0\r\n%b\r\n" % trailers if trailers else LAST_CHUNK)
        return rest
