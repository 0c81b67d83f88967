"""The client against real servers that behave well, badly and with intent."""

import asyncio
import gc
import gzip
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest
import uvloop
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.fetch.client import Fetcher, FetchError
from tests.fetch.conftest import Names, ServeBytes

AiohttpServer = Callable[[web.Application], Awaitable[TestServer]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def serve(aiohttp_server: AiohttpServer, **handlers: Handler) -> TestServer:
    """Serve each handler at the path of its name."""
    app = web.Application()
    for name, handler in handlers.items():
        app.router.add_get(f"/{name}", handler)
    return await aiohttp_server(app)


async def get(fetcher: Fetcher, url: object, *, allow_plaintext: bool = False) -> bytes:
    return await fetcher.get(
        str(url), max_bytes=1000, timeout_seconds=30, allow_plaintext=allow_plaintext
    )


async def refusal(fetcher: Fetcher, url: object, *, allow_plaintext: bool = False) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await get(fetcher, url, allow_plaintext=allow_plaintext)
    assert "\n" not in str(caught.value)
    return caught.value


def redirect_to(location: str) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": location})

    return handler


async def content(request: web.Request) -> web.Response:
    return web.Response(body=b"content", content_type="text/html")


async def test_content_is_returned(fetcher: Fetcher, aiohttp_server: AiohttpServer) -> None:
    """The content of a 200 answer is returned, whatever type it claims to have."""
    server = await serve(aiohttp_server, keys=content)
    assert await get(fetcher, server.make_url("/keys")) == b"content"


async def test_request_is_plain(fetcher: Fetcher, aiohttp_server: AiohttpServer) -> None:
    """The request asks for identity coding and carries neither cookies nor credentials."""
    seen: list[web.BaseRequest] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append(request)
        response = web.Response(body=b"{}")
        response.set_cookie("session", "1")
        return response

    server = await serve(aiohttp_server, keys=handler)
    for _ in range(2):
        await get(fetcher, server.make_url("/keys"))
    for request in seen:
        assert request.headers["Accept-Encoding"] == "identity"
        assert "Cookie" not in request.headers
        assert "Authorization" not in request.headers


async def test_proxy_of_the_environment_is_ignored(
    fetcher: Fetcher, aiohttp_server: AiohttpServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in the environment is not used: it would see and choose what we are given."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    server = await serve(aiohttp_server, keys=content)
    assert await get(fetcher, server.make_url("/keys")) == b"content"


@pytest.mark.parametrize("status", [201, 204, 206, 304, 401, 404, 500, 503])
async def test_other_statuses_are_refused(
    fetcher: Fetcher, aiohttp_server: AiohttpServer, status: int
) -> None:
    """Only 200 is an answer; the error names host and status, and nothing else of the URL."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(status=status, body=None if status in {204, 304} else b"content")

    server = await serve(aiohttp_server, keys=handler)
    error = await refusal(fetcher, server.make_url("/keys").with_query(secret="s3cret"))
    assert str(error) == f"127.0.0.1:{server.port}: answered with status {status}"
    assert error.kind == "http_error"


async def test_content_at_the_limit_is_accepted(
    fetcher: Fetcher, aiohttp_server: AiohttpServer
) -> None:
    """Content of exactly the allowed length is returned, one byte more is refused."""
    lengths = iter((1000, 1001))

    async def handler(request: web.Request) -> web.Response:
        return web.Response(body=b"x" * next(lengths))

    server = await serve(aiohttp_server, keys=handler)
    assert len(await get(fetcher, server.make_url("/keys"))) == 1000
    error = await refusal(fetcher, server.make_url("/keys"))
    assert "larger than 1000 bytes" in str(error)
    assert error.kind == "http_error"


async def test_endless_content_is_cut(fetcher: Fetcher, aiohttp_server: AiohttpServer) -> None:
    """The limit holds while streaming, when no length was announced."""
    gone = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            while True:
                await response.write(b"x" * 500)
        finally:
            gone.set()

    server = await serve(aiohttp_server, keys=handler)
    assert "larger than" in str(await refusal(fetcher, server.make_url("/keys")))
    await asyncio.wait_for(gone.wait(), 30)


async def test_silence_ends_in_time(fetcher: Fetcher, aiohttp_server: AiohttpServer) -> None:
    """One time limit bounds the whole, also when the answer has begun."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"begun")
        await asyncio.Event().wait()
        return response

    server = await serve(aiohttp_server, keys=handler)
    with pytest.raises(FetchError, match=r"no complete answer within 0\.05 s") as caught:
        await fetcher.get(str(server.make_url("/keys")), max_bytes=1000, timeout_seconds=0.05)
    assert caught.value.kind == "network_error"


async def test_coded_answer_is_refused(fetcher: Fetcher, serve_bytes: ServeBytes) -> None:
    """A compressed answer is refused rather than expanded."""
    body = gzip.compress(b"{}" * 1000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)
    error = await refusal(fetcher, await serve_bytes(head + body))
    assert "content coding" in str(error)
    assert error.kind == "http_error"


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (b"", "closed before an answer"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "ended early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nshort", "ended early"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not valid HTTP"),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not valid HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: nonsense\r\n\r\n", "not valid HTTP"),
    ],
)
async def test_broken_answers_are_errors(
    fetcher: Fetcher, serve_bytes: ServeBytes, answer: bytes, cause: str
) -> None:
    """An answer that is cut short or not HTTP is an error, never partial content."""
    error = await refusal(fetcher, await serve_bytes(answer))
    assert cause in str(error)
    assert error.kind == "network_error"


