"""Calls of the app with a token in a configured header or cookie: ours goes to nobody that way."""

import asyncio
from pathlib import Path

import pytest

from sidecar.core.token_sources import TokenSource
from tests.support.http import App, Fields, Request, fetch
from tests.support.inflight import arrive, call_with
from tests.support.pod import LOOPBACK, Pod, pod

SOURCES = (
    TokenSource("authorization"),
    TokenSource("header", "X-Access-Token"),
    TokenSource("cookie", "access_token"),
)
STRICT = ("x-sidecar-carrier", "python/0.1; grade=strict")
OWN = [("x-access-token", "api-key"), ("cookie", "theme=dark; access_token=opaque")]
"""The app's own, for somebody else."""


def places(value: str) -> list[tuple[str, str]]:
    return [
        ("x-access-token", value),
        ("x_access_token", f"Bearer {value}"),
        ("cookie", f"theme=dark; access_token={value}; access%5ftoken={value}"),
        ("cookie", f'access_token="Bearer {value}"'),
    ]


def sent_on(request: Request) -> list[tuple[str, str]]:
    """What went out beside host, framing and our own credential."""
    own = ("host", "authorization", "accept")
    return [field for field in request.fields if field[0] not in own]


async def called(running: Pod, handle: str, fields: Fields) -> Request:
    answer, request = await call_with(running, [STRICT, ("x-sidecar-context", handle), *fields])
    assert answer.status == 200
    assert request is not None
    return request


async def tokens(running: Pod, live: str, handle: str) -> list[str]:
    """A live request's token, another of the same issuer, and a handle."""
    return [live, running.mint.token("bob"), handle]


async def test_a_listed_destination_gets_our_token_as_authorization_alone(tmp_path: Path) -> None:
    """What a rule attaches comes once, and what the app wrote elsewhere does not go along."""
    async with pod(tmp_path, automatic=False, inbound={"token_sources": SOURCES}) as running:
        token = running.mint.token("alice")
        alice = await arrive(running, token)
        for value in await tokens(running, token, alice.handle):
            request = await called(running, alice.handle, places(value))
            assert request.values("authorization") == [f"Bearer {token}"]
            assert value not in str(sent_on(request))
            if value != alice.handle:  # a line with a handle goes as a whole
                assert sent_on(request) == [("cookie", "theme=dark")]
        request = await called(running, alice.handle, OWN)
        assert sent_on(request) == OWN
        await alice.end()


@pytest.mark.parametrize("keeps", [False, True])
async def test_a_destination_without_token_gets_none(tmp_path: Path, keeps: bool) -> None:
    """Of a live request never; another of our issuers only where the app may have its own."""
    destination = {"token": "none", "app_credentials": "keep" if keeps else "refuse"}
    async with pod(
        tmp_path, automatic=False, inbound={"token_sources": SOURCES}, destination=destination
    ) as running:
        token = running.mint.token("alice")
        alice = await arrive(running, token)
        live, other, handle = await tokens(running, token, alice.handle)
        assert live not in str((await called(running, handle, places(live))).fields)
        assert handle not in str((await called(running, handle, places(handle))).fields)
        request = await called(running, handle, places(other))
        assert (other in str(request.fields)) is keeps
        await alice.end()


async def test_an_observed_destination_gets_what_the_app_sent(tmp_path: Path) -> None:
    """Observing changes nothing but handles."""
    async with pod(
        tmp_path,
        automatic=False,
        inbound={"token_sources": SOURCES},
        destination={"mode": "observe"},
    ) as running:
        token = running.mint.token("alice")
        alice = await arrive(running, token)
        request = await called(running, alice.handle, places(token))
        assert sent_on(request) == places(token)
        await alice.end()


async def test_a_third_party_gets_what_is_the_apps_own(tmp_path: Path) -> None:
    """Through the forward proxy; by default no place but Authorization is looked at."""
    third = App(automatic=True)
    for sources in (SOURCES, SOURCES[:1]):
        async with (
            third.running(),
            pod(
                tmp_path,
                automatic=False,
                inbound={"token_sources": sources},
                outbound={"proxy": LOOPBACK},
            ) as running,
        ):
            token = running.mint.token("alice")
            alice = await arrive(running, token)
            proxy, host = running.bound.proxy, str(third.origin.address)
            assert proxy is not None
            for value in await tokens(running, token, alice.handle):
                answer = await fetch(proxy, f"http://{host}/", host=host, fields=places(value))
                assert answer.status == 200
                sent = str(third.received.pop().fields)
                assert (value in sent) is (sources != SOURCES and value != alice.handle)
            answer = await fetch(proxy, f"http://{host}/", host=host, fields=OWN)
            assert answer.status == 200
            assert sent_on(third.received.pop()) == OWN
            await asyncio.wait_for(alice.end(), 10)
