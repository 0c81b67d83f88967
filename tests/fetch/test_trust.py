"""A file of authorities of the operator's own: only those, and read again when it changes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.fetch.client import Fetcher, FetchError
from tests.support.certificates import Authority, server_context


@pytest.fixture
def authority() -> Authority:
    """Who vouches for the server."""
    return Authority()


@pytest.fixture
async def url(authority: Authority, tmp_path: Path) -> AsyncIterator[str]:
    """An https server with content, reached by a redirect to itself."""

    async def content(_request: web.Request) -> web.Response:
        return web.Response(body=b"content")

    async def redirect(_request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/keys"})

    app = web.Application()
    app.router.add_get("/keys", content)
    app.router.add_get("/", redirect)
    runner = web.AppRunner(app)
    await runner.setup()
    context = server_context(authority.issue("127.0.0.1"), tmp_path)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


async def get(fetcher: Fetcher, url: str, ca: str) -> bytes:
    return await fetcher.get(url, max_bytes=100, timeout_seconds=30, ca=ca)


async def test_a_file_that_changes(url: str, authority: Authority, tmp_path: Path) -> None:
    """Trust follows the file, without a new client; the system's authorities are not asked."""
    ca = authority.write(tmp_path)
    async with Fetcher() as fetcher:
        assert await get(fetcher, url, ca) == b"content"
        (tmp_path / "ca.crt").write_bytes(Authority("another").pem)
        with pytest.raises(FetchError, match="certificate is not accepted"):
            await get(fetcher, url, ca)
        (tmp_path / "ca.crt").write_bytes(Authority("another").pem + authority.pem)
        assert await get(fetcher, url, ca) == b"content"


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (None, "the `ca` file cannot be read: No such file or directory"),
        (b"", "the `ca` file holds no certificate in PEM"),
        (b"x" * 2_000_000, "the `ca` file is larger than 1024KiB"),
    ],
)
async def test_a_file_that_is_none(
    url: str, authority: Authority, tmp_path: Path, content: bytes | None, cause: str
) -> None:
    """Without a usable file nobody is trusted, also where there was one before."""
    ca = Path(authority.write(tmp_path))
    async with Fetcher() as fetcher:
        assert await get(fetcher, url, str(ca)) == b"content"
        ca.unlink()
        if content is not None:
            ca.write_bytes(content)
        with pytest.raises(FetchError, match=cause) as caught:
            await get(fetcher, url, str(ca))
    assert caught.value.kind == "network_error"
    assert str(tmp_path) not in str(caught.value)


async def test_each_file_is_its_own(url: str, authority: Authority, tmp_path: Path) -> None:
    """What one issuer's file vouches for holds for requests that name it and no others."""
    good = authority.write(tmp_path)
    other = Authority("another").write(tmp_path, "other.crt")
    async with Fetcher() as fetcher:
        results = await asyncio.gather(
            get(fetcher, url, good),
            get(fetcher, url, other),
            fetcher.get(url, max_bytes=100, timeout_seconds=30),
            return_exceptions=True,
        )
    assert results[0] == b"content"
    assert all(isinstance(result, FetchError) for result in results[1:])
