"""Whether what has arrived of a head can still become one.

Whoever speaks something else (TLS, bare line ends, no HTTP at all) is told so at once, where
waiting for the rest would leave both sides without an answer until a time is over.
"""

from typing import Final

from sidecar.wire.field_lines import TEXT

_TEXT_AND_ENDS: Final = TEXT + b"\r\n"
_ANSWER: Final = b"HTTP/1."


def is_hopeless(buffer: bytes, start: int) -> bool:
    """Whether the part of a request head in *buffer* from *start* can only become an error."""
    return (
        _has_bare_line_end(buffer)
        or buffer.startswith(b"\r\n", start)
        or bool(buffer.translate(None, _TEXT_AND_ENDS))
    )


def is_hopeless_answer(buffer: bytes) -> bool:
    """Whether *buffer*, the beginning of a response's head, can only become an error."""
    return not buffer.startswith(_ANSWER[: len(buffer)]) or _has_bare_line_end(buffer)


def _has_bare_line_end(buffer: bytes) -> bool:
    """The last byte may be half of a line's end."""
    line_ends = buffer.count(b"\r\n")
    return buffer.count(b"\n") != line_ends or buffer.count(b"\r", 0, -1) > line_ends
