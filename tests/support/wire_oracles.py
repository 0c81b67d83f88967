"""How other parsers read the same bytes: h11, llhttp (by httptools) and aiohttp's own.

Each is fed one byte at a time, so that where it sees the end of the message is known as well.
llhttp cannot be told that an answer is to HEAD, nor that its connection has ended: it has no say
in those.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import h11
import httptools
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import (
    HttpRequestParserPy,
    HttpResponseParserPy,
    RawRequestMessage,
    RawResponseMessage,
)
from aiohttp.streams import StreamReader

from sidecar.wire.bodies import BodyReader, ChunkedBody, LengthBody, UntilCloseBody
from sidecar.wire.fields import CONTENT_LENGTH, NameTable
from sidecar.wire.heads import MessageError, RequestHead, ResponseHead
from sidecar.wire.request_head import parse_request_head
from sidecar.wire.response_head import parse_response_head
from tests.support.wire_proxy import LIMITS

Fields = list[tuple[bytes, bytes]]


@dataclass
class Reading:
    """One message as somebody understood it."""

    start: tuple[bytes, ...] = ()
    """Method and target, or the status."""
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    end: int = 0
    """How many bytes the message had."""


Oracle = Callable[[bytes], Reading | None]
"""``None``: refused, or not complete."""


def _field(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    return name.lower(), value.strip(b" \t")


# --- ours ---


def ours_request(raw: bytes) -> Reading | None:
    """The request as the proxy understands it, from the first byte (no empty line before it)."""
    end = raw.find(b"\r\n\r\n")
    if end < 0:
        return None
    try:
        head, body, rest = _read_request(raw, end)
        content, rest = body.feed(rest) if not body.done else (b"", rest)
    except MessageError:
        return None
    if not body.done:
        return None
    return Reading((head.method, head.target), _fields(head.lines), content, len(raw) - len(rest))


def forwarded_request(raw: bytes) -> bytes:
    """What the next hop gets to read for *raw*, a request that is accepted."""
    head, body, rest = _read_request(raw, raw.find(b"\r\n\r\n"), onward=True)
    content = b"" if body.done else body.feed(rest)[0]
    return head.serialize(head.target, b"" if head.host else b"host: h\r\n") + content


def _read_request(
    raw: bytes, end: int, *, onward: bool = False
) -> tuple[RequestHead, BodyReader, bytes]:
    head = parse_request_head(raw[: end + 2], NameTable(), LIMITS)
    body = ChunkedBody(chunked_onward=onward) if head.chunked else LengthBody(head.length)
    return head, body, raw[end + 4 :]


def ours_response(raw: bytes, method: str = "GET", *, ends: bool = False) -> Reading | None:
    """The final response to *method*; one that ends with its connection only where that *ends*."""
    end = raw.find(b"\r\n\r\n")
    if end < 0:
        return None
    try:
        head, body, rest = _read_response(raw, end, method)
        if head.status < 200 or (isinstance(body, UntilCloseBody) and not ends):
            return None
        content, rest = body.feed(rest) if not body.done else (b"", rest)
    except MessageError:
        return None
    if not (body.done or (ends and body.end()[0])):
        return None
    return Reading((b"%d" % head.status,), _fields(head.lines), content, len(raw) - len(rest))


def forwarded_response(raw: bytes) -> bytes:
    """What the caller gets to read for *raw*, an accepted answer to its GET over HTTP/1.1."""
    head, body, rest = _read_response(raw, raw.find(b"\r\n\r\n"), "GET", onward=True)
    if head.status == 204:
        head.drop(CONTENT_LENGTH)
    content = b"" if body.done else body.feed(rest)[0]
    framing = b"transfer-encoding: chunked\r\n" if isinstance(body, ChunkedBody) else b""
    return head.serialize(framing) + content


def _read_response(
    raw: bytes, end: int, method: str, *, onward: bool = False
) -> tuple[ResponseHead, BodyReader, bytes]:
    head = parse_response_head(raw[: end + 2], NameTable(), LIMITS.max_fields)
    body: BodyReader
    if method == "HEAD" or head.status in (204, 304):
        body = LengthBody(0)
    elif head.chunked:
        body = ChunkedBody(chunked_onward=onward)
    elif head.length is not None:
        body = LengthBody(head.length)
    else:
        body = UntilCloseBody(chunked_onward=onward)
    return head, body, raw[end + 4 :]


def _fields(lines: list[bytes]) -> Fields:
    parts = [line.removesuffix(b"\r\n").partition(b":") for line in lines if line]
    return [_field(name, value) for name, _, value in parts]


# --- h11 ---


def h11_request(raw: bytes) -> Reading | None:
    """h11 as a server."""
    return _h11(h11.Connection(h11.SERVER), raw)


def h11_response(raw: bytes, method: str = "GET", *, ends: bool = False) -> Reading | None:
    """h11 as a client that sent *method*."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
    client.send(h11.EndOfMessage())
    return _h11(client, raw, ends=ends)


