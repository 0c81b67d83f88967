"""What a transport does not tell, asked of the socket below it.

Only in rare moments: each question is a system call.
"""

import asyncio
import os
import select
from typing import Final

LAST_READ_BYTES: Final = 256 * 1024
"""As much as one read of a loop, so that the bound on memory stays what it is."""


def is_quiet(transport: asyncio.BaseTransport) -> bool:
    """Whether nothing is to be read, the peer's end of the connection included."""
    socket = transport.get_extra_info("socket")
    if socket is None or socket.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(socket.fileno(), select.POLLIN)
    return not poll.poll(0)


def last_read(transport: asyncio.BaseTransport) -> bytes:
    """Return what had arrived before the transport noticed that its connection is gone.

    A transport on which writing fails drops what it has not read, though the system still has it.
    What arrived under TLS is lost: whoever could decrypt it is gone with the transport.
    """
    socket = transport.get_extra_info("socket")
    if socket is None or socket.fileno() < 0 or transport.get_extra_info("sslcontext") is not None:
        return b""
    try:
        return os.read(socket.fileno(), LAST_READ_BYTES)
    except OSError:
        return b""
