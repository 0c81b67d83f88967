"""One small request must not hold up everybody: work per head grows with its size and no faster.

Each option of ``Connection`` used to go through every field line anew: 32 KiB of options before 95
fields blocked the loop for two thirds of a second, before anybody was asked for a token.
"""

import time
from dataclasses import replace

import pytest

from sidecar.wire.fields import NameTable
from sidecar.wire.heads import MessageError, RequestHead
from sidecar.wire.request_head import parse_request_head
from tests.support.wire_proxy import LIMITS

SIZE = 32_000
FIELDS = b"".join(b"X-%d: y\r\n" % number for number in range(95))


@pytest.mark.parametrize("option", [b"z,", b"x-94,", b"close,", b",", b" ,"])
def test_the_same_option_thousands_of_times(option: bytes) -> None:
    """The longest such head costs milliseconds; it used to cost hundreds."""
    raw = b"GET / HTTP/1.1\r\nHost: h\r\n" + FIELDS + b"Connection: "
    raw += option * ((SIZE - len(raw)) // len(option)) + b"\r\n"
    assert min(seconds_for(raw) for _ in range(3)) < 0.1


def test_thousands_of_options() -> None:
    """Nobody has that many: refused at the bound, and not after looking at each."""
    raw = b"GET / HTTP/1.1\r\nHost: h\r\n" + FIELDS + b"Connection: "
    raw += b",".join(b"y%d" % number for number in range(5_000)) + b"\r\n"
    with pytest.raises(MessageError):
        parse(raw)


def seconds_for(raw: bytes) -> float:
    before = time.process_time()
    parse(raw)
    return time.process_time() - before


def parse(raw: bytes) -> RequestHead:
    return parse_request_head(raw, NameTable(), replace(LIMITS, max_fields=100))
