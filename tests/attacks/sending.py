"""Send a credential as it is: clients that check what they send would not."""

import asyncio

from sidecar.config.model import Address


async def answer_to(address: Address, value: bytes) -> tuple[int, str]:
    """Send *value* as Authorization, byte for byte; return status and reason of the answer."""
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection(address.host, address.port)
        try:
            writer.write(
                b"GET /users/alice HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: "
                + value
                + b"\r\n\r\n"
            )
            head, _, _ = (await reader.read()).partition(b"\r\n\r\n")
        finally:
            writer.close()
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines)
    return int(status.split(" ")[1]), fields.get("x-sidecar-reason", "")
