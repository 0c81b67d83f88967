"""Responses that we write ourselves, as bytes.

What a refusal says is the business of ``sidecar.core.problem``; framing, ``Date`` and
``Connection`` are ours.
"""

from typing import Final

from sidecar.core.outcome import Denial
from sidecar.core.problem import problem_body, problem_lines
from sidecar.wire.exchange import Answer

CONNECTION_CLOSE: Final = b"connection: close\r\n"


def refusal(denial: Denial, *, decision: str, to_app: bool) -> Answer:
    """*denial* as an answer. *to_app*: it goes to our own app, which is told every detail."""
    return Answer(
        denial.reason.facts.status,
        problem_lines(denial, decision=decision, to_app=to_app),
        problem_body(denial, decision=decision, to_app=to_app),
    )


def serialize(answer: Answer, *, date: bytes, close: bool, head_only: bool) -> bytes:
    """The whole response; without its content where the request was HEAD (RFC 9110, 9.3.2)."""
    head = b"HTTP/1.1 %d %b\r\n%bdate: %b\r\ncontent-length: %d\r\n%b\r\n" % (
        answer.status,
        _PHRASES.get(answer.status, b"Error"),
        answer.lines,
        date,
        len(answer.body),
        CONNECTION_CLOSE if close else b"",
    )
    return head if head_only else head + answer.body


_PHRASES: Final = {
    200: b"OK",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    417: b"Expectation Failed",
    421: b"Misdirected Request",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}
