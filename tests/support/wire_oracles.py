"""How other parsers read the same bytes: h11, llhttp (by httptools) and aiohttp's own.

Each is fed one byte at a time, so that where it sees the end of the message is known as well.
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
)

from sidecar.wire.bodies import BodyReader, ChunkedBody, LengthBody
from sidecar.wire.fields import NameTable
from sidecar.wire.heads import MessageError, parse_request_head, parse_response_head
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
        head = parse_request_head(raw[: end + 2], NameTable(), LIMITS)
        body: BodyReader = (
            ChunkedBody(chunked_onward=False) if head.chunked else LengthBody(head.length)
        )
        content, rest = body.feed(raw[end + 4 :]) if not body.done else (b"", raw[end + 4 :])
    except MessageError:
        return None
    if not body.done:
        return None
    lines = [line.removesuffix(b"\r\n").partition(b":") for line in head.lines if line]
    return Reading(
        (head.method, head.target),
        [_field(name, value) for name, _, value in lines],
        content,
        len(raw) - len(rest),
    )


def ours_response(raw: bytes) -> Reading | None:
    """The final response to a GET; content that ends with the connection is left out."""
    end = raw.find(b"\r\n\r\n")
    if end < 0:
        return None
    try:
        head = parse_response_head(raw[: end + 2], NameTable(), LIMITS.max_fields)
        body: BodyReader
        if head.status < 200:
            return None
        if head.status in (204, 304):
            body = LengthBody(0)
        elif head.chunked:
            body = ChunkedBody(chunked_onward=False)
        elif head.length is not None:
            body = LengthBody(head.length)
        else:
            return None
        content, rest = body.feed(raw[end + 4 :]) if not body.done else (b"", raw[end + 4 :])
    except MessageError:
        return None
    if not body.done:
        return None
    lines = [line.removesuffix(b"\r\n").partition(b":") for line in head.lines if line]
    return Reading(
        (b"%d" % head.status,),
        [_field(name, value) for name, _, value in lines],
        content,
        len(raw) - len(rest),
    )


# --- h11 ---


def h11_request(raw: bytes) -> Reading | None:
    """h11 as a server."""
    return _h11(h11.Connection(h11.SERVER), raw)


def h11_response(raw: bytes) -> Reading | None:
    """h11 as a client that sent a GET."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("host", "h")]))
    client.send(h11.EndOfMessage())
    return _h11(client, raw)


def _h11(connection: h11.Connection, raw: bytes) -> Reading | None:
    reading = Reading()
    for position in range(len(raw)):
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
                    reading.end = position + 1
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

    def response(self, raw: bytes) -> Reading | None:
        """As a client that sent a GET."""
        parser = HttpResponseParserPy(
            BaseProtocol(self._loop), self._loop, 2**20, auto_decompress=False, method="GET"
        )
        return self._read(parser, raw)

    def _read(
        self, parser: HttpRequestParserPy | HttpResponseParserPy, raw: bytes
    ) -> Reading | None:
        reading = Reading()
        payload = None
        for position in range(len(raw)):
            try:
                messages, upgraded, _ = parser.feed_data(raw[position : position + 1])
            except Exception:  # whatever it raises, it does not accept
                return None
            if upgraded:
                return None
            if messages:
                message, payload = messages[0]
                reading.start = (
                    (message.method.encode(), message.path.encode("utf-8", "surrogateescape"))
                    if isinstance(message, RawRequestMessage)
                    else (b"%d" % message.code,)
                )
                reading.fields = [_field(name, value) for name, value in message.raw_headers]
            if payload is not None:
                if payload.exception() is not None:
                    return None
                if payload.is_eof():
                    reading.body = b"".join(getattr(payload, "_buffer", ()))
                    reading.end = position + 1
                    return reading
        return None
