"""Neither the environment nor an answer decides where a request goes, or what it carries."""

import asyncio
import base64
import gzip
import tracemalloc
from pathlib import Path

import pytest
from aiohttp import web

from sidecar.fetch.client import Fetcher, FetchError
from tests.fetch.conftest import Names, ServeBytes
from tests.fetch.test_client import AiohttpServer, content, get, redirect_to, refusal, serve
from tests.support.certificates import Authority, server_context

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy")


async def test_no_inherited_proxy_for_tls(
    tmp_path: Path, aiohttp_server: AiohttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in the environment is not used for https either, whatever NO_PROXY says."""
    asked: list[str] = []

    async def proxy(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(body=b"from the proxy")

    trap = web.Application()
    trap.router.add_route("*", "/{any:.*}", proxy)
    url = str((await aiohttp_server(trap)).make_url("/"))
    for name in PROXY_VARIABLES:
        monkeypatch.setenv(name, url)
    monkeypatch.setenv("NO_PROXY", "somewhere.else")
    authority = Authority()
    app = web.Application()
    app.router.add_get("/keys", content)
    runner = web.AppRunner(app)
    await runner.setup()
    context = server_context(authority.issue("127.0.0.1"), tmp_path)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        async with Fetcher() as fetcher:
            got = await fetcher.get(
                f"https://127.0.0.1:{runner.addresses[0][1]}/keys",
                max_bytes=100,
                timeout_seconds=30,
                ca=authority.write(tmp_path),
            )
    finally:
        await runner.cleanup()
    assert got == b"content"
    assert asked == []


async def test_no_credentials_of_a_netrc(
    fetcher: Fetcher,
    aiohttp_server: AiohttpServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Credentials that a .netrc holds for the host are not sent."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password s3cret\ndefault login x password y")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    seen: list[str | None] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        return web.Response(body=b"content")

    server = await serve(aiohttp_server, keys=handler)
    assert await get(fetcher, server.make_url("/keys")) == b"content"
    assert seen == [None]


async def test_no_credential_goes_where_a_redirect_points(
    fetcher: Fetcher, aiohttp_server: AiohttpServer
) -> None:
    """Neither a credential in the new URL nor one of the first server is sent on."""
    seen: list[web.BaseRequest] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request)
        return web.Response(body=b"content")

    async def sets_a_cookie(request: web.Request) -> web.Response:
        answer = web.Response(status=302, headers={"Location": "/keys"})
        answer.set_cookie("session", "s3cret", path="/")
        return answer

    server = await serve(aiohttp_server, keys=handler, login=sets_a_cookie)
    assert await get(fetcher, server.make_url("/login")) == b"content"
    assert not {"Cookie", "Authorization", "Proxy-Authorization"} & set(seen[0].headers)
    credentials = base64.b64encode(b"user:s3cret").decode()
    named = server.make_url("/keys").with_user("user").with_password("s3cret")
    first = await serve(aiohttp_server, keys=redirect_to(str(named)))
    error = await refusal(fetcher, first.make_url("/keys"))
    assert error.kind == "refused_address"
    assert "s3cret" not in str(error)
    assert credentials not in str(error)
    assert len(seen) == 1


async def test_a_byte_at_a_time(fetcher: Fetcher, aiohttp_server: AiohttpServer) -> None:
    """A server that always sends a little more is given up in the same time as a silent one."""
    gone = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b" ")
                await asyncio.sleep(0.01)
        finally:
            gone.set()

    server = await serve(aiohttp_server, keys=handler)
    with pytest.raises(FetchError, match=r"no complete answer within 0\.2 s"):
        await fetcher.get(str(server.make_url("/keys")), max_bytes=10**6, timeout_seconds=0.2)
    await asyncio.wait_for(gone.wait(), 30)


async def test_a_bomb_is_not_lit(fetcher: Fetcher, serve_bytes: ServeBytes) -> None:
    """A compressed answer a thousand times larger inside costs no memory, whatever it claims."""
    body = gzip.compress(b" " * 50_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
    for coding in (b"gzip", b"x-gzip", b"identity, gzip", b"GZIP"):
        url = await serve_bytes(head % (coding, len(body)) + body)
        tracemalloc.start()
        assert "content coding" in str(await refusal(fetcher, url))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 5_000_000


async def test_a_second_lookup_would_lead_elsewhere(
    aiohttp_server: AiohttpServer,
) -> None:
    """The address connected to is the one that was checked: the name is not looked up again."""
    answers = iter([["127.0.0.1"], ["169.254.169.254"], ["169.254.169.254"]])

    async def rebinding(_host: str, _port: int) -> list[str]:
        return next(answers)

    server = await serve(aiohttp_server, keys=content)
    url = f"http://idp.test:{server.port}/keys"
    async with Fetcher(lookup=rebinding) as fetcher:
        assert await get(fetcher, url, allow_plaintext=True) == b"content"
        error = await refusal(fetcher, url, allow_plaintext=True)
    assert error.kind == "refused_address"


async def test_a_redirect_to_a_name_that_is_metadata(
    fetcher: Fetcher, names: Names, aiohttp_server: AiohttpServer
) -> None:
    """A second name is looked up and checked like the first."""
    names.addresses = {"idp.test": ["127.0.0.1"], "next.test": ["100.100.100.200"]}
    server = await serve(aiohttp_server, keys=redirect_to("http://next.test/keys"))
    error = await refusal(fetcher, f"http://idp.test:{server.port}/keys", allow_plaintext=True)
    assert str(error) == "next.test: metadata addresses are refused"
