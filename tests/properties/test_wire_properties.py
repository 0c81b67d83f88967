"""What holds for any bytes, through real sockets.

Splitting a message changes nothing; any bytes are forwarded as one well-formed message or refused
cleanly. ``serving`` adds, each time: no exception, every exchange finished once, nothing left over.
In CI Hypothesis makes up the same examples every time; a failure says how to repeat it.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, cast

import h11
import pytest
import uvloop
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.strict_backend import StrictBackend
from tests.support.wire_mutations import REQUESTS, RESPONSES, near_misses
from tests.support.wire_peer import Message, Peer, until
from tests.support.wire_proxy import Proxy, proxied, serving
from tests.support.wire_strategies import requests, responses

EXAMPLES = settings(max_examples=60, deadline=None, print_blob=True)
LOOPS = pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)


def run(new_loop: Any, conversation: Coroutine[Any, Any, None]) -> None:
    """Hold one conversation on a loop of its own."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(conversation)


async def read_messages(received: bytes, *, heads: list[bool], whole: bool) -> list[Message]:
    """Read *received* as the answers they must be; unless *whole*, the last may be cut."""
    reader = asyncio.StreamReader()
    reader.feed_data(received)
    reader.feed_eof()
    peer = Peer(reader, cast(asyncio.StreamWriter, None))
    messages: list[Message] = []
    while not reader.at_eof():
        head_only = len(messages) < len(heads) and heads[len(messages)]
        try:
            messages.append(await peer.message(head_only=head_only, until_close=True))
        except asyncio.IncompleteReadError:
            assert not whole, received
            break
    return messages


@asynccontextmanager
async def strictly_proxied() -> AsyncIterator[tuple[Proxy, StrictBackend]]:
    """A proxy in front of an origin that forgives nothing."""
    async with StrictBackend().running() as origin, serving(origin.port) as proxy:
        yield proxy, origin


def check(origin: StrictBackend) -> None:
    """Assert that all it got was well-formed, to itself and to h11."""
    assert origin.faults == []
    origin.check_with_h11()


def check_answers_with_h11(received: bytes, methods: list[bytes], count: int) -> None:
    """Assert that *received* is *count* whole answers, to requests with *methods*, to h11 too."""
    reader = h11.Connection(h11.CLIENT)
    reader.receive_data(received)
    reader.receive_data(b"")
    for number in range(count):
        reader.send(h11.Request(method=methods[number], target="/", headers=[("host", "h")]))
        reader.send(h11.EndOfMessage())
        while not isinstance(reader.next_event(), h11.EndOfMessage):
            pass
        if number < count - 1:
            reader.start_next_cycle()
    assert reader.trailing_data[0] == b""


async def settled(proxy: Proxy, size: int) -> None:
    """Wait until *size* bytes have been looked at, then for what follows from them."""
    handler = proxy.handler
    await until(
        lambda: handler.malformed_for or handler.exchanges or proxy.listener.buffered_bytes >= size
    )
    for _ in range(15):
        await asyncio.sleep(0)


# --- splitting ---


@st.composite
def valid_requests(draw: st.DrawFn) -> tuple[bytes, bytes, bytes]:
    """A valid request on the wire, its target and its content."""
    target = b"/" + draw(st.sampled_from([b"", b"a", b"a/b?c=d"]))
    content = draw(st.binary(max_size=40))
    head = b"POST %b HTTP/1.1\r\nHost: h\r\nX-A: b c\r\n" % target
    if draw(st.booleans()):
        return (
            head + b"Content-Length: %d\r\n\r\n" % len(content) + content,
            target,
            content,
        )
    raw = head + b"Transfer-Encoding: chunked\r\n\r\n" + draw(chunks_of(content))
    return raw, target, content


@LOOPS
@EXAMPLES
@given(sent=st.lists(valid_requests(), min_size=1, max_size=3), data=st.data())
def test_any_split_forwards_the_same(
    new_loop: Any, sent: list[tuple[bytes, bytes, bytes]], data: st.DataObject
) -> None:
    """Wherever packets begin and end, the origin reads the same requests in the same order."""
    raw = b"".join(each[0] for each in sent)
    cuts = data.draw(st.lists(st.integers(1, len(raw) - 1), max_size=12, unique=True).map(sorted))

    async def conversation() -> None:
        async with strictly_proxied() as (proxy, origin), proxy.client() as client:
            for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
                await client.send(raw[start:end])
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            for _ in sent:
                assert (await client.message()).status == 200
            assert [(each.target, each.body) for each in origin.received] == [
                each[1:] for each in sent
            ]
            assert all(each.all(b"x-a") == [b"b c"] for each in origin.received)
            check(origin)

    run(new_loop, conversation())


@st.composite
def valid_responses(draw: st.DrawFn) -> tuple[bytes, bytes, bytes, bytes]:
    """A method, a valid answer to it on the wire, its status and its content."""
    method = draw(st.sampled_from([b"GET", b"GET", b"GET", b"HEAD"]))
    status = draw(st.sampled_from([b"200", b"200", b"200", b"404", b"204", b"304"]))
    content = draw(st.binary(max_size=40))
    head = b"HTTP/1.1 %b Some Reason\r\nX-A: b c\r\n" % status
    if status in (b"204", b"304"):
        return method, head + b"\r\n", status, b""
    if draw(st.booleans()):
        head += b"Content-Length: %d\r\n\r\n" % len(content)
        framed = content
    else:
        head += b"Transfer-Encoding: chunked\r\n\r\n"
        framed = draw(chunks_of(content))
    if method == b"HEAD":
        return method, head, status, b""
    return method, head + framed, status, content


