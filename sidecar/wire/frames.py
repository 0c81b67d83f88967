"""Where WebSocket frames begin and end in one direction of a connection (RFC 6455, 5.2).

Sans-I/O, headers only: what is inside a frame, whether it is masked with which key or compressed,
is none of a proxy's business. It must know the boundaries to say something of its own between two
frames, and to pass on nothing whose end the two sides could see at different places.
"""

import os
from typing import Final

GOING_AWAY: Final = 1001
PROTOCOL_ERROR: Final = 1002

_CLOSE: Final = 0x8
_KNOWN_OPCODES: Final = frozenset((0x0, 0x1, 0x2, _CLOSE, 0x9, 0xA))
_FIN: Final = 0x80
_MASKED: Final = 0x80
_MAX_CONTROL_BYTES: Final = 125
_MASK_BYTES: Final = 4


class FrameError(Exception):
    """What was sent is no frame that this side may send.

    *good* is what came before it and was not passed on yet.
    """

    def __init__(self, detail: str, good: bytes) -> None:
        super().__init__(detail)
        self.detail = detail
        self.good = good


class FrameFollower:
    """Knows at every byte whether a frame is complete.

    A header is handed on only when it is whole and legal, so at most nine bytes are held and an
    illegal frame never begins on the other side.
    """

    __slots__ = ("_header", "_left", "_masked", "closed")

    def __init__(self, *, masked: bool) -> None:
        """*masked*: it is the client that sends; a client must mask and a server must not."""
        self._masked = masked
        self._header = b""
        self._left = 0
        self.closed = False
        """A Close frame has begun: nothing may follow it (RFC 6455, 5.5.1)."""

    @property
    def at_boundary(self) -> bool:
        """Whether whoever reads what was handed on is between two frames."""
        return self._left == 0

    @property
    def held_bytes(self) -> int:
        return len(self._header)

    def feed(self, data: bytes, *, one_frame: bool = False) -> bytes:
        """Return what of *data* may be passed on, after what was held.

        Bytes after a Close frame are dropped. *one_frame*: stop at the next boundary and drop
        what is after it, because something else will be said there.

        Raises:
            FrameError: a header that this side may not send.
        """
        if self._header:
            data = self._header + data
            self._header = b""
        position, end = 0, len(data)
        while position < end:
            if self._left:
                step = min(self._left, end - position)
                self._left -= step
                position += step
                if self._left == 0 and one_frame:
                    break
                continue
            if self.closed:
                break
            size = self._read_header(data, position)
            if size == 0:
                self._header = data[position:]
                break
            position += size
            if one_frame and self.at_boundary:
                break
        return data if position == end else data[:position]

    def _read_header(self, data: bytes, at: int) -> int:
        """Return the size of the header at *at*, without mask, or 0 while it is not complete."""
        if len(data) - at < 2:
            return 0
        first, second = data[at], data[at + 1]
        opcode, length = first & 0x0F, second & 0x7F
        size = 2
        if opcode not in _KNOWN_OPCODES:
            raise FrameError(f"a frame has the reserved opcode {opcode}", data[:at])
        if bool(second & _MASKED) != self._masked:
            must = "is not masked" if self._masked else "from a server is masked"
            raise FrameError(f"a frame {must}", data[:at])
        if opcode >= _CLOSE and (not first & _FIN or length > _MAX_CONTROL_BYTES):
            raise FrameError("a control frame is fragmented or too long", data[:at])
        if length >= 126:
            size = 4 if length == 126 else 10
            if len(data) - at < size:
                return 0
            length = int.from_bytes(data[at + 2 : at + size], "big")
            if length >> 63:
                raise FrameError("a frame's length has its highest bit set", data[:at])
        self._left = length + _MASK_BYTES if self._masked else length
        self.closed = opcode == _CLOSE
        return size


def close_frame(code: int, *, masked: bool) -> bytes:
    """Return a Close frame with *code*; what goes to a server must be *masked*."""
    payload = code.to_bytes(2, "big")
    if not masked:
        return bytes((_FIN | _CLOSE, len(payload))) + payload
    key = os.urandom(_MASK_BYTES)
    body = bytes(byte ^ key[index] for index, byte in enumerate(payload))
    return bytes((_FIN | _CLOSE, _MASKED | len(payload))) + key + body
