"""Answers of an app or a destination: the ones nobody may get to see, and good but odd ones."""

from dataclasses import dataclass

OK = b"HTTP/1.1 200 OK\r\n"
SECOND = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother"
"""What a caller would take for the answer to its next request."""


@dataclass(frozen=True)
class Relayed:
    """What the caller reads."""

    status: int = 200
    body: bytes = b""
    framing: str = "length"
    """How the caller learns where the content ends."""
    has: tuple[tuple[bytes, bytes], ...] = ()
    lacks: tuple[bytes, ...] = ()
    phrase: bytes = b"OK"


@dataclass(frozen=True)
class AnswerCase:
    """An answer, and what the caller gets: ``None`` is our 502."""

    name: str
    raw: bytes
    rfc: str
    relayed: Relayed | None = None
    close: bool = False
    """The backend closes after it."""
    reused: bool = False
    """The connection serves the next request."""
    method: bytes = b"GET"
    version: bytes = b"1.1"


def _bad(family: str, rfc: str, cases: dict[str, bytes]) -> list[AnswerCase]:
    return [AnswerCase(f"{family} {name}", raw, rfc) for name, raw in cases.items()]


REFUSED = [
    *_bad(
        "status line",
        "9112, 4",
        {
            f"`{line.decode('latin-1')}`".encode("unicode_escape").decode(): line
            + b"\r\nContent-Length: 0\r\n\r\n"
            for line in (
                b"", b"HTTP/1.1", b"HTTP/1.1 ", b"HTTP/1.1 OK", b"HTTP/1.1 20 OK",
                b"HTTP/1.1 2000 OK", b"HTTP/1.1 099 Odd", b"HTTP/1.1 000 Odd",
                b"HTTP/1.1 600 Odd", b"HTTP/1.1 999 Odd", b"HTTP/1.1 -20 Odd", b"HTTP/1.1 +20 Odd",
                b"HTTP/1.1 2_0 OK", b"HTTP/1.1 0xC8 OK", b"HTTP/1.1 200OK", b"HTTP/1.1 200\tOK",
                b"HTTP/1.1\t200 OK", b"HTTP/1.1  200 OK", b" HTTP/1.1 200 OK", b"HTTP/1.2 200 OK",
                b"HTTP/0.9 200 OK", b"HTTP/2.0 200 OK", b"HTTP/2 200 OK", b"HTTP/01.1 200 OK",
                b"http/1.1 200 OK", b"HTTP 200 OK", b"ICY 200 OK", b"200 OK",
                b"HTTP/1.1 200 O\x00K",
                b"HTTP/1.1 200 O\rK", b"HTTP/1.1 200 O\nK", b"HTTP/1.1 200 O\x7fK",
                b"HTTP/1.1 200 O\x1bK", b"GET / HTTP/1.1",
            )
        },
    ),
    *_bad(
        "field",
        "9112, 5",
        {
            name: OK + line + b"\r\nContent-Length: 0\r\n\r\n"
            for name, line in {
                "without a colon": b"nonsense",
                "without a name": b": x",
                "with a space before the colon": b"X : y",
                "with a space before the name": b" X: y",
                "folded": b"X: a\r\n b",
                "folded with a tab": b"X: a\r\n\tb",
                "with a NUL in the name": b"X\x00: y",
                "with a bracket in the name": b"X[: y",
                "with obs-text in the name": b"X\xe9: y",
                "with a NUL in the value": b"X: \x00",
                "with DEL in the value": b"X: \x7f",
                "with a vertical tab in the value": b"X: a\x0bb",
                "with a bare CR in the value": b"X: a\rb",
                "with a bare LF in the value (response splitting)": b"X: a\nSet-Cookie: b",
                "with the end of a head in bare LF": b"X: a\n\nHTTP/1.1 200 OK",
                "with a Connection that is no list of tokens": b"Connection: a b",
            }.items()
        },
    ),
    *_bad(
        "length",
        "9112, 6.3",
        {
            name: OK + b"Content-Length:" + value + b"\r\n\r\nhello"
            for name, value in {
                "empty": b"",
                "with a plus": b" +5",
                "with a minus": b" -5",
                "with an underscore": b" 0_5",
                "hexadecimal": b" 0x5",
                "of equals in a list": b" 5, 5",
                "of different ones in a list": b" 5, 6",
                "of two numbers": b" 5 5",
                "of a word": b" five",
                "over 64 bits": b" 18446744073709551621",
                "with a vertical tab": b" \x0b5",
                "twice, equal": b" 5\r\nContent-Length: 5",
                "twice, different": b" 5\r\nContent-Length: 0",
                "and chunked": b" 5\r\nTransfer-Encoding: chunked",
                "and a coding nobody knows": b" 5\r\nTransfer-Encoding: cow",
            }.items()
        },
    ),
    *_bad(
        "coding",
        "9112, 6.1",
        {
            name: OK + b"Transfer-Encoding:" + value + b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
            for name, value in {
                "empty": b"",
                "identity": b" identity",
                "gzip": b" gzip",
                "gzip, chunked": b" gzip, chunked",
                "chunked, gzip": b" chunked, gzip",
                "chunked twice": b" chunked, chunked",
                "chunked in two fields": b" chunked\r\nTransfer-Encoding: chunked",
                "xchunked": b" xchunked",
                "quoted": b' "chunked"',
                "with a parameter": b" chunked;q=1",
                "after a vertical tab": b" \x0bchunked",
                "before a NUL": b" chunked\x00",
                "on a folded line": b"\r\n chunked",
            }.items()
        },
    ),
    AnswerCase(
        "coding in HTTP/1.0",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "9112, 6.1",
    ),
    *_bad(
        "chunks:",
        "9112, 7.1",
        {
            name: OK + b"Transfer-Encoding: chunked\r\n\r\n" + raw
            for name, raw in {
                "size with 0x": b"0x5\r\nhello\r\n0\r\n\r\n",
                "size with a plus": b"+5\r\nhello\r\n0\r\n\r\n",
                "size after a space": b" 5\r\nhello\r\n0\r\n\r\n",
                "size before a space": b"5 \r\nhello\r\n0\r\n\r\n",
                "size of 16 digits": b"0000000000000005\r\nhello\r\n0\r\n\r\n",
                "size ended by LF": b"5\nhello\r\n0\r\n\r\n",
                "no size": b"\r\nhello\r\n0\r\n\r\n",
                "LF in an extension": b"5;a\nb\r\nhello\r\n0\r\n\r\n",
                "content longer than its size": b"5\r\nhelloXX0\r\n\r\n",
                "content ended by LF": b"5\r\nhello\n0\r\n\r\n",
                "the end by LF": b"5\r\nhello\r\n0\r\n\n",
                "no chunks at all": b"hello world, this is not chunked",
            }.items()
        },
    ),
    AnswerCase("an answer of HTTP/0.9", b"<html>hello</html>", "9112, 2.3", close=True),
    AnswerCase("another protocol's greeting", b"SSH-2.0-OpenSSH_9.6\r\n", "9112, 4"),
    AnswerCase("a TLS alert", b"\x15\x03\x03\x00\x02\x02\x46", "9112, 4"),
    AnswerCase("bare LF alone", OK.replace(b"\r", b"") + b"Content-Length: 0\n\n", "9112, 2.2"),
    AnswerCase("an empty line before it", b"\r\n" + OK + b"Content-Length: 0\r\n\r\n", "9112, 2.2"),
    AnswerCase("more fields than their bound", OK + b"X: y\r\n" * 101 + b"\r\n", "9110, 5.4"),
    AnswerCase("a head over its bound", OK + b"X: " + b"y" * 33_000 + b"\r\n\r\n", "9110, 5.4"),
]  # fmt: skip

