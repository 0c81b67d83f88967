"""A browser's WebSocket has no Authorization: its token among the subprotocols, or in a cookie."""

import base64
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from sidecar.config import model
from sidecar.core.token_sources import TokenSource
from tests.journeys.test_websocket import app, dial, echo
from tests.support.pod import Pod, pod
from tests.support.websocket import AGREE, UPGRADE
from tests.support.wire_peer import Peer, connected
from tests.support.wire_proxy import Origin

PREFIX = "base64url.bearer.authorization.k8s.io."
SOURCES = (
    TokenSource("authorization"),
    TokenSource("cookie", "access_token"),
    TokenSource("websocket_protocol", PREFIX),
    TokenSource("websocket_protocol_after", "bearer"),
)


def by_prefix(token: str) -> str:
    return PREFIX + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def protocols(*names: str) -> list[Subprotocol]:
    return [Subprotocol(name) for name in names]


class Heard:
    """What a WebSocket server was asked, and an echo of what it is sent."""

    def __init__(self) -> None:
        self.fields: list[dict[str, list[str]]] = []

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        headers = connection.request.headers
        self.fields.append({name.lower(): headers.get_all(name) for name in headers})
        await echo(connection)


async def talk(
    running: Pod, offered: list[Subprotocol] | None, path: str = "/users/chat", **options: Any
) -> str | None:
    """Open a WebSocket, use it, and return the subprotocol that was selected."""
    address = running.bound.inbound
    async with dial(address, path, subprotocols=offered, **options) as client:
        await client.send("hello")
        assert await client.recv() == "hello"
        return client.subprotocol


@pytest.mark.parametrize("way", ["prefix", "prefix last", "marker", "marker last"])
async def test_a_token_among_the_subprotocols_opens_the_websocket(tmp_path: Path, way: str) -> None:
    """The app is offered the others alone, selects one of them, and calls as the caller."""
    heard = Heard()
    async with (
        app(heard, subprotocols=protocols("chat")) as origin,
        pod(tmp_path, inbound={"app": origin, "token_sources": SOURCES}) as running,
    ):
        token = running.mint.token("alice")
        offered = {
            "prefix": protocols(by_prefix(token), "v2", "chat"),
            "prefix last": protocols("v2", "chat", by_prefix(token)),
            "marker": protocols("bearer", token, "v2", "chat"),
            "marker last": protocols("v2", "chat", "bearer", token),
        }
        async with dial(running.bound.inbound, subprotocols=offered[way]) as client:
            assert client.subprotocol == "chat"
            (fields,) = heard.fields
            assert fields["sec-websocket-protocol"] == ["v2, chat"]
            assert fields["x-auth-subject"] == ["alice"]
            assert token not in str(fields)
            answer = await running.call_out(fields["x-sidecar-context"][0])
            assert answer.status == 200
            (called,) = running.destination.received
            assert called.values("authorization") == [f"Bearer {token}"]


async def test_an_app_without_subprotocols_needs_no_change(tmp_path: Path) -> None:
    """A browser wants one of its offer selected: the marker is, although the app never saw it."""
    heard = Heard()
    async with (
        app(heard) as origin,
        pod(tmp_path, inbound={"app": origin, "token_sources": SOURCES}) as running,
    ):
        token = running.mint.token("alice")
        assert await talk(running, protocols("bearer", token)) == "bearer"
        assert await talk(running, protocols("chat", "bearer", token)) == "bearer"
        # Who offers the prefix alone is told of no selection, which only browsers mind.
        assert await talk(running, protocols(by_prefix(token))) is None
        offered = [fields.get("sec-websocket-protocol") for fields in heard.fields]
        assert offered == [None, ["chat"], None]
        # Where anyone may come in, the token is not verified and does not pass either.
        assert await talk(running, protocols("bearer", "unverified"), path="/open/x") == "bearer"
        assert "unverified" not in str(heard.fields)


async def test_a_cookie_opens_the_websocket(tmp_path: Path) -> None:
    """Which a browser sends of itself; the app gets the other cookies."""
    heard = Heard()
    async with (
        app(heard) as origin,
        pod(tmp_path, inbound={"app": origin, "token_sources": SOURCES}) as running,
    ):
        token = running.mint.token("alice")
        headers = {"Cookie": f"theme=dark; access_token={token}"}
        assert await talk(running, None, additional_headers=headers) is None
        assert heard.fields[0]["cookie"] == ["theme=dark"]
        assert heard.fields[0]["x-auth-subject"] == ["alice"]


@pytest.mark.parametrize(
    ("offer", "status", "reason"),
    [
        (["chat"], 401, "token_missing"),
        (["bearer"], 401, "token_malformed"),
        (["chat", PREFIX], 401, "token_malformed"),
        ([PREFIX + "a.b.c"], 401, "token_malformed"),
        (["bearer", "EXPIRED"], 401, "token_expired"),
        ([PREFIX + "GOOD", "bearer", "GOOD"], 400, "token_repeated"),
    ],
)
async def test_a_bad_offer_is_refused_before_the_app_hears_of_it(
    tmp_path: Path, offer: list[str], status: int, reason: str
) -> None:
    """As every request with a bad token, or with two."""
    heard = Heard()
    async with (
        app(heard) as origin,
        pod(tmp_path, inbound={"app": origin, "token_sources": SOURCES}) as running,
    ):
        good, expired = running.mint.token("alice"), running.mint.expired("alice")
        offered = protocols(
            *(each.replace("GOOD", good).replace("EXPIRED", expired) for each in offer)
        )
        with pytest.raises(InvalidStatus) as caught:
            await talk(running, offered)
        response = caught.value.response
        assert (response.status_code, response.headers["x-sidecar-reason"]) == (status, reason)
        assert heard.fields == []


async def test_a_token_cannot_be_selected(tmp_path: Path) -> None:
    """Not even by an app that was given the token, and answers with what it was not offered."""
    for form in ("prefix", "marker"):

        async def serving(peer: Peer, form: str = form) -> None:
            asked = await peer.message()
            given = (asked.get(b"authorization") or b"").removeprefix(b"Bearer ").decode()
            selected = by_prefix(given) if form == "prefix" else "bearer"
            line = f"Sec_WebSocket_Protocol: {selected}\r\n\r\n".encode()
            await peer.send(AGREE.removesuffix(b"\r\n") + line)
            await peer.rest()

        origin = Origin(serving)
        async with (
            origin.running(),
            pod(
                tmp_path,
                inbound={
                    "app": model.Origin("http", "127.0.0.1", origin.port),
                    "token_sources": SOURCES,
                    "token_to_app": "forward",
                },
            ) as running,
            connected(running.bound.inbound.host, running.bound.inbound.port) as peer,
        ):
            token = running.mint.token("alice")
            await peer.send(
                b"GET /users/x HTTP/1.1\r\nHost: h\r\n"
                b"Sec-WebSocket-Protocol: %b\r\n%b\r\n" % (by_prefix(token).encode(), UPGRADE)
            )
            answer = await peer.message()
            assert answer.status == 101
            assert answer.all(b"sec_websocket_protocol") == []
            assert answer.all(b"sec-websocket-protocol") == []
