"""Whether something listens at an address, found out by connecting and saying nothing."""

import asyncio
from typing import Final

PATIENCE_SECONDS: Final = 1.0


async def answers(host: str, port: int, *, patience_seconds: float = PATIENCE_SECONDS) -> bool:
    """Return whether a connection is accepted there. Never raises, and hangs up politely."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(patience_seconds):
            transport, _ = await loop.create_connection(asyncio.Protocol, host, port)
    except OSError:  # TimeoutError is one
        return False
    transport.close()  # not abort: a reset is what some servers complain about
    return True
