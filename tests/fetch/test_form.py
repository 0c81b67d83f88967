"""Forms that carry a secret: sent once, to one place, and never on."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.fetch.client import Fetcher, FetchError, FormAnswer
from tests.fetch.conftest import Names, ServeBytes

AiohttpServer = Callable[[web.Application], Awaitable[TestServer]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SECRET = "Basic czNjcjN0"


async def serve(aiohttp_server: AiohttpServer, handler: Handler) -> TestServer:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    return await aiohttp_server(app)


async def post(fetcher: Fetcher, url: object, **changes: Any) -> FormAnswer:
    usual: dict[str, Any] = {
        "authorization": SECRET,
        "max_bytes": 1000,
        "timeout_seconds": 30.0,
    }
    return await fetcher.post_form(str(url), [("token", "t0k+n/=&ü")], **{**usual, **changes})


async def refusal(fetcher: Fetcher, url: object, **changes: Any) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await post(fetcher, url, **changes)
    assert "t0k" not in str(caught.value)
    assert SECRET not in repr(caught.value.__cause__)
    return caught.value


async def test_a_form_is_sent_and_answered(fetcher: Fetcher, aiohttp_server: AiohttpServer) -> None:
    """The form arrives as written, with the credential, and asks for JSON in identity coding."""
    seen: list[tuple[str, dict[str, Any], dict[str, str]]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((request.method, dict(await request.post()), dict(request.headers)))
        return web.Response(body=b"{}")

    server = await serve(aiohttp_server, handler)
    assert await post(fetcher, server.make_url("/i")) == FormAnswer(200, b"{}")
    ((method, form, headers),) = seen
    assert (method, form) == ("POST", {"token": "t0k+n/=&ü"})
    assert headers["Authorization"] == SECRET
    assert headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert headers["Accept"] == "application/json"
    assert headers["Accept-Encoding"] == "identity"
    await post(fetcher, server.make_url("/i"), authorization=None)
    assert "Authorization" not in seen[1][2]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/elsewhere", "http://other.test/"])
async def test_no_redirect_is_followed(
    fetcher: Fetcher, names: Names, aiohttp_server: AiohttpServer, status: int, location: str
) -> None:
    """Not even to the same host: a secret is for the place that the operator named."""
    requests: list[str] = []

    async def handler(request: web.Request) -> web.Response:
        requests.append(request.path)
        return web.Response(status=status, headers={"Location": location})

    server = await serve(aiohttp_server, handler)
    error = await refusal(fetcher, server.make_url("/i"))
    assert error.kind == "http_error"
    assert "redirected" in str(error)
    assert requests == ["/i"]
    assert names.asked == []


@pytest.mark.parametrize("status", [201, 204, 400, 401, 403, 429, 500, 503])
async def test_another_status_is_told_without_its_content(
    fetcher: Fetcher, aiohttp_server: AiohttpServer, status: int
) -> None:
    """The caller decides what it means; what an error says of itself is not read."""

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(status=status, body=None if status == 204 else b"x" * 10_000)

    server = await serve(aiohttp_server, handler)
    assert await post(fetcher, server.make_url("/i")) == FormAnswer(status, b"")


async def test_size_and_coding_are_bounded(fetcher: Fetcher, aiohttp_server: AiohttpServer) -> None:
    """Exactly the limit is returned, one byte more and a compressed answer are refused."""
    answers = iter(
        (
            web.Response(body=b"x" * 1000),
            web.Response(body=b"x" * 1001),
            web.Response(body=b"x", headers={"Content-Encoding": "gzip"}),
        )
    )

    async def handler(_request: web.Request) -> web.Response:
        return next(answers)

    server = await serve(aiohttp_server, handler)
    assert len((await post(fetcher, server.make_url("/i"))).content) == 1000
    assert "larger than 1000 bytes" in str(await refusal(fetcher, server.make_url("/i")))
    assert "coding" in str(await refusal(fetcher, server.make_url("/i")))


async def test_time_is_bounded(fetcher: Fetcher, aiohttp_server: AiohttpServer) -> None:
    """An answer that does not come is given up, and is a fault of the network."""
    gate = asyncio.Event()

    async def handler(_request: web.Request) -> web.Response:
        await gate.wait()
        return web.Response()

    server = await serve(aiohttp_server, handler)
    error = await refusal(fetcher, server.make_url("/i"), timeout_seconds=0.05)
    gate.set()
    assert error.kind == "network_error"
    assert "no complete answer within 0.05 s" in str(error)


async def test_an_answer_that_is_no_http(fetcher: Fetcher, serve_bytes: ServeBytes) -> None:
    """Neither bytes nor fields of ours are in what is told of it."""
    for answer in (b"nonsense\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"):
        error = await refusal(fetcher, await serve_bytes(answer))
        assert error.kind == "network_error"


@pytest.mark.parametrize(
    ("url", "named_by", "said"),
    [
        ("http://idp.test/i", None, "plain http is allowed to loopback only"),
        ("https://metadata.test/i", None, "link-local addresses are refused"),
        ("https://u:p@idp.test/i", None, "credentials"),
        ("http://127.0.0.1:1/i", "https://idp.test/metadata", "plain http URL"),
        ("https://127.0.0.1:1/i", "https://idp.test/metadata", "loopback"),
        ("nonsense\n", None, "not a valid URL"),
    ],
)
async def test_the_guard_is_asked(
    fetcher: Fetcher, names: Names, url: str, named_by: str | None, said: str
) -> None:
    """The same rules as for keys, before anything is sent."""
    names.addresses["metadata.test"] = ["169.254.169.254"]
    error = await refusal(fetcher, url, named_by=named_by)
    assert error.kind == "refused_address"
    assert said in str(error)


async def test_nothing_is_sent_after_the_end(aiohttp_server: AiohttpServer) -> None:
    """A closed client says so."""
    fetcher = Fetcher()
    await fetcher.close()
    assert "closed" in str(await refusal(fetcher, "http://127.0.0.1:1/"))


def test_the_content_is_not_in_the_repr() -> None:
    """It says things of somebody."""
    assert "alice" not in repr(FormAnswer(200, b'{"sub": "alice"}'))


async def test_what_an_error_says_is_read_where_it_is_asked_for(
    fetcher: Fetcher, aiohttp_server: AiohttpServer
) -> None:
    """Within its bound, and with ``Retry-After``; over the bound nothing of it is."""

    async def handler(request: web.Request) -> web.Response:
        return web.Response(
            status=429, body=b"x" * int(request.query["n"]), headers={"Retry-After": "7"}
        )

    server = await serve(aiohttp_server, handler)
    for size, content in ((100, b"x" * 100), (101, b"")):
        url = server.make_url("/").with_query(n=size)
        answer = await post(fetcher, url, max_error_bytes=100)
        assert (answer.status, answer.content, answer.fields.retry_after) == (429, content, "7")


async def test_what_was_not_answered_is_told_apart(
    fetcher: Fetcher, serve_bytes: ServeBytes, unused_tcp_port: int
) -> None:
    """No connection, or one that was closed before an answer; a broken answer is something else."""
    closed = await refusal(fetcher, await serve_bytes(b""))
    refused = await refusal(fetcher, f"http://127.0.0.1:{unused_tcp_port}/")
    broken = await refusal(
        fetcher, await serve_bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
    )
    other = await refusal(fetcher, await serve_bytes(b"SSH-2.0-x\r\n"))
    assert [each.unanswered for each in (closed, refused, broken, other)] == [
        True,
        True,
        False,
        False,
    ]
