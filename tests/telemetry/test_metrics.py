"""``sidecar.telemetry.metrics``: what a scrape says after something was counted, and its bounds."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from sidecar.core.build import COMPILED
from sidecar.core.outcome import Reason
from sidecar.telemetry import catalogue
from sidecar.telemetry.destinations import DestinationsView
from sidecar.telemetry.metrics import (
    ISSUER_STATES,
    MAX_CODES_PER_ROUTE,
    MAX_ISSUERS,
    MAX_ROUTES,
    MAX_TALLY_SERIES,
    METHODS,
    Direction,
    Metrics,
)


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(version="1.2.3")


@pytest.fixture
def inbound(metrics: Metrics) -> Direction:
    return metrics.direction("inbound", ["profiles", "health"])


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(metrics: Metrics) -> Samples:
    """Return every sample of a scrape by name and labels; fail on one that is there twice."""
    samples: Samples = {}
    for family in parse_text(metrics.render()[0].decode()):
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples
            samples[key] = sample.value
    return samples


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return scrape(metrics).get((name, frozenset(labels.items())))


def series(metrics: Metrics, name: str) -> list[dict[str, str]]:
    return [dict(labels) for found, labels in scrape(metrics) if found == name]


# --- exchanges ---


def test_a_finished_exchange_is_counted_by_route_method_and_code(
    metrics: Metrics, inbound: Direction
) -> None:
    """One finished exchange is one request and one duration."""
    inbound.route("profiles").finished(b"GET", 200, 0.004)
    labels = {"direction": "inbound", "route": "profiles"}
    assert value(metrics, "sidecar_requests_total", method="GET", code="200", **labels) == 1
    name = "sidecar_request_duration_seconds"
    assert value(metrics, f"{name}_bucket", le="0.0025", **labels) == 0
    assert value(metrics, f"{name}_bucket", le="0.005", **labels) == 1
    assert value(metrics, f"{name}_bucket", le="+Inf", **labels) == 1
    assert value(metrics, f"{name}_count", **labels) == 1
    assert value(metrics, f"{name}_sum", **labels) == 0.004


@pytest.mark.parametrize("method", METHODS[:-1])
def test_a_usual_method_is_its_own_label(metrics: Metrics, inbound: Direction, method: str) -> None:
    """Each method of the closed set is counted under its name."""
    inbound.route("profiles").finished(method.encode(), 200, 0.0)
    assert [found["method"] for found in series(metrics, "sidecar_requests_total")] == [method]


@pytest.mark.parametrize("method", [b"get", b"TRACE", b"", b'"\n\\', b"\xff", b"G" * 10_000])
def test_any_other_method_is_other(metrics: Metrics, inbound: Direction, method: bytes) -> None:
    """What a caller invents as a method never becomes a label value."""
    inbound.route("profiles").finished(method, 200, 0.0)
    assert [found["method"] for found in series(metrics, "sidecar_requests_total")] == ["other"]


@pytest.mark.parametrize(
    ("code", "label"),
    [(99, "other"), (100, "100"), (599, "599"), (600, "other"), (-1, "other"), (10**30, "other")],
)
def test_a_code_that_is_no_status_is_other(
    metrics: Metrics, inbound: Direction, code: int, label: str
) -> None:
    """Codes from 100 to 599 are labels, all others are not."""
    inbound.route("profiles").finished(b"GET", code, 0.0)
    assert [found["code"] for found in series(metrics, "sidecar_requests_total")] == [label]


def test_codes_of_one_route_are_bounded(metrics: Metrics, inbound: Direction) -> None:
    """A peer that answers with every status there is gets only so many series, and none is lost."""
    for code in range(100, 600):
        inbound.route("profiles").finished(b"GET", code, 0.0)
    inbound.route("profiles").finished(b"GET", 100, 0.0)
    assert len(series(metrics, "sidecar_requests_total")) == MAX_CODES_PER_ROUTE + 1
    labels = {"direction": "inbound", "route": "profiles", "method": "GET"}
    assert value(metrics, "sidecar_requests_total", code="100", **labels) == 2
    rest = 500 - MAX_CODES_PER_ROUTE
    assert value(metrics, "sidecar_requests_total", code="other", **labels) == rest


def test_a_hundred_thousand_random_requests_leave_the_number_of_series_flat(
    metrics: Metrics, inbound: Direction
) -> None:
    """Routes and methods that callers make up add no series."""
    for name in ("none", "other", "profiles", "health"):
        for method in METHODS:
            inbound.route(name).finished(method.encode(), 200, 0.0)
        inbound.reject(Reason.NO_RULE, name, True)
    before = len(scrape(metrics))
    chance = random.Random(1)
    for _ in range(100_000):
        name = f"/{chance.getrandbits(64)}"
        inbound.route(name).finished(chance.randbytes(4), 200, 0.001)
        inbound.reject(Reason.NO_RULE, name, True)
    assert len(scrape(metrics)) == before
    refused = {"direction": "inbound", "reason": "no_rule", "route": "other", "enforced": "true"}
    assert value(metrics, "sidecar_rejections_total", **refused) == 100_001


def test_routes_over_the_bound_share_one_series(metrics: Metrics) -> None:
    """Configured routes after the two hundredth are ``other``; the others stay themselves."""
    names = [f"route-{number}" for number in range(MAX_ROUTES + 50)]
    direction = metrics.direction("outbound", names)
    for name in names:
        direction.route(name).finished(b"GET", 200, 0.0)
    found = {labels["route"]: labels for labels in series(metrics, "sidecar_requests_total")}
    assert set(found) == {*names[:MAX_ROUTES], "other"}
    assert value(metrics, "sidecar_requests_total", **found["other"]) == 50


def test_a_direction_asked_for_again_goes_on_counting(metrics: Metrics, inbound: Direction) -> None:
    """After a reload new routes count too, and no counter starts over."""
    inbound.route("profiles").finished(b"GET", 200, 0.0)
    again = metrics.direction("inbound", ["profiles", "new"])
    again.route("profiles").finished(b"GET", 200, 0.0)
    again.route("new").finished(b"GET", 200, 0.0)
    labels = {"direction": "inbound", "method": "GET", "code": "200"}
    assert value(metrics, "sidecar_requests_total", route="profiles", **labels) == 2
    assert value(metrics, "sidecar_requests_total", route="new", **labels) == 1


def test_directions_are_told_apart(metrics: Metrics, inbound: Direction) -> None:
    """Overhead and requests in flight are told per direction."""
    outbound = metrics.direction("outbound", [])
    inbound.in_flight += 3
    inbound.in_flight -= 1
    inbound.overhead.observe(0.00007)
    outbound.overhead.observe(0.5)
    assert value(metrics, "sidecar_requests_in_flight", direction="inbound") == 2
    assert value(metrics, "sidecar_requests_in_flight", direction="outbound") == 0
    name = "sidecar_overhead_seconds_bucket"
    assert value(metrics, name, direction="inbound", le="5e-05") == 0
    assert value(metrics, name, direction="inbound", le="0.0001") == 1
    assert value(metrics, name, direction="outbound", le="0.1") == 0
    assert value(metrics, name, direction="outbound", le="+Inf") == 1


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_a_label(metrics: Metrics, inbound: Direction, reason: Reason) -> None:
    """A refusal is counted under its public code, enforced and observed ones apart."""
    inbound.reject(reason, "profiles", True)
    inbound.reject(reason, "profiles", True)
    inbound.reject(reason, "profiles", False)
    labels = {"direction": "inbound", "reason": reason.code, "route": "profiles"}
    assert value(metrics, "sidecar_rejections_total", enforced="true", **labels) == 2
    assert value(metrics, "sidecar_rejections_total", enforced="false", **labels) == 1


# --- attribution, ledger, cache, access log ---


def test_attributions_are_counted_and_bounded(metrics: Metrics) -> None:
    """Evidence, grade and outcome are labels; combinations over the bound are ``other``."""
    for _ in range(2):
        metrics.attributed("header", "strict", "attached")
    for number in range(1000):
        metrics.attributed(f"carrier-{number}", "compat", "refused")
    labels = {"method": "header", "grade": "strict", "outcome": "attached"}
    assert value(metrics, "sidecar_attributions_total", **labels) == 2
    other = dict.fromkeys(labels, "other")
    rest = 1001 - MAX_TALLY_SERIES
    assert value(metrics, "sidecar_attributions_total", **other) == rest
    assert len(series(metrics, "sidecar_attributions_total")) == MAX_TALLY_SERIES + 1


def test_the_ledger_is_asked_at_each_scrape(metrics: Metrics) -> None:
    """The gauge shows the ledger as it is now, and what it can hold."""
    entries = ["a", "b"]
    assert series(metrics, "sidecar_ledger_entries") == []
    metrics.watch_ledger(lambda: len(entries), 10_000)
    assert value(metrics, "sidecar_ledger_entries") == 2
    entries.pop()
    assert value(metrics, "sidecar_ledger_entries") == 1
    assert value(metrics, "sidecar_ledger_capacity") == 10_000


def test_lookups_go_on_counting_when_the_cache_is_replaced(metrics: Metrics) -> None:
    """A reload starts an empty cache; the counter never falls."""
    name = "sidecar_token_cache_lookups_total"
    metrics.watch_token_cache(lambda: 5, lambda: 2)
    assert (value(metrics, name, result="hit"), value(metrics, name, result="miss")) == (5, 2)
    for _ in range(2):
        metrics.watch_token_cache(lambda: 1, lambda: 0)
    assert (value(metrics, name, result="hit"), value(metrics, name, result="miss")) == (7, 2)


def test_lost_access_log_lines_are_told(metrics: Metrics) -> None:
    """The metric asks the log at each scrape."""
    metrics.watch_access_log(lambda: 12)
    assert value(metrics, "sidecar_access_log_dropped_lines_total") == 12


def test_lost_decisions_are_told(metrics: Metrics) -> None:
    """They are counted apart from the lines of the access log."""
    metrics.watch_decision_log(lambda: 7)
    assert value(metrics, "sidecar_decision_log_dropped_lines_total") == 7


# --- issuers and configuration ---


@pytest.mark.parametrize("state", ISSUER_STATES)
def test_an_issuer_is_in_exactly_one_state(metrics: Metrics, state: str) -> None:
    """The state that was reported last is 1 and the others are 0."""
    metrics.issuer("shop").state_changed("blind")
    metrics.issuer("shop").state_changed(state)
    states = {
        each: value(metrics, "sidecar_issuer_state", issuer="shop", state=each)
        for each in ISSUER_STATES
    }
    assert states == {each: float(each == state) for each in ISSUER_STATES}


def test_a_new_issuer_is_loading_and_has_never_succeeded(metrics: Metrics) -> None:
    """Before the first report an issuer counts as loading, with a last success of 0."""
    metrics.issuer("shop")
    assert value(metrics, "sidecar_issuer_state", issuer="shop", state="loading") == 1
    assert value(metrics, "sidecar_jwks_last_success_timestamp_seconds", issuer="shop") == 0


def test_a_state_outside_the_set_is_refused(metrics: Metrics) -> None:
    """A state that dashboards do not know is a defect, not a label."""
    with pytest.raises(ValueError, match="melting"):
        metrics.issuer("shop").state_changed("melting")


def test_refreshes_of_key_sets_are_counted_per_issuer_and_result(metrics: Metrics) -> None:
    """Attempts and the time of the newest success are told per issuer."""
    shop = metrics.issuer("shop")
    shop.refreshed("success")
    shop.succeeded(1_800_000_000.5)
    metrics.issuer("shop").refreshed("failure")
    metrics.issuer("bank").refreshed("failure")
    name = "sidecar_jwks_refreshes_total"
    assert value(metrics, name, issuer="shop", result="success") == 1
    assert value(metrics, name, issuer="shop", result="failure") == 1
    assert value(metrics, name, issuer="bank", result="failure") == 1
    last = "sidecar_jwks_last_success_timestamp_seconds"
    assert value(metrics, last, issuer="shop") == 1_800_000_000.5


def test_issuers_are_bounded(metrics: Metrics) -> None:
    """Issuers over the bound share the metrics of ``other``."""
    for number in range(MAX_ISSUERS + 20):
        metrics.issuer(f"issuer-{number}").refreshed("success")
    found = {labels["issuer"] for labels in series(metrics, "sidecar_jwks_refreshes_total")}
    assert len(found) == MAX_ISSUERS + 1
    assert value(metrics, "sidecar_jwks_refreshes_total", issuer="other", result="success") == 20


def test_reloads_are_counted_and_the_last_one_is_remembered(metrics: Metrics) -> None:
    """A bad new configuration shows until a good one follows; start-up counts as good."""
    last = "sidecar_config_last_reload_successful"
    assert value(metrics, last) == 1
    metrics.config_reloaded(False, 5.0)
    assert value(metrics, last) == 0
    metrics.config_reloaded(True, 6.0)
    assert value(metrics, last) == 1
    assert value(metrics, "sidecar_config_reloads_total", result="failure") == 1
    assert value(metrics, "sidecar_config_reloads_total", result="success") == 1
    assert value(metrics, "sidecar_config_last_reload_success_timestamp_seconds") == 6


def test_the_version_is_told(metrics: Metrics) -> None:
    """Build information is a constant 1 with the version as label."""
    compiled = "true" if COMPILED else "false"
    assert value(metrics, "sidecar_build_info", version="1.2.3", compiled=compiled) == 1


# --- the exposition ---


def everything(metrics: Metrics) -> None:
    """Make every family of the catalogue have at least one sample."""
    inbound = metrics.direction("inbound", ["profiles"])
    inbound.route("profiles").finished(b"GET", 200, 0.004)
    inbound.reject(Reason.NO_RULE, "profiles", True)
    metrics.attributed("header", "strict", "attached")
    metrics.watch_ledger(lambda: 0, 1)
    metrics.watch_admission(lambda: 0)
    metrics.watch_token_cache(lambda: 0, lambda: 0)
    metrics.watch_access_log(lambda: 0)
    metrics.watch_decision_log(lambda: 0)
    metrics.watch_app_exposure(lambda: False)
    metrics.watch_hygiene(lambda: [(("shop", "size"), 1)])
    metrics.watch_carriers(lambda: {"strict": 0})
    metrics.watch_tunnels(lambda: {"inbound": 0, "outbound": 0})
    metrics.connected_past("profiles")
    metrics.relayed_outside("profiles")
    metrics.connect_retried("profiles")
    metrics.caller_deadline("used")
    metrics.watch_destinations(
        DestinationsView(in_flight=lambda: {"profiles": 0}, circuits=lambda: {"profiles": "open"})
    )
    metrics.issuer("shop").refreshed("success")
    metrics.introspection("shop").came_to("active")
    exchanges = metrics.token_exchanges("profiles")
    exchanges.came_to("obtained")
    exchanges.took(0.02)
    metrics.watch_obtained_tokens(lambda: 1)
    metrics.token_endpoint("shop").came_to("success")
    metrics.shared_tokens().came_to("found")
    tls = metrics.tls("inbound", lambda: 0.0)
    tls.valid_until(datetime(2030, 1, 1, tzinfo=UTC))
    tls.handshake_failed("not_tls", "http request", "192.0.2.1")


def families(metrics: Metrics) -> Iterator[tuple[str, str, str, set[str]]]:
    """Yield name, type, help and label names (``le`` aside) of our families in a scrape."""
    for family in parse_text(metrics.render()[0].decode()):
        if family.name.startswith("sidecar_"):
            labels = {label for sample in family.samples for label in sample.labels}
            suffix = "_total" if family.type == "counter" else ""
            yield family.name + suffix, family.type, family.documentation, labels - {"le"}


def test_the_catalogue_is_what_is_served(metrics: Metrics) -> None:
    """Every family of the catalogue is served, with its name, type, help and labels."""
    everything(metrics)
    assert {name: rest for name, *rest in families(metrics)} == {
        family.name: [family.kind, family.help, set(family.labels)]
        for family in catalogue.CATALOGUE
    }


def test_process_metrics_are_told(metrics: Metrics) -> None:
    """Prometheus' usual process metrics come along."""
    resident = value(metrics, "process_resident_memory_bytes")
    assert resident is not None
    assert resident > 1_000_000