async def test_no_tls_where_tls_is_meant(fetcher: Fetcher, serve_bytes: ServeBytes) -> None:
    """A server that does not speak TLS on an https port is named as such."""
    url = (await serve_bytes(b"HTTP/1.1 200 OK\r\n\r\n")).replace("http:", "https:")
    error = await refusal(fetcher, url)
    assert "no TLS connection" in str(error)
    assert error.kind == "network_error"


async def test_name_that_cannot_be_looked_up() -> None:
    """A name the system's resolver chokes on is an error like any other."""
    async with Fetcher() as system:
        error = await refusal(system, f"https://{'x' * 64}.test/")
    assert "the request failed" in str(error)
    assert error.kind == "network_error"


async def test_nobody_listens(fetcher: Fetcher, unused_tcp_port: int) -> None:
    """A refused connection is named as such."""
    error = await refusal(fetcher, f"http://127.0.0.1:{unused_tcp_port}/")
    assert str(error).endswith("no connection could be made: Connection refused")
    assert error.kind == "network_error"


async def test_unknown_name(fetcher: Fetcher, names: Names) -> None:
    """A name that does not resolve is named as such."""
    names.addresses["empty.test"] = []
    for host in ("nowhere.test", "empty.test"):
        error = await refusal(fetcher, f"https://{host}/")
        assert str(error) == f"{host}: the name does not resolve"
        assert error.kind == "network_error"


async def test_url_is_checked_before_anything_is_asked(fetcher: Fetcher, names: Names) -> None:
    """A refused URL causes no lookup, and its credentials are not repeated."""
    names.addresses["idp.test"] = ["127.0.0.1"]
    for url in (
        "http://idp.test/",
        "https://user:s3cret@idp.test/",
        "https://idp test/",
        "gopher:",
    ):
        error = await refusal(fetcher, url)
        assert error.kind == "refused_address"
        assert "s3cret" not in str(error)
    assert names.asked == []


@pytest.mark.parametrize(
    "addresses",
    [["169.254.169.254"], ["fd00:ec2::254"], ["127.0.0.1", "169.254.169.254"], ["fe80::1%eth0"]],
)
async def test_addresses_are_checked_after_the_lookup(
    fetcher: Fetcher, names: Names, addresses: list[str]
) -> None:
    """A name with even one refused address is not connected to."""
    names.addresses["idp.test"] = addresses
    error = await refusal(fetcher, "https://idp.test/")
    assert "addresses are refused" in str(error)
    assert error.kind == "refused_address"


async def test_localhost_must_be_loopback(fetcher: Fetcher, names: Names) -> None:
    """Plain http to localhost goes nowhere if somebody made localhost another machine."""
    names.addresses["localhost"] = ["10.0.0.1"]
    error = await refusal(fetcher, "http://localhost:1/")
    assert "does not resolve to a loopback" in str(error)
    assert error.kind == "refused_address"


async def test_checked_address_is_the_one_used(
    fetcher: Fetcher, names: Names, aiohttp_server: AiohttpServer
) -> None:
    """Each request looks the name up once, so a second answer cannot replace a checked one."""
    server = await serve(aiohttp_server, keys=content)
    names.addresses["idp.test"] = ["127.0.0.1"]
    url = f"http://idp.test:{server.port}/keys"
    for _ in range(2):
        assert await get(fetcher, url, allow_plaintext=True) == b"content"
    assert names.asked == ["idp.test", "idp.test"]
    names.addresses["idp.test"] = ["169.254.169.254"]
    assert (await refusal(fetcher, url, allow_plaintext=True)).kind == "refused_address"


async def test_redirects_are_followed(fetcher: Fetcher, aiohttp_server: AiohttpServer) -> None:
    """Three redirects are followed, relative ones too; a fourth is an error."""
    server = await serve(
        aiohttp_server,
        four=redirect_to("/three"),
        three=redirect_to("two"),
        two=redirect_to("./one"),
        one=redirect_to("/keys"),
        keys=content,
    )
    assert await get(fetcher, server.make_url("/three")) == b"content"
    error = await refusal(fetcher, server.make_url("/four"))
    assert "more than 3 redirects" in str(error)
    assert error.kind == "http_error"


