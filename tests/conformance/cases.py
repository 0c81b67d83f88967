"""What a case is: bytes from a caller, and what has to become of them."""

from dataclasses import dataclass, field

MALFORMED = "message_malformed"


@dataclass(frozen=True)
class Refused:
    """One clean refusal, the end of the connection, and nothing at the backend."""

    status: int = 400
    reason: str = MALFORMED


@dataclass(frozen=True)
class Passed:
    """One request at the backend, as it should be read."""

    body: bytes = b""
    target: bytes = b"/case"
    method: bytes = b"POST"
    has: tuple[tuple[bytes, bytes], ...] = ()
    """Fields that arrive with these values."""
    lacks: tuple[bytes, ...] = ()
    """Names of fields that do not arrive."""


@dataclass(frozen=True)
class Case:
    """One message. ``{H}`` stands for the host and ``{A}`` for the caller's token."""

    name: str
    raw: bytes
    rfc: str
    """The section that decides, of RFC 9110 or 9112; ours where it says more than they do."""
    verdict: Refused | Passed = field(default_factory=Refused)


def request(
    *lines: bytes,
    start: bytes = b"POST /case HTTP/1.1",
    host: bytes = b"Host: {H}\r\n",
    content: bytes = b"",
) -> bytes:
    """A whole request with a good Host and a good token, unless told otherwise."""
    return b"%b\r\n%b{A}%b\r\n%b" % (start, host, b"".join(b + b"\r\n" for b in lines), content)


def chunked(content: bytes) -> bytes:
    """A request whose chunked content is *content*, good or bad."""
    return request(b"Transfer-Encoding: chunked", content=content)


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""What an attacker would like to have read as a request of its own."""