def _h11(connection: h11.Connection, raw: bytes, *, ends: bool = False) -> Reading | None:
    reading = Reading()
    for position in range(len(raw) + ends):
        try:
            connection.receive_data(raw[position : position + 1])
            while (event := connection.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Request):
                    reading.start = (bytes(event.method), bytes(event.target))
                elif isinstance(event, h11.Response):
                    reading.start = (b"%d" % event.status_code,)
                if isinstance(event, h11.Request | h11.Response):
                    reading.fields = [
                        _field(bytes(name), bytes(value)) for name, value in event.headers
                    ]
                elif isinstance(event, h11.Data):
                    reading.body += bytes(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    reading.end = min(position + 1, len(raw))
                    return reading
                else:
                    return None
        except h11.RemoteProtocolError:
            return None
    return None


# --- llhttp ---


class _Collector:
    def __init__(self) -> None:
        self.reading = Reading()
        self.url = b""
        self.done = False
        self._in_trailers = False

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_trailers:  # which it reports like header fields
            self.reading.fields.append(_field(name, value))

    def on_headers_complete(self) -> None:
        self._in_trailers = True

    def on_body(self, body: bytes) -> None:
        if not self.done:
            self.reading.body += body

    def on_message_complete(self) -> None:
        self.done = True


def llhttp_request(raw: bytes) -> Reading | None:
    """llhttp as a server."""
    collector = _Collector()
    parser = httptools.HttpRequestParser(collector)
    reading = _llhttp(collector, parser, raw)
    if reading is not None:
        reading.start = (parser.get_method(), collector.url)
    return reading


def llhttp_response(raw: bytes) -> Reading | None:
    """llhttp as a client that sent a GET."""
    collector = _Collector()
    parser = httptools.HttpResponseParser(collector)
    reading = _llhttp(collector, parser, raw)
    if reading is not None:
        reading.start = (b"%d" % parser.get_status_code(),)
    return reading


def _llhttp(
    collector: _Collector,
    parser: httptools.HttpRequestParser | httptools.HttpResponseParser,
    raw: bytes,
) -> Reading | None:
    for position in range(len(raw)):
        try:
            parser.feed_data(raw[position : position + 1])
        except httptools.HttpParserUpgrade:
            return None
        except httptools.HttpParserError:
            return None
        if collector.done:
            collector.reading.end = position + 1
            return collector.reading
    return None


# --- aiohttp ---


class AiohttpOracle:
    """aiohttp's pure Python parser, which needs a loop to hang its streams on."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def request(self, raw: bytes) -> Reading | None:
        """As a server."""
        parser = HttpRequestParserPy(
            BaseProtocol(self._loop), self._loop, 2**20, auto_decompress=False
        )
        return self._read(parser, raw)

    def response(self, raw: bytes, method: str = "GET", *, ends: bool = False) -> Reading | None:
        """As a client that sent *method*."""
        parser = HttpResponseParserPy(
            BaseProtocol(self._loop),
            self._loop,
            2**20,
            auto_decompress=False,
            method=method,
            response_with_body=method != "HEAD",
            read_until_eof=True,
        )
        return self._read(parser, raw, ends=ends)

    def _read(
        self,
        parser: HttpRequestParserPy | HttpResponseParserPy,
        raw: bytes,
        *,
        ends: bool = False,
    ) -> Reading | None:
        reading = Reading()
        payload: StreamReader | None = None
        for position in range(len(raw) + ends):
            try:
                if position == len(raw):
                    parser.feed_eof()
                else:
                    messages, upgraded, _ = parser.feed_data(raw[position : position + 1])
                    if upgraded:
                        return None
                    if messages:
                        _note(reading, messages[0][0])
                        payload = messages[0][1]
            except Exception:  # whatever it raises, it does not accept
                return None
            if payload is not None:
                if payload.exception() is not None:
                    return None
                if payload.is_eof():
                    reading.body = b"".join(getattr(payload, "_buffer", ()))
                    reading.end = min(position + 1, len(raw))
                    return reading
        return None


def _note(reading: Reading, message: RawRequestMessage | RawResponseMessage) -> None:
    reading.start = (
        (message.method.encode(), message.path.encode("utf-8", "surrogateescape"))
        if isinstance(message, RawRequestMessage)
        else (b"%d" % message.code,)
    )
    reading.fields = [_field(name, value) for name, value in message.raw_headers]
