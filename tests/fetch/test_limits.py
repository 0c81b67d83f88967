"""Size and time: whatever a server sends or does not send, an end comes, and little is kept."""

import asyncio
import gzip
import tracemalloc
from collections.abc import Sequence

import pytest

from sidecar.fetch.client import Fetcher, FetchError
from tests.fetch.rude import Behave, repeats, rude, says

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
MEBIBYTE = 1 << 20
LONG = 60
"""A test that lasts so long has failed: the limit of size did not hold, and that of time did."""


async def refusal(
    fetcher: Fetcher, url: str, *, timeout_seconds: float = LONG, max_bytes: int = 1000
) -> FetchError:
    with pytest.raises(FetchError) as caught:
        await fetcher.get(url, max_bytes=max_bytes, timeout_seconds=timeout_seconds)
    said = str(caught.value)
    assert "\n" not in said
    assert "secret" not in said
    assert "s3cret" not in said
    return caught.value


@pytest.mark.parametrize("length", [1001, 10**12, 2**63 - 1])
async def test_announced_length_is_refused_at_once(fetcher: Fetcher, length: int) -> None:
    """A length over the limit is refused before any of it came."""
    async with rude(says(OK + b"Content-Length: %d\r\n\r\n" % length, ends=False)) as server:
        error = await refusal(fetcher, server.url)
        await asyncio.wait_for(server.left.wait(), LONG)
    assert str(error) == f"127.0.0.1:{server.port}: the document is larger than 1000 bytes"
    assert error.kind == "http_error"


@pytest.mark.parametrize(
    ("head", "part", "cause"),
    [
        (CHUNKED, b"2710\r\n" + b"x" * 10_000 + b"\r\n", "larger than 1000 bytes"),
        (CHUNKED, b"1\r\nx\r\n" * 100, "larger than 1000 bytes"),
        (OK + b"\r\n", b"x" * 10_000, "larger than 1000 bytes"),
        (OK, b"X-Field: " + b"v" * 4000 + b"\r\n", "not valid HTTP"),
        (OK + b"X-Field: ", b"v" * 10_000, "not valid HTTP"),
        (OK + b"X-", b"n" * 10_000, "not valid HTTP"),
        (b"HTTP/1.1 200 ", b"O" * 10_000, "not valid HTTP"),
        (b"HTTP/1.1 500 No\r\n\r\n", b"x" * 10_000, "answered with status 500"),
        (b"HTTP/1.1 302 No\r\nLocation: /x y\r\n\r\n", b"x" * 10_000, "without a valid location"),
        (CHUNKED + b"1\r\nx\r\n0\r\n", b"X-Trailer: " + b"v" * 4000 + b"\r\n", "ended early"),
    ],
    ids=["chunks", "small chunks", "until the end", "fields", "value", "name",
         "reason", "of an error", "of a redirect", "trailers"],
)  # fmt: skip
async def test_endless_answers_are_cut(
    fetcher: Fetcher, head: bytes, part: bytes, cause: str
) -> None:
    """What has no end is refused in every part of an answer, and little of it is kept."""
    async with rude(repeats(head, part)) as server:
        tracemalloc.start()
        error = await refusal(fetcher, server.url)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await asyncio.wait_for(server.left.wait(), LONG)
    assert cause in str(error)
    assert most < 8 * MEBIBYTE


async def test_endless_chunk_extension_ends_in_time(fetcher: Fetcher) -> None:
    """The one endless thing that aiohttp skips is not kept, and ends with the time."""
    async with rude(repeats(CHUNKED + b"1;", b"extension" * 1000)) as server:
        tracemalloc.start()
        error = await refusal(fetcher, server.url, timeout_seconds=0.3)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        await asyncio.wait_for(server.left.wait(), LONG)
    assert "within 0.3 s" in str(error)
    assert most < 8 * MEBIBYTE


async def test_compressed_answer_is_not_expanded(fetcher: Fetcher) -> None:
    """A coding nobody asked for is refused before it costs memory."""
    bomb = gzip.compress(bytes(64 * MEBIBYTE))
    head = OK + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with rude(says(head, bomb)) as server:
        tracemalloc.start()
        error = await refusal(fetcher, server.url, max_bytes=MEBIBYTE)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert "answered with a content coding nobody asked for" in str(error)
    assert most < 4 * MEBIBYTE
    assert b"Accept-Encoding: identity\r\n" in server.heads[0]


async def nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


IN_TIME = "no complete answer within 0.1 s"


@pytest.mark.parametrize(
    ("behave", "cause"),
    [
        (nothing, IN_TIME),
        (says(OK + b"Content-Length: 10\r\n\r\n", ends=False), IN_TIME),
        (says(OK, ends=False), IN_TIME),
        (repeats(CHUNKED, b"1\r\nx\r\n", pause_seconds=0.01), IN_TIME),
        (repeats(OK + b"Content-Length: 999\r\n\r\n", b"x", pause_seconds=0.01), IN_TIME),
        (repeats(OK, b"x", pause_seconds=0.01), IN_TIME),
        (repeats(b"", b"H", pause_seconds=0.01), "not valid HTTP"),
        (repeats(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", pause_seconds=0.01), IN_TIME),
    ],
    ids=["silence", "no content", "half a head", "slow chunks", "slow content", "slow field",
         "slow status", "interim answers"],
)  # fmt: skip
async def test_slow_answers_end(fetcher: Fetcher, behave: Behave, cause: str) -> None:
    """One limit bounds it all: a byte now and then does not begin it anew."""
    async with rude(behave) as server:
        error = await refusal(fetcher, server.url, timeout_seconds=0.1)
        await asyncio.wait_for(server.left.wait(), LONG)
    assert error.kind == "network_error"
    assert cause in str(error)


async def test_slow_handshake_ends(fetcher: Fetcher) -> None:
    """A server that takes a TLS hello and says nothing is left."""
    async with rude(nothing, reads_head=False) as server:
        url = server.url.replace("http:", "https:")
        error = await refusal(fetcher, url, timeout_seconds=0.1)
        await asyncio.wait_for(server.left.wait(), LONG)
    assert str(error) == f"127.0.0.1:{server.port}: no complete answer within 0.1 s"


async def test_slow_lookup_ends() -> None:
    """A resolver that does not answer is given no more time than everything together."""
    given_up = asyncio.Event()

    async def lookup(_host: str, _port: int) -> Sequence[str]:
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        return []

    async with Fetcher(lookup=lookup) as fetcher:
        error = await refusal(fetcher, "https://idp.test/", timeout_seconds=0.05)
        await asyncio.wait_for(given_up.wait(), LONG)
    assert str(error) == "idp.test: no complete answer within 0.05 s"


async def test_slow_redirects_share_the_time(fetcher: Fetcher) -> None:
    """The limit is of the whole way, not of each step."""

    async def behave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.15)
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")

    async with rude(behave) as server:
        error = await refusal(fetcher, server.url, timeout_seconds=0.25)
    assert "within 0.25 s" in str(error)
    assert len(server.heads) < 4
