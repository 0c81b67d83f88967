"""What asking issuers about tokens shows in a scrape."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from sidecar.telemetry.introspection import IntrospectionMetrics
from sidecar.telemetry.metrics import MAX_ISSUERS, OTHER, Metrics


@pytest.fixture
def metrics() -> Metrics:
    """A registry of its own."""
    return Metrics(version="1")


def samples(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Return the samples called *name* by the values of their labels, in alphabetical order."""
    families = text_string_to_metric_families(metrics.render()[0].decode())
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
        if sample.name == name
    }


def test_results_times_and_the_circuit(metrics: Metrics) -> None:
    """Counts by result, a histogram, and one state that is 1."""
    shop = metrics.introspection("shop")
    shop.came_to("active")
    shop.came_to("active")
    shop.came_to("limited")
    shop.took(0.02)
    shop.circuit_changed("open")
    assert samples(metrics, "sidecar_introspections_total") == {
        ("shop", "active"): 2,
        ("shop", "limited"): 1,
    }
    assert samples(metrics, "sidecar_introspection_duration_seconds_count") == {("shop",): 1}
    assert samples(metrics, "sidecar_circuit_state") == {
        ("introspection:shop", "closed"): 0,
        ("introspection:shop", "open"): 1,
        ("introspection:shop", "half_open"): 0,
    }


def test_nothing_is_said_where_nobody_is_asked(metrics: Metrics) -> None:
    """No family without an issuer."""
    assert samples(metrics, "sidecar_circuit_state") == {}


def test_issuers_over_the_bound_share_one_label(metrics: Metrics) -> None:
    """And the same issuer has the same metrics when asked for again."""
    first = metrics.introspection("issuer-0")
    for number in range(MAX_ISSUERS + 20):
        metrics.introspection(f"issuer-{number}").came_to("active")
    assert metrics.introspection("issuer-0") is first
    found = samples(metrics, "sidecar_introspections_total")
    assert len(found) == MAX_ISSUERS + 1
    assert found[OTHER, "active"] == 20
    assert isinstance(first, IntrospectionMetrics)
