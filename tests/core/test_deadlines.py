"""What fields say of how long somebody waits, both ways."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.core.deadlines import DeadlineFields, read_seconds, write_seconds

GRPC, ENVOY, OTHER = b"grpc-timeout", b"x-envoy-expected-rq-timeout-ms", b"x-request-timeout"


@pytest.mark.parametrize(
    ("name", "value", "seconds"),
    [
        (GRPC, b"1H", 3600.0),
        (GRPC, b"2M", 120.0),
        (GRPC, b"3S", 3.0),
        (GRPC, b"250m", 0.25),
        (GRPC, b"5000u", 0.005),
        (GRPC, b"99999999n", 0.099999999),
        (ENVOY, b"1500", 1.5),
        (b"x-envoy-upstream-rq-timeout-ms", b"20", 0.02),
        (OTHER, b"2", 2.0),
        (OTHER, b"0.5", 0.5),
        (OTHER, b"2s", 2.0),
        (OTHER, b"250ms", 0.25),
        (OTHER, b"1m", 60.0),
        (OTHER, b"1h", 3600.0),
        (OTHER, b"1.5s", 1.5),
    ],
)
def test_what_can_be_read(name: bytes, value: bytes, seconds: float) -> None:
    """Each name has its form."""
    assert read_seconds(name, value) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((GRPC, value) for value in (b"", b"5", b"1s", b"123456789m", b"-1S", b"1.5S", b"0S")),
        *((ENVOY, value) for value in (b"", b"1.5", b"5ms", b"-5", b"0", b"1e3", b"1" * 13)),
        *(
            (OTHER, value)
            for value in (b"", b"0", b"-1", b"1,5", b"5 s", b"s", b"nan", b"inf", b"1e3", b"5S")
        ),
        (OTHER, b"\xef\xbc\x91"),  # a digit, but no ASCII one
    ],
)
def test_what_says_nothing(name: bytes, value: bytes) -> None:
    """It is as if it were not there: nobody is refused for it, and nobody gets more time."""
    assert read_seconds(name, value) is None


@pytest.mark.parametrize(
    ("name", "seconds", "value"),
    [
        (GRPC, 1.5, b"1500m"),
        (GRPC, 1e9, b"99999999m"),
        (ENVOY, 0.0259, b"25"),
        (OTHER, 2.0, b"2.000"),
        (OTHER, 0.0005, b"0.001"),
    ],
)
def test_what_is_written(name: bytes, seconds: float, value: bytes) -> None:
    """Milliseconds, rounded down but to one at least: 0 would be no limit at all."""
    assert write_seconds(name, seconds) == value


@given(st.sampled_from([GRPC, ENVOY, OTHER]), st.floats(0.001, 90_000.0))
def test_whoever_reads_what_we_write_waits_no_longer(name: bytes, seconds: float) -> None:
    """And at most a millisecond less."""
    read = read_seconds(name, write_seconds(name, seconds))
    assert read is not None
    assert seconds - 0.001 - 1e-6 <= read <= max(seconds, 0.001) + 1e-6


@given(st.sampled_from([GRPC, ENVOY, OTHER]), st.binary(max_size=20))
def test_any_bytes_are_a_number_or_nothing(name: bytes, value: bytes) -> None:
    """Nothing raises, and nobody waits for no time or less."""
    seconds = read_seconds(name, value)
    assert seconds is None or 0.0 < seconds < inf


def test_the_least_of_all_fields_counts() -> None:
    """However a name is spelled and however often it is sent; dropped lines are no fields."""
    fields = DeadlineFields(("grpc-timeout", "x-request-timeout"))
    lines = [
        b"host: h\r\n",
        b"",
        b"GRPC-Timeout: 3S\r\n",
        b"X-Request-Timeout:2s\r\n",
        b"x-request-timeout: soon\r\n",
        b"x-request-timeout-not: 1s\r\n",
    ]
    assert fields.read(lines) == (2.0, 1)
    assert fields.find(lines) == [2, 3, 4]
    assert fields.read(lines[:2]) == (inf, 0)
