"""What the tokens of destinations show in a scrape."""

from sidecar.telemetry.metrics import MAX_ROUTES, OTHER, Metrics
from tests.telemetry.test_introspection import samples


def test_results_times_and_what_is_kept() -> None:
    """Counts by result, those at hand included, a histogram, and a gauge."""
    metrics = Metrics(version="1")
    metrics.watch_obtained_tokens(lambda: 7)
    orders = metrics.token_exchanges("orders")
    orders.came_to("obtained")
    orders.cached += 3
    orders.took(0.02)
    assert samples(metrics, "sidecar_token_exchanges_total") == {
        ("orders", "obtained"): 1,
        ("orders", "cached"): 3,
    }
    assert samples(metrics, "sidecar_token_exchange_duration_seconds_count") == {("orders",): 1}
    assert samples(metrics, "sidecar_obtained_tokens") == {(): 7}


def test_nothing_where_no_token_is_obtained() -> None:
    """A sidecar that relays has no series of this."""
    metrics = Metrics(version="1")
    metrics.watch_obtained_tokens(lambda: 0)
    assert b"sidecar_obtained_tokens" not in metrics.render()[0]


def test_destinations_are_bounded() -> None:
    """Over the bound they are counted together; those there are keep counting."""
    metrics = Metrics(version="1")
    first = metrics.token_exchanges("destination0")
    for number in range(MAX_ROUTES + 5):
        metrics.token_exchanges(f"destination{number}").came_to("obtained")
    assert metrics.token_exchanges("destination0") is first
    counted = samples(metrics, "sidecar_token_exchanges_total")
    assert counted[(OTHER, "obtained")] == 5
    assert len(counted) == MAX_ROUTES + 1
