"""Send a request as it is: clients that check what they send would not."""

import asyncio
from collections.abc import Iterable

from sidecar.config.model import Address

Fields = Iterable[tuple[bytes, bytes]]


async def send(
    address: Address, target: bytes, *, method: bytes = b"GET", fields: Fields = ()
) -> tuple[int, str, bytes]:
    """Send one request byte for byte; return status and reason of the answer, and its content."""
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in fields)
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            writer.write(
                method + b" " + target + b" HTTP/1.1\r\nhost: api.example\r\n"
                b"connection: close\r\n" + lines + b"\r\n"
            )
            head, _, content = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
    status, *answered = head.decode("latin-1").split("\r\n")
    reason = dict(line.lower().split(": ", 1) for line in answered).get("x-sidecar-reason", "")
    return int(status.split(" ")[1]), reason, content
