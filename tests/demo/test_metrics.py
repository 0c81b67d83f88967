"""Reading what moved out of two expositions."""

import pytest

from sidecar.demo.metrics import Reading, series

BEFORE = """\
# HELP sidecar_requests_total Exchanges finished.
# TYPE sidecar_requests_total counter
sidecar_requests_total{direction="inbound",route="users",method="GET",code="200"} 2.0
# TYPE sidecar_ledger_entries gauge
sidecar_ledger_entries 7.0
"""
AFTER = """\
# HELP sidecar_requests_total Exchanges finished.
# TYPE sidecar_requests_total counter
sidecar_requests_total{direction="inbound",route="users",method="GET",code="200"} 12.0
sidecar_requests_total{direction="inbound",route="health",method="GET",code="200"} 1.0
sidecar_requests_total{direction="inbound",route="users",method="GET",code="401"} 3.0
# TYPE sidecar_token_cache_lookups_total counter
sidecar_token_cache_lookups_total{result="hit"} 0.0
"""


def test_what_moved_is_summed_over_the_labels_not_told() -> None:
    """Routes and methods are added up; series that stood still, and gauges, are left out."""
    assert Reading.of(AFTER).since(Reading.of(BEFORE)) == {
        'sidecar_requests_total{direction="inbound", code="200"}': 11,
        'sidecar_requests_total{direction="inbound", code="401"}': 3,
    }


def test_a_series_is_written_as_in_a_query() -> None:
    """Labels come in the order of the metric, whatever order they are given in."""
    written = series("sidecar_requests_total", code="200", direction="inbound")
    assert written == 'sidecar_requests_total{direction="inbound", code="200"}'


def test_what_is_no_exposition_is_an_error() -> None:
    """A page that is not metrics is not taken for metrics that say zero."""
    with pytest.raises(ValueError, match="metric name"):
        Reading.of("<html>not metrics</html>")