def test_openmetrics_is_served_to_those_who_ask(metrics: Metrics) -> None:
    """An Accept header with OpenMetrics gets OpenMetrics, and its strict parser agrees."""
    everything(metrics)
    accept = "application/openmetrics-text;version=1.0.0;q=0.8, text/plain;version=0.0.4;q=0.5"
    body, content_type = metrics.render(accept)
    assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    assert body.endswith(b"# EOF\n")
    parsed = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call] # not annotated
    ours = {family.name for family in parsed if family.name.startswith("sidecar_")}
    assert len(ours) == len(catalogue.CATALOGUE)


@pytest.mark.parametrize(
    "accept",
    ["", "*/*", "text/plain", "text/html;q=0.9", ",;,=", "application/openmetrics-textual"],
)
def test_everybody_else_gets_plain_text(metrics: Metrics, accept: str) -> None:
    """Any other Accept header gets the text format."""
    body, content_type = metrics.render(accept)
    assert content_type == "text/plain; version=0.0.4; charset=utf-8"
    assert b"# EOF" not in body


@pytest.mark.parametrize(
    "version", ["9.9\r\nx-evil: 1", "banana", "0.0.1", "1.0.0; escaping=values"]
)
def test_nothing_of_the_accept_header_comes_back(metrics: Metrics, version: str) -> None:
    """The content type is ours alone, whatever parameters the scraper sends."""
    _, content_type = metrics.render(f"application/openmetrics-text; version={version}")
    assert content_type == "application/openmetrics-text; version=1.0.0; charset=utf-8"


