"""Content: where it ends, how it is framed anew, what is refused."""

from collections.abc import Callable
from contextlib import nullcontext

import pytest

from sidecar.core.outcome import Reason
from sidecar.wire.bodies import (
    MAX_TRAILER_FIELDS,
    BodyReader,
    ChunkedBody,
    LengthBody,
    UntilCloseBody,
)
from sidecar.wire.heads import MessageError
from tests.support.wire_messages import BAD_CHUNKS, GOOD_CHUNKS


def feed_whole(body: BodyReader, data: bytes) -> tuple[bytes, bytes]:
    """Feed *data* at once."""
    return body.feed(data)


def feed_bytes(body: BodyReader, data: bytes) -> tuple[bytes, bytes]:
    """Feed *data* byte by byte until the content is done; what is left was never looked at."""
    out = b""
    for position in range(len(data)):
        if body.done:
            return out, data[position:]
        part, rest = body.feed(data[position : position + 1])
        out += part
        assert rest == b""
    return out, b""


@pytest.mark.parametrize("feed", [feed_whole, feed_bytes])
@pytest.mark.parametrize(
    ("data", "content", "rest"),
    [
        (b"12345", b"12345", b""),
        (b"12345GET /", b"12345", b"GET /"),
        (b"1234", b"1234", None),
    ],
)
def test_content_of_a_known_length(
    feed: Callable[[BodyReader, bytes], tuple[bytes, bytes]],
    data: bytes,
    content: bytes,
    rest: bytes | None,
) -> None:
    """Exactly so many bytes are content; what follows is given back."""
    body = LengthBody(5)
    assert feed(body, data) == (content, rest or b"")
    assert body.done is (rest is not None)
    assert body.received == len(content)
    assert body.end() == (body.done, b"")


def test_no_content_is_done_at_once() -> None:
    """A length of zero waits for nothing."""
    assert LengthBody(0).done


@pytest.mark.parametrize(
    ("chunked", "out", "last"),
    [(True, b"3\r\nabc\r\n", b"0\r\n\r\n"), (False, b"abc", b"")],
)
def test_content_until_close_is_framed_for_who_can_read_chunks(
    chunked: bool, out: bytes, last: bytes
) -> None:
    """The end of the connection becomes a last chunk, or the end of our connection."""
    body = UntilCloseBody(chunked_onward=chunked)
    assert body.feed(b"abc") == (out, b"")
    assert body.feed(b"") == (b"", b"")
    assert not body.done
    assert body.end() == (True, last)
    assert body.done


@pytest.mark.parametrize(("data", "content"), GOOD_CHUNKS)
def test_chunks_are_decoded_and_framed_anew(data: bytes, content: bytes) -> None:
    """Extensions and trailers end here; the content does not change; what follows is given back."""
    bare = ChunkedBody(chunked_onward=False)
    assert bare.feed(data + b"GET /") == (content, b"GET /")
    assert bare.done
    assert bare.received == len(content)

    onward = ChunkedBody(chunked_onward=True)
    framed, _ = onward.feed(data)
    again = ChunkedBody(chunked_onward=False)
    assert again.feed(framed) == (content, b"")
    assert again.done
    assert b"x" not in framed.lower()


@pytest.mark.parametrize(("data", "content"), GOOD_CHUNKS)
def test_chunks_byte_by_byte_are_the_same(data: bytes, content: bytes) -> None:
    """Where packets begin and end does not matter."""
    body = ChunkedBody(chunked_onward=False)
    assert feed_bytes(body, data + b"GET /") == (content, b"GET /")
    assert body.done


@pytest.mark.parametrize("data", BAD_CHUNKS)
def test_bad_chunks_are_malformed(data: bytes) -> None:
    """Whole or byte by byte, what is not the grammar of RFC 9112, 7.1 is refused."""
    for feed in (feed_whole, feed_bytes):
        with pytest.raises(MessageError) as raised:
            feed(ChunkedBody(chunked_onward=True), data)
        assert raised.value.reason is Reason.MESSAGE_MALFORMED


