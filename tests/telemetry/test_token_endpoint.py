"""What asking for tokens shows in a scrape."""

import pytest

from sidecar.telemetry.metrics import OTHER, Metrics
from sidecar.telemetry.token_endpoint import MAX_CLIENTS
from tests.telemetry.test_introspection import samples


@pytest.fixture
def metrics() -> Metrics:
    """A registry of its own."""
    return Metrics(version="1")


def test_results_times_and_the_circuit(metrics: Metrics) -> None:
    """Counts by result, a histogram, what is under way, and one state that is 1, beside others'."""
    metrics.introspection("shop")
    shop = metrics.token_endpoint("shop")
    shop.came_to("success")
    shop.came_to("success")
    shop.came_to("limited")
    shop.began()
    shop.began()
    shop.ended(0.02)
    shop.circuit_changed("half_open")
    assert samples(metrics, "sidecar_token_endpoint_requests_total") == {
        ("shop", "success"): 2,
        ("shop", "limited"): 1,
    }
    assert samples(metrics, "sidecar_token_endpoint_duration_seconds_count") == {("shop",): 1}
    assert samples(metrics, "sidecar_token_endpoint_in_flight") == {("shop",): 1}
    assert samples(metrics, "sidecar_circuit_state") == {
        ("introspection:shop", "closed"): 1,
        ("introspection:shop", "open"): 0,
        ("introspection:shop", "half_open"): 0,
        ("client:shop", "closed"): 0,
        ("client:shop", "open"): 0,
        ("client:shop", "half_open"): 1,
    }


def test_clients_over_the_bound_share_one_label(metrics: Metrics) -> None:
    """And one that is not configured any more is forgotten."""
    for number in range(MAX_CLIENTS + 20):
        metrics.token_endpoint(f"client-{number}").came_to("success")
    found = samples(metrics, "sidecar_token_endpoint_requests_total")
    assert len(found) == MAX_CLIENTS + 1
    assert found[OTHER, "success"] == 20
    metrics.watch_only(issuers=(), tls=(), clients=("client-1",))
    found = samples(metrics, "sidecar_token_endpoint_requests_total")
    assert found.keys() == {("client-1", "success"), (OTHER, "success")}