async def test_redirect_loop_ends(fetcher: Fetcher, aiohttp_server: AiohttpServer) -> None:
    """A redirect to itself ends as too many redirects."""
    server = await serve(aiohttp_server, keys=redirect_to("/keys"))
    assert "more than 3 redirects" in str(await refusal(fetcher, server.make_url("/keys")))


@pytest.mark.parametrize(
    "location",
    ["http://169.254.169.254/latest/meta-data", "https://[fd00:ec2::254]/", "https://meta.test/",
     "//169.254.169.254/", "ftp://127.0.0.1/", "http://user:pw@127.0.0.1/", "http://0.0.0.0/"],
)  # fmt: skip
async def test_redirect_to_refused_address(
    fetcher: Fetcher, names: Names, aiohttp_server: AiohttpServer, location: str
) -> None:
    """Every hop is checked like the first, before and after its lookup."""
    names.addresses["meta.test"] = ["169.254.169.254"]
    server = await serve(aiohttp_server, keys=redirect_to(location))
    error = await refusal(fetcher, server.make_url("/keys"), allow_plaintext=True)
    assert error.kind == "refused_address"


@pytest.mark.parametrize("location", ["", "http://[/", "/a b"])
async def test_redirect_to_nowhere(
    fetcher: Fetcher, aiohttp_server: AiohttpServer, location: str
) -> None:
    """A redirect without a valid location is an error."""
    server = await serve(aiohttp_server, keys=redirect_to(location))
    assert (await refusal(fetcher, server.make_url("/keys"))).kind == "http_error"


async def test_remote_server_cannot_point_at_this_pod(
    fetcher: Fetcher, names: Names, aiohttp_server: AiohttpServer
) -> None:
    """A redirect from another host to loopback is refused: the app listens there."""
    names.addresses["idp.test"] = ["127.0.0.1"]
    server = await serve(aiohttp_server, app=content)
    app = str(server.make_url("/app"))
    remote = await serve(aiohttp_server, keys=redirect_to(app))
    error = await refusal(fetcher, f"http://idp.test:{remote.port}/keys", allow_plaintext=True)
    assert "loopback" in str(error)
    with pytest.raises(FetchError, match="loopback"):
        await fetcher.get(app, max_bytes=9, timeout_seconds=30, named_by="http://idp.test/")


async def test_cancelled_request_leaves_nothing(
    aiohttp_server: AiohttpServer, recwarn: pytest.WarningsRecorder
) -> None:
    """Cancelling a request frees its connection; closing the client leaves no warnings."""
    asked, gone = asyncio.Event(), asyncio.Event()

    async def handler(request: web.Request) -> web.Response:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            gone.set()
        return web.Response()

    app = web.Application(handler_args={"handler_cancellation": True})
    app.router.add_get("/keys", handler)
    server = await aiohttp_server(app)
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    async with Fetcher() as fetcher:
        request = asyncio.create_task(get(fetcher, server.make_url("/keys")))
        await asyncio.wait_for(asked.wait(), 30)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await asyncio.wait_for(gone.wait(), 30)
    gc.collect()
    assert complaints == []
    assert [str(warning.message) for warning in recwarn] == []


async def test_closed_client_refuses(fetcher: Fetcher) -> None:
    """A closed client raises its own error and opens nothing."""
    await fetcher.close()
    assert "closed" in str(await refusal(fetcher, "http://127.0.0.1:1/"))


def test_works_on_the_loop_of_production(names: Names) -> None:
    """On uvloop, too, content arrives, refusals refuse and causes are named."""

    async def conversation() -> None:
        names.addresses["meta.test"] = ["169.254.169.254"]
        server = TestServer(web.Application(), host="127.0.0.1")
        server.app.router.add_get("/keys", content)
        await server.start_server()
        async with Fetcher() as system, Fetcher(lookup=names.lookup) as scripted:
            url = server.make_url("/keys")
            assert await get(system, url.with_host("localhost")) == b"content"
            assert (await refusal(scripted, "https://meta.test/")).kind == "refused_address"
            assert "does not resolve" in str(await refusal(scripted, "https://idp.test/"))
            await server.close()
            assert "no connection could be made" in str(await refusal(system, url))

    uvloop.run(conversation())


def test_client_is_cheap_until_used() -> None:
    """Importing and making the client does not import aiohttp."""
    code = (
        "import sys; from sidecar.fetch.client import Fetcher; Fetcher()\n"
        "import sidecar.issuers.sources\n"
        "sys.exit('aiohttp' in sys.modules or 'yarl' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