def test_names_from_the_configuration_are_escaped(metrics: Metrics) -> None:
    """A route with quotes, backslashes and newlines in its name cannot end a line or a label."""
    name = 'a"b\\c\nsidecar_ledger_entries 99\n# ü'
    metrics.direction("inbound", [name]).route(name).finished(b"GET", 200, 0.0)
    assert [found["route"] for found in series(metrics, "sidecar_requests_total")] == [name]
    assert value(metrics, "sidecar_ledger_entries") is None


def test_two_instances_share_nothing(metrics: Metrics) -> None:
    """Each instance has its own registry: one process may hold several."""
    metrics.config_reloaded(True, 6.0)
    other = Metrics(version="1.2.3")
    assert value(other, "sidecar_config_reloads_total", result="success") == 0


# --- carriers ---


def test_calls_by_carrier_are_asked_for_at_each_scrape(metrics: Metrics) -> None:
    """The counts belong to whoever watches the calls; a scrape shows them as they are then."""
    counts = {"strict": 1, "none": 0}
    metrics.watch_carriers(lambda: counts)
    assert value(metrics, "sidecar_carrier_calls_total", carrier="strict") == 1
    counts["strict"] = 7
    assert value(metrics, "sidecar_carrier_calls_total", carrier="strict") == 7
    assert value(metrics, "sidecar_carrier_calls_total", carrier="none") == 0
