"""Messages that Hypothesis makes up: mostly well-formed, with the mistakes that attackers make."""

from hypothesis import strategies as st

from tests.support.wire_messages import BAD_CHUNKS, GOOD_CHUNKS

MOSTLY = st.sampled_from
ENDS = MOSTLY([b"\r\n"] * 30 + [b"\n", b"\r", b"\r\r\n", b"\n\r"])
NAMES = MOSTLY(
    [b"Content-Length", b"Transfer-Encoding", b"Connection", b"X-A", b"x-b", b"TE", b"Trailer",
     b"Upgrade", b"Host", b"Content-Length ", b" X", b"X\x00", b"", b"X(", b"Cookie", b"Expect"]
)  # fmt: skip
VALUES = MOSTLY(
    [b"0", b"3", b"5", b"05", b"+5", b"5,5", b"0x5", b"", b"chunked", b"Chunked", b"gzip, chunked",
     b"chunked, chunked", b"identity", b"close", b"keep-alive", b"x-a", b"upgrade, x-b", b"a b\tc",
     b"\xe9\xff", b"a\x00", b"h", b"h:80", b"h,i", b"u@h", b"trailers", b"websocket", b'"q"',
     b"\x7f", b"100-continue"]
)  # fmt: skip
COLONS = MOSTLY([b": "] * 20 + [b":", b":\t ", b" : ", b""])
INTERIM = MOSTLY(
    [b""] * 8 + [b"HTTP/1.1 103 Hints\r\nX-A: 1\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"]
)
BODIES = st.one_of(
    st.binary(max_size=12),
    MOSTLY([good for good, _ in GOOD_CHUNKS] + BAD_CHUNKS[:30]),
    MOSTLY([b"", b"hello", b"3\r\nabc\r\n0\r\n\r\n", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"]),
)


@st.composite
def framed(draw: st.DrawFn) -> bytes:
    """A framing field and content that may fit it."""
    content = draw(st.binary(max_size=9))
    match draw(st.integers(0, 3)):
        case 0:
            return b"Content-Length: %d\r\n\r\n%b" % (len(content), content)
        case 1:
            return b"Transfer-Encoding: chunked\r\n\r\n" + draw(BODIES)
        case 2:
            return b"Content-Length: %d\r\n\r\n%b" % (draw(st.integers(0, 6)), content)
        case _:
            return b"\r\n" + draw(BODIES)


def lines_of(draw: st.DrawFn) -> bytes:
    """A few field lines, most of them well-formed."""
    return b"".join(
        draw(NAMES) + draw(COLONS) + draw(VALUES) + draw(ENDS)
        for _ in range(draw(st.integers(0, 3)))
    )


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """Something like a request."""
    method = draw(MOSTLY([b"GET"] * 6 + [b"POST"] * 6 + [b"OPTIONS", b"PUT", b"HEAD", b"G T"]))
    target = draw(
        MOSTLY([b"/"] * 8 + [b"/a?b=c", b"*", b"http://h/x", b"http://h", b"h:80", b"/\xe9", b"//"])
    )
    version = draw(MOSTLY([b"HTTP/1.1"] * 20 + [b"HTTP/1.0", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/1"]))
    host = draw(MOSTLY([b"Host: h\r\n"] * 20 + [b"", b"Host: \r\n", b"Host: h\r\nHost: h\r\n"]))
    return (
        b" ".join((method, target, version)) + draw(ENDS) + host + lines_of(draw) + draw(framed())
    )


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """Something like a response."""
    line = draw(
        MOSTLY(
            [b"HTTP/1.1 200 OK"] * 20
            + [b"HTTP/1.1 204 No", b"HTTP/1.1 304 No", b"HTTP/1.0 200 OK", b"HTTP/1.1 200",
               b"HTTP/1.1 404 ", b"HTTP/1.1 99 x", b"HTTP/1.1 600 x", b"HTTP/2.0 200 OK",
               b"HTTP/1.1 2000 OK", b"ICY 200 OK", b"HTTP/1.1 200 \xe9", b"HTTP/1.1 200 \x01"]
        )
    )  # fmt: skip
    return draw(INTERIM) + line + draw(ENDS) + lines_of(draw) + draw(framed())
