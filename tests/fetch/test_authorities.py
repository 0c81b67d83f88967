"""Authorities of one issuer's own (``ca``): real TLS, real files, as secrets are mounted."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from sidecar.fetch.client import Fetcher, FetchError
from tests.fetch.conftest import Names
from tests.support.certificates import HOUR, Authority, Pair, server_context

Serve = Callable[[Pair], Awaitable[int]]


@pytest.fixture
def authority() -> Authority:
    """Who signs the issuer's certificate."""
    return Authority()


@pytest.fixture
async def serve(tmp_path: Path, names: Names) -> AsyncIterator[Serve]:
    """Serve keys at https://idp.test:PORT with a certificate."""
    names.addresses["idp.test"] = names.addresses["other.test"] = ["127.0.0.1"]

    async def keys(_: web.Request) -> web.Response:
        return web.Response(body=b"{}")

    async def away(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": f"https://other.test:{ports[0]}/keys"})

    async def begin(pair: Pair) -> int:
        app = web.Application()
        app.router.add_get("/keys", keys)
        app.router.add_get("/away", away)
        server = TestServer(app, scheme="https", host="127.0.0.1")
        stack.push_async_callback(server.close)
        await server.start_server(ssl=server_context(pair, tmp_path))
        assert server.port is not None
        ports.append(server.port)
        return server.port

    ports: list[int] = []
    async with AsyncExitStack() as stack:
        yield begin


async def get(fetcher: Fetcher, url: str, ca: str | None) -> bytes:
    return await fetcher.get(url, max_bytes=9, timeout_seconds=30, ca=ca)


async def refusal(fetcher: Fetcher, url: str, ca: str | None) -> str:
    with pytest.raises(FetchError) as caught:
        await get(fetcher, url, ca)
    assert caught.value.kind == "network_error"
    said = str(caught.value)
    assert said.isprintable()
    assert "/keys" not in said
    return said


async def test_only_who_names_an_authority_trusts_it(
    fetcher: Fetcher, serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    """One client serves issuers that trust different authorities, and mixes none of them."""
    port = await serve(authority.issue("idp.test", "other.test"))
    url = f"https://idp.test:{port}/keys"
    ours, others = authority.write(tmp_path), Authority("another").write(tmp_path, "other.crt")
    for _ in range(2):
        assert await get(fetcher, url, ours) == b"{}"
        assert await get(fetcher, f"https://idp.test:{port}/away", ours) == b"{}"
        for ca in (None, others):
            said = await refusal(fetcher, url, ca)
            assert said == (
                f"idp.test:{port}: its certificate is not accepted: "
                "unable to get local issuer certificate"
            )


@pytest.mark.parametrize(
    ("names_of", "starts", "ends", "cause"),
    [
        (("idp.test",), -2 * HOUR, -HOUR, "certificate has expired"),
        (("idp.test",), HOUR, 2 * HOUR, "certificate is not yet valid"),
        (("evil.test",), -HOUR, HOUR,
         "Hostname mismatch, certificate is not valid for 'idp.test'"),
        (("127.0.0.1",), -HOUR, HOUR,
         "Hostname mismatch, certificate is not valid for 'idp.test'"),
    ],
)  # fmt: skip
async def test_certificates_that_prove_nothing(
    fetcher: Fetcher, serve: Serve, authority: Authority, tmp_path: Path,
    names_of: tuple[str, ...], starts: object, ends: object, cause: str,
) -> None:  # fmt: skip
    """A trusted authority does not make up for time or name, and the error says which."""
    pair = authority.issue(*names_of, starts=starts, ends=ends)  # type: ignore[arg-type]
    port = await serve(pair)
    said = await refusal(fetcher, f"https://idp.test:{port}/keys", authority.write(tmp_path))
    assert said == f"idp.test:{port}: its certificate is not accepted: {cause}"


async def test_a_changed_file_is_used_for_the_next_fetch(
    fetcher: Fetcher, serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    """Written anew in place, or by turning a link as Kubernetes does: at once, and both ways."""
    port = await serve(authority.issue("idp.test"))
    url = f"https://idp.test:{port}/keys"
    ca = Authority("before").write(tmp_path)
    await refusal(fetcher, url, ca)
    authority.write(tmp_path)
    assert await get(fetcher, url, ca) == b"{}"

    for number, each in enumerate((authority, Authority("after"))):
        (tmp_path / str(number)).mkdir()
        each.write(tmp_path / str(number))
    mounted = tmp_path / "..data"
    mounted.symlink_to("0")
    ca = str(mounted / "ca.crt")
    assert await get(fetcher, url, ca) == b"{}"
    (tmp_path / "turning").symlink_to("1")
    (tmp_path / "turning").rename(mounted)
    assert "not accepted" in await refusal(fetcher, url, ca)


async def test_a_file_that_cannot_be_used(
    fetcher: Fetcher, serve: Serve, authority: Authority, tmp_path: Path
) -> None:
    """It is named, nothing is asked under what was trusted before, and it may come back."""
    port = await serve(authority.issue("idp.test"))
    url = f"https://idp.test:{port}/keys"
    ca = authority.write(tmp_path)
    assert await get(fetcher, url, ca) == b"{}"
    Path(ca).write_bytes(b"")
    for _ in range(2):
        said = await refusal(fetcher, url, ca)
        assert said == f"idp.test:{port}: the `ca` file holds no certificate in PEM"
    Path(ca).unlink()
    said = await refusal(fetcher, url, ca)
    assert said == f"idp.test:{port}: the `ca` file cannot be read: No such file or directory"
    Path(ca).mkdir()
    assert "the `ca` file is not a regular file" in await refusal(fetcher, url, ca)
    Path(ca).rmdir()
    authority.write(tmp_path)
    assert await get(fetcher, url, ca) == b"{}"
