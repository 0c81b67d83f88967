"""A name is looked up once for each connection, and what was checked is what is connected to."""

import socket
from collections.abc import Sequence

import pytest

from sidecar.fetch.client import Fetcher, FetchError
from tests.fetch.rude import rude, says

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
METADATA = "169.254.169.254"


class Rebinding:
    """Answers each time with the next of *answers*, as a hostile name server does."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def lookup(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        return self.answers.pop(0)


@pytest.fixture
def system_names(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What the system's resolver is asked that is not already an address."""
    asked: list[object] = []
    ask = socket.getaddrinfo

    def getaddrinfo(host: str, *rest: object, **more: object) -> object:
        if not host.replace(".", "").isdigit():
            asked.append(host)
        return ask(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


async def test_one_lookup_for_each_connection(system_names: list[object]) -> None:
    """An answer that would be another a moment later is not asked for a moment later."""
    names = Rebinding(["127.0.0.1"], [METADATA])
    async with rude(says(OK)) as server, Fetcher(lookup=names.lookup) as fetcher:
        url = f"http://idp.test:{server.port}/keys"
        found = await fetcher.get(url, max_bytes=9, timeout_seconds=30, allow_plaintext=True)
        assert (found, names.asked, system_names) == (b"{}", ["idp.test"], [])
        with pytest.raises(FetchError, match="link-local") as caught:
            await fetcher.get(url, max_bytes=9, timeout_seconds=30, allow_plaintext=True)
    assert caught.value.kind == "refused_address"
    assert (len(server.heads), names.asked) == (1, ["idp.test"] * 2)


async def test_next_address_without_a_lookup(system_names: list[object]) -> None:
    """Where the first address does not answer, the second of the same answer is tried."""
    names = Rebinding(["127.0.0.2", "127.0.0.1"], [METADATA])
    async with rude(says(OK)) as server, Fetcher(lookup=names.lookup) as fetcher:
        url = f"http://idp.test:{server.port}/keys"
        found = await fetcher.get(url, max_bytes=9, timeout_seconds=30, allow_plaintext=True)
    assert (found, names.asked, system_names) == (b"{}", ["idp.test"], [])


async def test_a_redirect_is_looked_up_and_checked_anew() -> None:
    """The name of a redirect is checked like the first, also where it is the same name."""
    names = Rebinding(["127.0.0.1"], [METADATA])
    away = says(b"HTTP/1.1 302 Found\r\nLocation: /next\r\nContent-Length: 0\r\n\r\n")
    async with rude(away) as server, Fetcher(lookup=names.lookup) as fetcher:
        url = f"http://idp.test:{server.port}/keys"
        with pytest.raises(FetchError, match="link-local"):
            await fetcher.get(url, max_bytes=9, timeout_seconds=30, allow_plaintext=True)
    assert (len(server.heads), names.asked) == (1, ["idp.test"] * 2)


async def test_the_system_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is with the system's resolver, whose second answer would be worse."""
    answers = ["127.0.0.1", METADATA]
    asked: list[str] = []
    ask = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *rest: int, **more: int) -> object:
        if host == "idp.test":
            asked.append(host)
            host = answers.pop(0)
        return ask(host, port, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with rude(says(OK)) as server, Fetcher() as fetcher:
        url = f"http://idp.test:{server.port}/keys"
        found = await fetcher.get(url, max_bytes=9, timeout_seconds=30, allow_plaintext=True)
        assert (found, asked) == (b"{}", ["idp.test"])
        with pytest.raises(FetchError, match="link-local"):
            await fetcher.get(url, max_bytes=9, timeout_seconds=30, allow_plaintext=True)