RELAYED = [
    AnswerCase("of a length", OK + b"Content-Length: 5\r\n\r\nhello", "9112, 6.3",
               Relayed(body=b"hello"), reused=True),
    AnswerCase("of length 0", OK + b"Content-Length: 0\r\n\r\n", "9112, 6.3", Relayed(),
               reused=True),
    AnswerCase("of chunks", OK + b"Transfer-Encoding: Chunked\r\n\r\n5;x\r\nhello\r\n0\r\n\r\n",
               "9112, 7.1", Relayed(body=b"hello", framing="chunked"), reused=True),
    AnswerCase("of chunks, for HTTP/1.0",
               OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "9112, 6.1",
               Relayed(body=b"hello", framing="close", lacks=(b"transfer-encoding",)),
               reused=True, version=b"1.0"),
    AnswerCase("until close", OK + b"\r\nhello", "9112, 6.3",
               Relayed(body=b"hello", framing="chunked"), close=True),
    AnswerCase("until close, for HTTP/1.0", OK + b"\r\nhello", "9112, 6.3",
               Relayed(body=b"hello", framing="close"), close=True, version=b"1.0"),
    AnswerCase("until close, of nothing", OK + b"\r\n", "9112, 6.3",
               Relayed(framing="chunked"), close=True),
    AnswerCase("of HTTP/1.0 with a length", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
               "9112, 9.3", Relayed(body=b"hello")),
    AnswerCase("of HTTP/1.0 until close", b"HTTP/1.0 200 OK\r\n\r\nhello", "9112, 9.3",
               Relayed(body=b"hello", framing="chunked"), close=True),
    AnswerCase("of HTTP/1.0 with keep-alive",
               b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\nhi",
               "9112, 9.3", Relayed(body=b"hi", lacks=(b"connection",))),
    AnswerCase("with close", OK + b"Connection: close\r\nContent-Length: 2\r\n\r\nhi",
               "9112, 9.6", Relayed(body=b"hi", lacks=(b"connection",))),
    AnswerCase("204", b"HTTP/1.1 204 No Content\r\n\r\n", "9112, 6.3",
               Relayed(204, framing="none", phrase=b"No Content"), reused=True),
    AnswerCase("204 with length 0", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n",
               "9110, 8.6", Relayed(204, framing="none", phrase=b"No Content",
                                    lacks=(b"content-length",)), reused=True),
    AnswerCase("204 with a length", b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
               "9110, 8.6", Relayed(204, framing="none", phrase=b"No Content",
                                    lacks=(b"content-length",))),
    AnswerCase("204 with chunked",
               b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "9112, 6.1",
               Relayed(204, framing="none", phrase=b"No Content", lacks=(b"transfer-encoding",))),
    AnswerCase("204 with content", b"HTTP/1.1 204 No Content\r\nContent-Length: 60\r\n\r\n"
               + SECOND, "9112, 6.3", Relayed(204, framing="none", phrase=b"No Content")),
    AnswerCase("304 with a length", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
               "9110, 15.4.5", Relayed(304, framing="none", phrase=b"Not Modified",
                                       has=((b"content-length", b"99"),)), reused=True),
    AnswerCase("304 with chunked",
               b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", "9112, 6.1",
               Relayed(304, framing="none", phrase=b"Not Modified",
                       lacks=(b"transfer-encoding",)), reused=True),
    AnswerCase("304 with content", b"HTTP/1.1 304 Not Modified\r\n\r\n" + SECOND, "9112, 6.3",
               Relayed(304, framing="none", phrase=b"Not Modified")),
    AnswerCase("to HEAD with a length", OK + b"Content-Length: 99\r\n\r\n", "9110, 9.3.2",
               Relayed(framing="none", has=((b"content-length", b"99"),)), method=b"HEAD",
               reused=True),
    AnswerCase("to HEAD with chunked", OK + b"Transfer-Encoding: chunked\r\n\r\n", "9112, 6.1",
               Relayed(framing="none"), method=b"HEAD", reused=True),
    AnswerCase("to HEAD without either", OK + b"\r\n", "9110, 9.3.2", Relayed(framing="none"),
               method=b"HEAD", reused=True),
    AnswerCase("to HEAD with content", OK + b"Content-Length: 5\r\n\r\n" + SECOND, "9110, 9.3.2",
               Relayed(framing="none"), method=b"HEAD"),
    AnswerCase("without a reason", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "9112, 4",
               Relayed(phrase=b""), reused=True),
    AnswerCase("without a reason and its space", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
               "9112, 4", Relayed(phrase=b""), reused=True),
    AnswerCase("with obs-text in the reason",
               b"HTTP/1.1 404 Pas trouv\xe9\r\nContent-Length: 0\r\n\r\n", "9112, 4",
               Relayed(404, phrase=b"Pas trouv\xe9"), reused=True),
    AnswerCase("of a status nobody knows", b"HTTP/1.1 599 Odd\r\nContent-Length: 2\r\n\r\nhi",
               "9110, 15", Relayed(599, b"hi", phrase=b"Odd"), reused=True),
    AnswerCase("of 205 with length 0",
               b"HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", "9110, 15.3.6",
               Relayed(205, phrase=b"Reset Content"), reused=True),
    AnswerCase("with obs-text and tabs in a value",
               OK + b"X: a\t\xe9 b\r\nContent-Length: 0\r\n\r\n", "9110, 5.5",
               Relayed(has=((b"x", b"a\t\xe9 b"),)), reused=True),
    AnswerCase("with an empty value", OK + b"X:\r\nContent-Length: 0\r\n\r\n", "9110, 5.5",
               Relayed(has=((b"x", b""),)), reused=True),
    AnswerCase("with an underscored name", OK + b"Content_Length: 9\r\nContent-Length: 0\r\n\r\n",
               "9110, 5.1", Relayed(has=((b"content_length", b"9"),)), reused=True),
    AnswerCase("with fields that end here",
               OK + b"Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nConnection: x-one\r\n"
               b"X-One: 1\r\nX-Two: 2\r\nContent-Length: 0\r\n\r\n", "9110, 7.6.1",
               Relayed(has=((b"x-two", b"2"),),
                       lacks=(b"keep-alive", b"proxy-authenticate", b"x-one", b"connection")),
               reused=True),
    AnswerCase("whose Connection names its framing",
               OK + b"Connection: content-length, transfer-encoding, date\r\n"
               b"Content-Length: 2\r\n\r\nhi", "9110, 7.6.1", Relayed(body=b"hi"), reused=True),
    AnswerCase("with reserved names of ours",
               OK + b"X-Sidecar-Reason: none\r\nx_auth_subject: root\r\nContent-Length: 0\r\n\r\n",
               "DESIGN, 6.5", Relayed(lacks=(b"x-sidecar-reason", b"x_auth_subject")),
               reused=True),
    AnswerCase("followed by another (response queue poisoning)",
               OK + b"Content-Length: 2\r\n\r\nhi" + SECOND, "9112, 9.2", Relayed(body=b"hi")),
    AnswerCase("followed by junk", OK + b"Content-Length: 2\r\n\r\nhi\r\n", "9112, 9.2",
               Relayed(body=b"hi")),
    AnswerCase("of chunks, followed by another",
               OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SECOND, "9112, 9.2",
               Relayed(framing="chunked")),
]  # fmt: skip

CUT = [
    AnswerCase("nothing", b"", "9112, 8", close=True),
    AnswerCase("half a head", OK + b"X: ", "9112, 8", close=True),
    AnswerCase("no content of its length", OK + b"Content-Length: 5\r\n\r\n", "9112, 8",
               close=True),
    AnswerCase("half of its length", OK + b"Content-Length: 5\r\n\r\nhe", "9112, 8", close=True),
    AnswerCase("half a chunk", OK + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhe", "9112, 8",
               close=True),
    AnswerCase("chunks without the last", OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n",
               "9112, 8", close=True),
    AnswerCase("chunks without the last CRLF",
               OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n0\r\n", "9112, 8", close=True),
]  # fmt: skip
"""Answers whose end never comes: the caller must be able to tell."""
