"""WebSocket handshakes and frames by hand, for peers that must be exact or rude."""

import base64
import hashlib

from tests.support.wire_peer import Peer

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""The pair of RFC 6455, section 1.3."""

UPGRADE = (
    b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + KEY + b"\r\n"
)
ASK = b"GET /chat HTTP/1.1\r\nHost: h\r\n" + UPGRADE + b"\r\n"
AGREE = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: " + ACCEPT + b"\r\n\r\n"
)


def accept_of(key: bytes) -> bytes:
    """What a server must answer to *key*, worked out apart from our own code."""
    guid = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return base64.b64encode(hashlib.sha1(key + guid).digest())


def text(payload: bytes, *, masked: bool, fin: bool = True, opcode: int = 1) -> bytes:
    """A short frame."""
    assert len(payload) < 126
    first = (0x80 if fin else 0) | opcode
    if not masked:
        return bytes((first, len(payload))) + payload
    key = b"\x01\x02\x03\x04"
    body = bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    return bytes((first, 0x80 | len(payload))) + key + body


def closing(code: int, *, masked: bool) -> bytes:
    """A Close frame with *code*."""
    return text(code.to_bytes(2, "big"), masked=masked, opcode=8)


async def read_frame(peer: Peer, *, masked: bool | None = None) -> tuple[int, bytes]:
    """Read a short frame: opcode, and payload without mask. It is *masked* where that is said."""
    first, second = await peer.exactly(2)
    assert masked is None or masked == bool(second & 0x80)
    key = await peer.exactly(4) if second & 0x80 else bytes(4)
    payload = await peer.exactly(second & 0x7F)
    return first & 0x0F, bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))


async def ask(peer: Peer) -> None:
    """Ask for a WebSocket and read the agreement."""
    await peer.send(ASK)
    answer = await peer.message()
    assert answer.status == 101, answer
