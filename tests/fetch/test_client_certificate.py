"""A certificate of ours, shown to a server that demands one, and replaced while we run."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.fetch.client import ClientCertificate, Fetcher, FetchError
from tests.support.certificates import Authority, server_context


@pytest.fixture
def authority() -> Authority:
    """Who vouches for both sides."""
    return Authority()


@pytest.fixture
async def url(authority: Authority, tmp_path: Path) -> AsyncIterator[str]:
    """An https server that demands a certificate, and tells whose it got."""

    async def who(request: web.Request) -> web.Response:
        assert request.transport is not None
        subject = request.transport.get_extra_info("peercert")["subject"]
        return web.Response(text=subject[0][0][1])

    app = web.Application()
    app.router.add_post("/", who)
    runner = web.AppRunner(app)
    await runner.setup()
    context = server_context(authority.issue("127.0.0.1"), tmp_path, client_ca=authority)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    yield f"https://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    """A client."""
    async with Fetcher() as fetcher:
        yield fetcher


async def ask(fetcher: Fetcher, url: str, ca: str, shown: ClientCertificate | None) -> str:
    answer = await fetcher.post_form(
        url, [], authorization=None, max_bytes=100, timeout_seconds=30, ca=ca, certificate=shown
    )
    return answer.content.decode()


async def test_it_is_shown(
    url: str, fetcher: Fetcher, authority: Authority, tmp_path: Path
) -> None:
    """With it the server answers, without it there is no answer."""
    ca = authority.write(tmp_path)
    shown = ClientCertificate(*authority.issue("me", usage="client").write(tmp_path))
    assert await ask(fetcher, url, ca, shown) == "me"
    with pytest.raises(FetchError) as caught:
        await ask(fetcher, url, ca, None)
    assert caught.value.kind == "network_error"


async def test_it_follows_its_files(
    url: str,
    fetcher: Fetcher,
    authority: Authority,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Between two halves of a new one the old is shown, which one line says."""
    ca = authority.write(tmp_path)
    certificate, key = authority.issue("old", usage="client").write(tmp_path)
    shown = ClientCertificate(certificate, key)
    assert await ask(fetcher, url, ca, shown) == "old"
    new = authority.issue("new", usage="client")
    Path(certificate).write_bytes(new.certificate)
    for _ in range(3):
        assert await ask(fetcher, url, ca, shown) == "old"
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith(f"{key} does not fit the certificate")
    Path(key).write_bytes(new.key)
    assert await ask(fetcher, url, ca, shown) == "new"
    Path(key).unlink()
    assert await ask(fetcher, url, ca, shown) == "new"


async def test_who_is_trusted_does_not_linger(
    url: str, fetcher: Fetcher, authority: Authority, tmp_path: Path
) -> None:
    """A broken certificate of ours keeps no authority in use that is not in the file any more."""
    ca = authority.write(tmp_path)
    certificate, key = authority.issue("me", usage="client").write(tmp_path)
    shown = ClientCertificate(certificate, key)
    assert await ask(fetcher, url, ca, shown) == "me"
    Path(ca).write_bytes(Authority("another").pem)
    Path(key).write_bytes(b"")
    with pytest.raises(FetchError, match="the `key` file holds no usable private key"):
        await ask(fetcher, url, ca, shown)


async def test_there_has_to_be_one(
    url: str, fetcher: Fetcher, authority: Authority, tmp_path: Path
) -> None:
    """Files that were never any good are an error that says which."""
    ca = authority.write(tmp_path)
    shown = ClientCertificate(str(tmp_path / "no.crt"), str(tmp_path / "no.key"))
    with pytest.raises(FetchError, match="the `certificate` file cannot be read"):
        await ask(fetcher, url, ca, shown)
