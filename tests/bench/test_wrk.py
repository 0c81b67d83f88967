"""What wrk prints, read into numbers."""

import pytest

from bench.programs import BenchError
from bench.wrk import WrkReport, parse_report

CLEAN = """\
Running 2s test @ http://127.0.0.1:18099/
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.55ms  321.04us   5.60ms   85.91%
    Req/Sec    41.77k     1.62k   44.13k    80.95%
  Latency Distribution
     50%  980.00us
     75%    1.63ms
     90%    1.82ms
     99%    2.47ms
  87041 requests in 2.10s, 29.88MB read
Requests/sec:  41542.56
Transfer/sec:     14.26MB
"""


def test_rate_and_latencies_are_read_in_one_unit() -> None:
    """Microseconds and milliseconds both end as milliseconds."""
    assert parse_report(CLEAN) == WrkReport(41542.56, p50_ms=0.98, p99_ms=2.47, failures=0)


def test_seconds_and_minutes_are_latencies_too() -> None:
    """A proxy that stalls makes wrk change its unit, not us our result."""
    stalled = CLEAN.replace("980.00us", "1.20s ").replace("2.47ms", "1.01m ")
    report = parse_report(stalled)
    assert report.p50_ms == pytest.approx(1_200.0)
    assert report.p99_ms == pytest.approx(60_600.0)


def test_socket_errors_and_refusals_are_failures() -> None:
    """Every kind of request that got no good answer is counted."""
    bad = CLEAN.replace(
        "Requests/sec",
        "  Socket errors: connect 1, read 2, write 3, timeout 4\n"
        "  Non-2xx or 3xx responses: 90\nRequests/sec",
    )
    assert parse_report(bad).failures == 100


def test_other_output_is_an_error_that_quotes_it() -> None:
    """A wrk that could not connect prints no rate, and says why."""
    with pytest.raises(BenchError, match="unable to connect to 127"):
        parse_report("unable to connect to 127.0.0.1:1 Connection refused\n")
