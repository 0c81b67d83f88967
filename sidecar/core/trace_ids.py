"""Trace ids of ours in place of the caller's, for tracers that carry nothing else.

B3, Jaeger and Datadog clients keep one number from request to call. Off by default, because the
app's own traces then have other ids than its callers'. Each format writes the same number in its
own way, and some of them only its lower half, so the lower half is what stands for a request.
"""

import re
from dataclasses import dataclass
from typing import Final

_HEX_PAIR: Final = rb"[0-9a-f]{16}(?:[0-9a-f]{16})?"
_FORMATS: Final = {
    b"traceparent": re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?"),
    b"b3": re.compile(rb"(%b)-[0-9a-f]{16}(?:-.*)?" % _HEX_PAIR),
    b"x-b3-traceid": re.compile(rb"(%b)" % _HEX_PAIR),
    b"uber-trace-id": re.compile(rb"([0-9a-f]{1,32})(?::|%3[Aa])[0-9a-f].*"),
    b"x-datadog-trace-id": re.compile(rb"([1-9][0-9]{0,19})"),
}
_DECIMAL: Final = b"x-datadog-trace-id"
_LOW: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class FoundTraceId:
    """A trace id in a field's value, and where it stands."""

    number: int
    start: int
    end: int


def read_trace_id(name: bytes, value: bytes) -> FoundTraceId | None:
    """Return the trace id in *value* of the field *name* (lower case), if it has one."""
    match = _FORMATS[name].fullmatch(value)
    if match is None:
        return None
    number = int(match[1], 10 if name == _DECIMAL else 16)
    return FoundTraceId(number, match.start(1), match.end(1)) if number else None


def key_of(number: int) -> bytes:
    """Return the key under which the ledger knows a trace id, whichever half of it was sent."""
    return b"trace-id %016x" % (number & _LOW)


def with_trace_id(name: bytes, value: bytes, found: FoundTraceId, number: int) -> bytes:
    """Return *value* with *number* in place of the trace id, written as that field writes it."""
    digits = found.end - found.start
    if name == _DECIMAL:
        written = b"%d" % (number & _LOW)
    elif name == b"uber-trace-id":
        written = b"%x" % (number if digits > 16 else number & _LOW)
    elif digits == 32:
        written = b"%032x" % number
    else:
        written = b"%016x" % (number & _LOW)
    return value[: found.start] + written + value[found.end :]
