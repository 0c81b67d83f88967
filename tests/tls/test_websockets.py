"""WebSockets behind TLS: the tunnel takes over connections that are encrypted, on either side."""

from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from sidecar.config.model import DestinationTls, ListenerTls, Origin
from tests.journeys.test_websocket import app, conversation, dial, echo
from tests.support.certificates import Authority, client_context, server_context
from tests.support.pod import Pod, pod
from tests.support.wire_peer import until

NAME = "user-service.test"


async def direct() -> list[Any]:
    """What a client hears from the same server without anybody between."""
    async with app(echo) as origin, dial(origin.address) as client:
        return await conversation(client)


def dial_over_tls(running: Pod, authority: Authority) -> connect:
    return connect(
        f"wss://{running.bound.inbound}/users/chat",
        ssl=client_context(authority),
        server_hostname=NAME,
        additional_headers={"Authorization": f"Bearer {running.mint.token('alice')}"},
        proxy=None,
        max_size=None,
    )


async def test_from_a_caller_behind_tls(tmp_path: Path) -> None:
    """Everything is as it is direct, and the exchange ends with the connection."""
    authority = Authority()
    tls = ListenerTls(*authority.issue(NAME).write(tmp_path))
    async with app(echo) as origin, pod(tmp_path, inbound={"app": origin, "tls": tls}) as running:
        async with dial_over_tls(running, authority) as client:
            assert await conversation(client) == await direct()
        await until(lambda: len(running.wiring.ledger) == 0)


async def test_a_caller_behind_tls_is_told_when_the_pod_stops(tmp_path: Path) -> None:
    """With a Close frame, as one without TLS."""
    authority = Authority()
    tls = ListenerTls(*authority.issue(NAME).write(tmp_path))
    client: ClientConnection
    async with app(echo) as origin, pod(tmp_path, inbound={"app": origin, "tls": tls}) as running:
        client = await dial_over_tls(running, authority)
        await client.send("hello")
        assert await client.recv() == "hello"
        await running.sidecar.drain()
        await client.wait_closed()
    assert client.close_code == 1001


async def test_to_a_destination_behind_tls(tmp_path: Path) -> None:
    """The app speaks plainly, the wire is encrypted, and everything is as it is direct."""
    authority = Authority()
    tls = DestinationTls(authority.write(tmp_path), NAME)
    context = server_context(authority.issue(NAME), tmp_path)
    async with app(echo, ssl=context) as plain:
        origin = Origin("https", plain.host, plain.port)
        destination = {"upstream": origin, "token": "none", "tls": tls}
        async with (
            pod(tmp_path, destination=destination) as running,
            dial(running.bound.outbound["profiles"], "/chat") as client,
        ):
            assert await conversation(client) == await direct()