@pytest.mark.parametrize("feed", [feed_whole, feed_bytes])
def test_trailers_go_on_as_they_are_told_to(
    feed: Callable[[BodyReader, bytes], tuple[bytes, bytes]],
) -> None:
    """The section is given away line by line, once it is known to be well-formed, and what comes
    back is written in its place."""
    seen: list[bytes] = []

    def relay(lines: list[bytes]) -> bytes:
        seen.extend(lines)
        return b"".join(lines[1:])

    body = ChunkedBody(chunked_onward=True, relay=relay)
    out, rest = feed(body, b"0\r\nA: 1\r\nb:  2 \r\nC:\r\n\r\nGET")
    assert (out, rest) == (b"0\r\nb:  2 \r\nC:\r\n\r\n", b"GET")
    assert seen == [b"A: 1\r\n", b"b:  2 \r\n", b"C:\r\n"]


@pytest.mark.parametrize("data", [b"0\r\nA: 1\r\nb\r\n\r\n", b"0\r\nA: 1\r\n b: 2\r\n\r\n"])
def test_no_part_of_a_malformed_trailer_section_goes_on(data: bytes) -> None:
    """It is judged as a whole first."""
    body = ChunkedBody(chunked_onward=True, relay=lambda lines: pytest.fail(str(lines)))
    with pytest.raises(MessageError):
        body.feed(data)


def test_trailers_are_few() -> None:
    """The number of trailer fields is bounded like that of header fields."""
    good = b"0\r\n" + b"X: y\r\n" * MAX_TRAILER_FIELDS + b"\r\n"
    assert ChunkedBody(chunked_onward=False).feed(good) == (b"", b"")
    with pytest.raises(MessageError):
        ChunkedBody(chunked_onward=False).feed(b"0\r\n" + b"X: y\r\n" * 66 + b"\r\n")


@pytest.mark.parametrize("declared", [b"b\r\n", b"a\r\n0123456789\r\n1\r\n"])
def test_chunked_content_over_its_bound_is_refused_when_declared(declared: bytes) -> None:
    """The chunk that would go over is refused by its size line, before its content."""
    with pytest.raises(MessageError) as raised:
        ChunkedBody(chunked_onward=True, max_bytes=10).feed(declared)
    assert raised.value.reason is Reason.BODY_TOO_LARGE


@pytest.mark.parametrize(
    ("line", "content", "passes"),
    [
        (b"1;" + b"x" * 200, b"a", False),
        (b"f;" + b"x" * 13, b"a" * 15, True),
        (b"c8;" + b"x" * 200, b"a" * 200, True),
        (b"1", b"a", True),
    ],
)
def test_extensions_may_not_outweigh_the_content(line: bytes, content: bytes, passes: bool) -> None:
    """However many chunks come, small and plain ones too; but not a long line for every byte."""
    body = ChunkedBody(chunked_onward=True)
    chunk = line + b"\r\n" + content + b"\r\n"
    body.feed(chunk * 300)
    refused = nullcontext() if passes else pytest.raises(MessageError, match="outweigh")
    with refused:
        body.feed(chunk * 2_000)


def test_chunked_content_at_its_bound_passes() -> None:
    """The bound itself is allowed."""
    body = ChunkedBody(chunked_onward=False, max_bytes=10)
    assert body.feed(b"a\r\n0123456789\r\n0\r\n\r\n") == (b"0123456789", b"")


@pytest.mark.parametrize(
    "data", [b"", b"5", b"5\r\n", b"5\r\nhel", b"5\r\nhello", b"0\r\n", b"0\r\nX: y\r\n"]
)
def test_chunked_content_cut_short_is_not_whole(data: bytes) -> None:
    """A connection that ends before the last chunk and its empty line has lost content."""
    body = ChunkedBody(chunked_onward=True)
    body.feed(data)
    assert not body.done
    assert body.end() == (False, b"")
