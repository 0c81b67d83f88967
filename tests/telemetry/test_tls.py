"""``sidecar.telemetry.tls``: what is counted of TLS, and how often a failed handshake is told."""

import logging
from datetime import UTC, datetime

import pytest

from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tls import QUIET_SECONDS
from tests.support.wire_clock import ManualClock
from tests.telemetry.test_metrics import value


def test_failed_handshakes_are_counted_and_told_now_and_then(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whoever makes a thousand handshakes fail writes one line, and the next says how many more."""
    clock = ManualClock()
    metrics = Metrics(version="1")
    tls = metrics.tls("inbound", clock)
    with caplog.at_level(logging.INFO, "sidecar.tls"):
        for _ in range(1_000):
            tls.handshake_failed("not_tls", "http request", "192.0.2.7")
        clock.advance(QUIET_SECONDS - 0.1)
        tls.handshake_failed("gone", "the peer left during the handshake", "192.0.2.8")
        clock.advance(0.2)
        tls.handshake_failed("gone", "the peer left during the handshake", "192.0.2.9")
    assert caplog.messages == [
        "inbound: TLS handshake with 192.0.2.7 failed: http request",
        "inbound: TLS handshake with 192.0.2.9 failed: the peer left during the handshake; "
        "1000 more since the last line",
    ]
    name = "sidecar_tls_handshake_failures_total"
    assert value(metrics, name, endpoint="inbound", reason="not_tls") == 1_000
    assert value(metrics, name, endpoint="inbound", reason="gone") == 2


def test_reloads_and_expiry() -> None:
    """A reload that failed is told until one succeeds; without a certificate there is no expiry."""
    metrics = Metrics(version="1")
    inbound = metrics.tls("inbound", ManualClock())
    metrics.tls("outbound d", ManualClock())
    ends = datetime(2030, 1, 1, tzinfo=UTC)
    inbound.valid_until(ends)
    expiry = "sidecar_tls_certificate_expiry_timestamp_seconds"
    assert value(metrics, expiry, endpoint="inbound") == ends.timestamp()
    assert value(metrics, expiry, endpoint="outbound d") is None
    for successful in (False, True):
        inbound.reloaded(successful)
        name = "sidecar_tls_last_reload_successful"
        assert value(metrics, name, endpoint="inbound") == successful
        assert value(metrics, name, endpoint="outbound d") == 1
    for result in ("success", "failure"):
        assert value(metrics, "sidecar_tls_reloads_total", endpoint="inbound", result=result) == 1


def test_without_tls_there_is_nothing_to_say() -> None:
    """Plain endpoints have no series."""
    assert b"sidecar_tls_" not in Metrics(version="1").render()[0]
