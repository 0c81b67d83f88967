"""More than fits anywhere: content of many megabytes, and how much of it a proxy keeps."""

import asyncio
import hashlib
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from sidecar.wire.upstream import WRITE_HIGH_WATER_BYTES
from tests.support.wire_peer import Peer

_BLOCK = bytes(range(256)) * 1024
MUST_WAIT = WRITE_HIGH_WATER_BYTES // 4
"""More than this is left in the buffer of a writer that was told to wait and not yet to go on: the
kernel may have taken the rest of what was over the mark."""


@dataclass(frozen=True)
class Volume:
    """Content of *size* bytes, a multiple of 256 KiB, sent and read as fast as the other side lets
    us.
    """

    size: int

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(_BLOCK * (self.size // len(_BLOCK))).digest()

    async def send(self, peer: Peer, *, chunked: bool = False) -> int:
        """Send all of it; return its size."""
        for _ in range(self.size // len(_BLOCK)):
            await peer.send(b"%x\r\n%b\r\n" % (len(_BLOCK), _BLOCK) if chunked else _BLOCK)
        if chunked:
            await peer.send(b"0\r\n\r\n")
        return self.size

    async def read(self, peer: Peer) -> bytes:
        """Read as many bytes; return their digest."""
        digest, left = hashlib.sha256(), self.size
        while left:
            data = await peer.some()
            assert data, f"{left} bytes are missing"
            digest.update(data)
            left -= len(data)
        return digest.digest()


def small_receive_buffer(peer: Peer) -> None:
    """Keep the kernel from hiding how much is on its way."""
    raw = peer.writer.get_extra_info("socket")
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)


class Buffering(Protocol):
    @property
    def buffered_bytes(self) -> int: ...


@contextmanager
def most_buffered(proxy: Buffering) -> Iterator[list[int]]:
    """Look at the memory of *proxy* in every turn of the loop; the list holds the most."""
    most = [0]

    async def watch() -> None:
        while True:
            most[0] = max(most[0], proxy.buffered_bytes)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    try:
        yield most
    finally:
        watching.cancel()