@st.composite
def chunks_of(draw: st.DrawFn, content: bytes) -> bytes:
    """*content* in chunks of any size, with extensions and trailers."""
    chunks = b""
    while content:
        size = draw(st.integers(1, len(content)))
        extension = draw(st.sampled_from([b"", b";x", b';x="y z"']))
        chunks += b"%x%b\r\n%b\r\n" % (size, extension, content[:size])
        content = content[size:]
    trailers = draw(st.sampled_from([b"", b"X-T: 1\r\n", b"X-T: 1\r\nX-U: \r\n"]))
    return chunks + b"0\r\n" + trailers + b"\r\n"


@LOOPS
@EXAMPLES
@given(
    answers=st.lists(valid_responses(), min_size=1, max_size=3),
    last=st.sampled_from([b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nend"]),
    data=st.data(),
)
def test_any_split_of_answers_relays_the_same(
    new_loop: Any,
    answers: list[tuple[bytes, bytes, bytes, bytes]],
    last: bytes,
    data: st.DataObject,
) -> None:
    """Wherever packets begin and end, the caller of pipelined requests reads the same answers, and
    the origin's connection serves them all; the last one may end with its connection."""
    split = [data.draw(pieces(raw)) for _, raw, _, _ in answers]
    split_last = data.draw(pieces(last))

    async def send(peer: Peer, parts: list[bytes]) -> None:
        for part in parts:
            await peer.send(part)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def script(peer: Peer) -> None:
        for parts in split:
            await peer.message()
            await send(peer, parts)
        await peer.message()
        await send(peer, split_last)

    async def conversation() -> None:
        async with proxied(script) as proxy, proxy.client() as client:
            methods = [method for method, *_ in answers] + [b"GET"] * bool(last)
            await client.send(
                b"".join(b"%b / HTTP/1.1\r\nHost: h\r\n\r\n" % method for method in methods)
            )
            for method, _, status, content in answers:
                answer = await client.message(head_only=method == b"HEAD")
                assert (answer.status, answer.body) == (int(status), content)
                assert answer.get(b"x-a") == b"b c"
            if last:
                assert (await client.message()).body == last.partition(b"\r\n\r\n")[2]
            assert len(proxy.results) == len(methods)

    run(new_loop, conversation())


@st.composite
def pieces(draw: st.DrawFn, raw: bytes) -> list[bytes]:
    """*raw* cut anywhere."""
    places = st.integers(1, max(len(raw) - 1, 1))
    cuts = sorted(draw(st.lists(places, max_size=8, unique=True)))
    return [raw[start:end] for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True)]


# --- any bytes from a caller ---


@LOOPS
@EXAMPLES
@given(raw=st.one_of(requests(), near_misses(REQUESTS), st.binary(min_size=1, max_size=60)))
def test_any_bytes_are_forwarded_well_formed_or_refused_once(new_loop: Any, raw: bytes) -> None:
    """What reaches the origin is well-formed; what comes back are whole answers, of which at most
    the last one is a refusal of bytes that were no request."""

    async def conversation() -> None:
        async with strictly_proxied() as (proxy, origin), proxy.client() as client:
            await client.send(raw)
            await settled(proxy, len(raw))
            await proxy.wait_out()
            heads = [each.head.method == b"HEAD" for each in proxy.handler.exchanges]
            received = await client.rest()
            messages = await read_messages(received, heads=heads, whole=True)
            methods = [each.head.method for each in proxy.handler.exchanges]
            check_answers_with_h11(received, [*methods, b"GET"], len(messages))
            assert len(proxy.handler.malformed_for) <= 1
            assert len(messages) <= len(heads) + 1
            for message in messages:
                refused = message.reason is not None
                assert refused == (message.status != 200)
                if message.status >= 500:
                    assert message.status in (501, 504, 505)
            assert len(origin.received) <= len(heads)
            check(origin)

    run(new_loop, conversation())


# --- any bytes from an origin ---


@LOOPS
@EXAMPLES
@given(
    raw=st.one_of(responses(), near_misses(RESPONSES), st.binary(min_size=1, max_size=60)),
    closes=st.booleans(),
    version=st.sampled_from([b"1.1", b"1.0"]),
)
def test_any_answer_is_relayed_well_formed_or_replaced(
    new_loop: Any, raw: bytes, closes: bool, version: bytes
) -> None:
    """The caller reads a whole answer, our 502 or 504, or the beginning of one that broke; the
    next caller gets an answer to its own request."""

    async def script(peer: Peer) -> None:
        while True:
            if b"/innocent" in await peer.head():
                await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ninnocent")
                continue
            await peer.send(raw)
            if closes:
                return

    async def conversation() -> None:
        async with proxied(script) as proxy:
            async with proxy.client() as client:
                await client.send(b"GET / HTTP/%b\r\nHost: h\r\n\r\n" % version)
                await until(lambda: proxy.handler.exchanges and proxy.handler.exchanges[0].commits)
                for _ in range(15):
                    await asyncio.sleep(0)
                await proxy.wait_out()
                received = await client.rest()
                (_, fault), *more = proxy.results
                assert more == []
                messages = await read_messages(received, heads=[False] * 20, whole=fault is None)
                interim = [each for each in messages if each.status < 200]
                assert messages[: len(interim)] == interim
                assert version == b"1.1" or not interim
                del messages[: len(interim)]
                assert len(messages) <= 1
                if fault is None:
                    check_answers_with_h11(received, [b"GET"], len(messages))
                if messages and messages[0].reason is not None:
                    assert messages[0].status in (502, 504)
            async with proxy.client() as other:
                await other.send(b"GET /innocent HTTP/1.1\r\nHost: h\r\n\r\n")
                assert (await other.message()).body == b"innocent"

    run(new_loop, conversation())
