"""What the environment of the process must not change: where we connect, and as whom."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest

from sidecar.fetch.client import Fetcher, FetchError
from tests.fetch.conftest import Names
from tests.fetch.rude import rude, says

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy",
           "WS_PROXY", "WSS_PROXY")  # fmt: skip


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start from an environment without proxies."""
    for name in (*PROXIES, "NO_PROXY", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("exempt", ["", "idp.test", "*"])
@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_proxy_is_inherited(
    fetcher: Fetcher, names: Names, monkeypatch: pytest.MonkeyPatch, scheme: str, name: str,
    exempt: str,
) -> None:  # fmt: skip
    """The issuer is connected to, and the proxy is not, whatever the variables say."""
    names.addresses["idp.test"] = ["127.0.0.1"]
    came = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        came.set()
        await reader.read(1000)
        writer.write(OK)

    async with rude(says(OK)) as proxy, rude(answer, reads_head=False) as issuer:
        monkeypatch.setenv(name, f"http://user:pw@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", exempt)
        monkeypatch.setenv("no_proxy", exempt)
        url = f"{scheme}://idp.test:{issuer.port}/keys"
        with suppress(FetchError):  # over https: nobody there speaks TLS
            await fetcher.get(url, max_bytes=9, timeout_seconds=30, allow_plaintext=True)
        await asyncio.wait_for(came.wait(), 30)
        assert not proxy.left.is_set()
        assert proxy.heads == []


@pytest.mark.parametrize("machine", ["machine 127.0.0.1", "default"])
async def test_no_credentials_are_inherited(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machine: str
) -> None:
    """A ``.netrc`` gives nobody a password, in the home directory or where NETRC says."""
    path = tmp_path / ".netrc"
    path.write_text(f"{machine} login user password s3cret\n")
    path.chmod(0o600)
    monkeypatch.setenv("NETRC", str(path))
    monkeypatch.setenv("HOME", str(tmp_path))
    async with rude(says(OK)) as issuer:
        assert await fetcher.get(issuer.url, max_bytes=9, timeout_seconds=30) == b"{}"
    (head,) = issuer.heads
    assert b"authorization" not in head.lower()
    assert b"cookie" not in head.lower()
