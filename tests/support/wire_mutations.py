"""Near misses: valid messages with a few bytes or lines inserted, deleted, replaced or doubled."""

from hypothesis import strategies as st

NASTY = [
    b"\r", b"\n", b"\r\n", b"\r\n\r\n", b"\n\n", b"\r\r\n", b"\n\r\n", b" ", b"\t", b"\x00",
    b"\x0b", b"\x0c", b"\x1c", b"\x7f", b"\x80", b"\x85", b"\xa0", b"\xff", b":", b" :", b",",
    b";", b'"', b"\\", b"/", b"//", b"?", b"#", b"@", b"%", b"_", b"-", b"+", b".", b"[", b"0",
    b"1", b"00", b"0x", b"_0", b"f", b"x", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"http/1.1",
    b"chunked", b"identity", b"close", b"keep-alive", b"0\r\n\r\n", b"\r\n0\r\n\r\n",
    b"5\r\nhello\r\n", b"\r\n ", b"\r\n\t", b"GET / HTTP/1.1\r\n", b"http://h", b"h:80",
]  # fmt: skip

LINES = [
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Content-Length:\r\n",
    b"Content-Length : 5\r\n", b"Content_Length: 5\r\n", b"Content-Length: 5, 5\r\n",
    b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n", b"Transfer-Encoding:\r\n",
    b"transfer-encoding : chunked\r\n", b" Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: xchunked\r\n", b"Transfer-Encoding\r\n", b"Host: h\r\n",
    b"Host: other\r\n", b"Host:\r\n", b"X: y\r\n z\r\n", b": x\r\n", b"X\r\n",
    b"Connection: close\r\n",
    b"Connection: keep-alive\r\n", b"Connection: content-length\r\n", b"Connection: x\r\n",
    b"TE: trailers\r\n", b"Trailer: X\r\n", b"X: \r\n", b"X:\xe9\r\n", b"X: a\x00\r\n", b"\r\n",
]  # fmt: skip

REQUESTS = [
    b"GET /a?b=c HTTP/1.1\r\nHost: h\r\nX-A: b, c\r\n\r\n",
    b"HEAD / HTTP/1.1\r\nHost: h:80\r\nAccept: */*\r\n\r\n",
    b"GET http://h/a HTTP/1.1\r\nHost: h\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"POST /a HTTP/1.0\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"PUT /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X\r\n\r\n"
    b"3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nX: z\r\n\r\n",
    b'POST / HTTP/1.1\r\nHost: [::1]:8080\r\nTransfer-Encoding: chunked\r\n\r\na;q="x y"\r\n'
    b"0123456789\r\n00\r\n\r\nGET / HTTP/1.1\r\n",
]

RESPONSES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno",
    b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 204 No Content\r\nX: y\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x\r\nhel\r\n2\r\nlo\r\n0\r\nX: z\r\n\r\n",
    b"HTTP/1.1 500 \r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
]


@st.composite
def near_misses(draw: st.DrawFn, messages: list[bytes]) -> bytes:
    """One of *messages* with one to three mistakes in it."""
    raw = draw(st.sampled_from(messages))
    for _ in range(draw(st.integers(1, 3))):
        raw = draw(_CHANGES)(draw, raw)
    return raw


def _insert(draw: st.DrawFn, raw: bytes) -> bytes:
    place = draw(st.integers(0, len(raw)))
    return raw[:place] + draw(st.sampled_from(NASTY)) + raw[place:]


def _replace(draw: st.DrawFn, raw: bytes) -> bytes:
    place = draw(st.integers(0, len(raw)))
    width = draw(st.integers(0, 3))
    return raw[:place] + draw(st.sampled_from(NASTY)) + raw[place + width :]


def _delete(draw: st.DrawFn, raw: bytes) -> bytes:
    place = draw(st.integers(0, len(raw)))
    return raw[:place] + raw[place + draw(st.integers(1, 4)) :]


def _double(draw: st.DrawFn, raw: bytes) -> bytes:
    place = draw(st.integers(0, len(raw)))
    end = place + draw(st.integers(1, 6))
    return raw[:end] + raw[place:end] + raw[end:]


def _change_lines(draw: st.DrawFn, raw: bytes) -> bytes:
    lines = raw.splitlines(keepends=True)
    place = draw(st.integers(0, len(lines)))
    match draw(st.integers(0, 3)):
        case 0:
            lines.insert(place, draw(st.sampled_from(LINES)))
        case 1:
            del lines[place : place + 1]
        case 2:
            lines[place:place] = lines[place : place + 1]
        case _:
            lines[place : place + 2] = reversed(lines[place : place + 2])
    return b"".join(lines)


_CHANGES = st.sampled_from([_insert, _replace, _delete, _double, _change_lines, _change_lines])
