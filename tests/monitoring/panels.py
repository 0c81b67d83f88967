"""What the Grafana dashboard shows: rows of panels, each a few queries.

Owns titles, queries and units. How Grafana wants it written belongs to ``generate``.
"""

from dataclasses import dataclass
from typing import Literal

OURS = 'namespace=~"$namespace", pod=~"$pod"'
INBOUND = f'direction="inbound", {OURS}'
PROCESS = f'job="jwt-sidecar", {OURS}'


@dataclass(frozen=True)
class Query:
    """One PromQL expression, and what its series are called."""

    expr: str
    legend: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel. *unit* is Grafana's name of it."""

    title: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Literal["timeseries", "stat"] = "timeseries"
    description: str = ""
    stacked: bool = False
    maximum: float | None = None
    alarming_above: float | None = None


@dataclass(frozen=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


def _rate(metric: str, by: str, selector: str = OURS) -> str:
    return f"sum by ({by}) (rate({metric}{{{selector}}}[$__rate_interval]))"


def _quantile(quantile: float, metric: str, by: str = "direction", selector: str = OURS) -> str:
    labels = ", ".join(filter(None, (by, "le")))
    buckets = f"sum by ({labels}) (rate({metric}_bucket{{{selector}}}[$__rate_interval]))"
    return f"histogram_quantile({quantile}, {buckets})"


ROWS = (
    Row(
        "At a glance",
        (
            Panel(
                "Sidecars",
                (Query(f"count(sidecar_config_last_reload_successful{{{OURS}}})"),),
                kind="stat",
                description="Pods whose sidecar Prometheus scrapes.",
            ),
            Panel(
                "Inbound requests",
                (Query(f"sum(rate(sidecar_requests_total{{{INBOUND}}}[$__rate_interval]))"),),
                "reqps",
                "stat",
            ),
            Panel(
                "Inbound refused",
                (
                    Query(
                        "sum(rate(sidecar_rejections_total"
                        f'{{enforced="true", {INBOUND}}}[$__rate_interval])) '
                        f"/ sum(rate(sidecar_requests_total{{{INBOUND}}}[$__rate_interval]))"
                    ),
                ),
                "percentunit",
                "stat",
            ),
            Panel(
                "Added to a request, p99",
                (Query(_quantile(0.99, "sidecar_overhead_seconds", by="")),),
                "s",
                "stat",
                "Time the sidecar itself takes, without waiting for the other side.",
                alarming_above=0.01,
            ),
            Panel(
                "Apps that answer past their sidecar",
                (Query(f"sum(sidecar_app_exposed{{{OURS}}})"),),
                kind="stat",
                description="Seen from inside the pod: a NetworkPolicy may fence them yet.",
                alarming_above=1,
            ),
            Panel(
                "Issuers without keys",
                (Query(f'sum(sidecar_issuer_state{{state="blind", {OURS}}})'),),
                kind="stat",
                description="Counted once for each pod: its tokens get 503.",
                alarming_above=1,
            ),
        ),
    ),
    Row(
        "Requests",
        (
            Panel(
                "Requests by direction and status",
                (
                    Query(
                        _rate("sidecar_requests_total", "direction, code"),
                        "{{direction}} {{code}}",
                    ),
                ),
                "reqps",
                stacked=True,
            ),
            Panel(
                "Requests by route",
                (
                    Query(
                        _rate("sidecar_requests_total", "direction, route"),
                        "{{direction}} {{route}}",
                    ),
                ),
                "reqps",
                description="A route is the name of a rule, or of a destination.",
            ),
            Panel(
                "Latency",
                tuple(
                    Query(
                        _quantile(each, "sidecar_request_duration_seconds"),
                        f"{{{{direction}}}} p{each * 100:g}",
                    )
                    for each in (0.5, 0.95, 0.99)
                ),
                "s",
                description="First byte of the request to last byte of the response: with the app, "
                "or the destination.",
            ),
            Panel(
                "Added by the sidecar",
                tuple(
                    Query(
                        _quantile(each, "sidecar_overhead_seconds"),
                        f"{{{{direction}}}} p{each * 100:g}",
                    )
                    for each in (0.5, 0.99)
                ),
                "s",
                description="Of that, what the sidecar itself took.",
            ),
            Panel(
                "In flight",
                (
                    Query(
                        f"sum by (direction) (sidecar_requests_in_flight{{{OURS}}})",
                        "{{direction}}",
                    ),
                    Query(
                        f"sum by (direction) (sidecar_tunnels_open{{{OURS}}})",
                        "{{direction}} tunnels",
                    ),
                ),
            ),
            Panel(
                "Sent once more",
                (Query(_rate("sidecar_upstream_retries_total", "direction"), "{{direction}}"),),
                "reqps",
                description="A kept connection had been closed at the other end.",
            ),
        ),
    ),
    Row(
        "Refusals",
        (
            Panel(
                "By reason",
                (
                    Query(
                        _rate(
                            "sidecar_rejections_total",
                            "direction, reason",
                            f'enforced="true", {OURS}',
                        ),
                        "{{direction}} {{reason}}",
                    ),
                ),
                "reqps",
                description="docs/reasons.md has every reason, who can fix it and how.",
                stacked=True,
            ),
            Panel(
                "By route",
                (
                    Query(
                        _rate(
                            "sidecar_rejections_total",
                            "direction, route",
                            f'enforced="true", {OURS}',
                        ),
                        "{{direction}} {{route}}",
                    ),
                ),
                "reqps",
                stacked=True,
            ),
            Panel(
                "Only counted (mode observe)",
                (
                    Query(
                        _rate(
                            "sidecar_rejections_total",
                            "route, reason",
                            f'enforced="false", {OURS}',
                        ),
                        "{{route}} {{reason}}",
                    ),
                ),
                "reqps",
                description="What the rules would refuse once they are enforced.",
            ),
        ),
    ),
    Row(
        "Whose token a call carries",
        (
            Panel(
                "Calls by grade",
                (
                    Query(
                        _rate("sidecar_attributions_total", "method, grade"), "{{method}} {{grade}}"
                    ),
                ),
                "reqps",
                description="By the evidence that named the request which caused the call.",
            ),
            Panel(
                "Calls by outcome",
                (Query(_rate("sidecar_attributions_total", "outcome"), "{{outcome}}"),),
                "reqps",
                stacked=True,
            ),
            Panel(
                "Calls by carrier",
                (Query(_rate("sidecar_carrier_calls_total", "carrier"), "{{carrier}}"),),
                "reqps",
                description="none: the app was started without carrier.",
            ),
            Panel(
                "Live requests",
                (
                    Query(
                        f"max by (pod) (sidecar_ledger_entries{{{OURS}}} "
                        f"/ sidecar_ledger_capacity{{{OURS}}})",
                        "{{pod}}",
                    ),
                ),
                "percentunit",
                description="Of those the ledger holds at most; at 100 % new requests are refused.",
                maximum=1,
            ),
            Panel(
                "Waiting for their turn",
                (Query(f"sum by (pod) (sidecar_admission_waiting{{{OURS}}})", "{{pod}}"),),
                description="With attribution.exclusive.",
            ),
        ),
    ),
    Row(
        "Issuers and tokens",
        (
            Panel(
                "Age of the keys",
                (
                    Query(
                        "time() - max by (issuer) "
                        f"(sidecar_jwks_last_success_timestamp_seconds{{{OURS}}} > 0)",
                        "{{issuer}}, youngest",
                    ),
                    Query(
                        "time() - min by (issuer) "
                        f"(sidecar_jwks_last_success_timestamp_seconds{{{OURS}}} > 0)",
                        "{{issuer}}, oldest",
                    ),
                ),
                "s",
                description="Since the key set was last loaded, over the pods.",
            ),
            Panel(
                "Pods by state of the keys",
                (
                    Query(
                        f"sum by (issuer, state) (sidecar_issuer_state{{{OURS}}})",
                        "{{issuer}} {{state}}",
                    ),
                ),
            ),
            Panel(
                "Fetches of keys",
                (
                    Query(
                        _rate("sidecar_jwks_refreshes_total", "issuer, result"),
                        "{{issuer}} {{result}}",
                    ),
                ),
                "ops",
            ),
            Panel(
                "Verified tokens found in the cache",
                (
                    Query(
                        _rate("sidecar_token_cache_lookups_total", "pod", f'result="hit", {OURS}')
                        + " / "
                        + _rate("sidecar_token_cache_lookups_total", "pod"),
                        "{{pod}}",
                    ),
                ),
                "percentunit",
                maximum=1,
            ),
            Panel(
                "Introspection",
                (
                    Query(
                        _rate("sidecar_introspections_total", "issuer, result"),
                        "{{issuer}} {{result}}",
                    ),
                ),
                "ops",
            ),
            Panel(
                "Introspection, p99",
                (
                    Query(
                        _quantile(0.99, "sidecar_introspection_duration_seconds", by="issuer"),
                        "{{issuer}}",
                    ),
                ),
                "s",
            ),
            Panel(
                "Tokens of destinations",
                (
                    Query(
                        _rate("sidecar_token_exchanges_total", "destination, result"),
                        "{{destination}} {{result}}",
                    ),
                ),
                "ops",
            ),
            Panel(
                "Questions to token endpoints",
                (
                    Query(
                        _rate("sidecar_token_endpoint_requests_total", "client, result"),
                        "{{client}} {{result}}",
                    ),
                ),
                "ops",
            ),
            Panel(
                "Circuits that are open",
                (
                    Query(
                        "sum by (destination) "
                        f'(sidecar_circuit_state{{state=~"open|half_open", {OURS}}})',
                        "{{destination}}",
                    ),
                ),
            ),
            Panel(
                "Good tokens worth a word",
                (
                    Query(
                        _rate("sidecar_token_hygiene_total", "issuer, kind"), "{{issuer}} {{kind}}"
                    ),
                ),
                "ops",
                description="Too long a life, too large, telling too much (issuers.NAME.hygiene).",
            ),
        ),
    ),
    Row(
        "Configuration and certificates",
        (
            Panel(
                "Reloads",
                (
                    Query(
                        _rate("sidecar_config_reloads_total", "result"), "configuration {{result}}"
                    ),
                    Query(_rate("sidecar_tls_reloads_total", "result"), "TLS files {{result}}"),
                ),
                "ops",
            ),
            Panel(
                "Pods that refused their newest configuration",
                (
                    Query(
                        f"sum(1 - sidecar_config_last_reload_successful{{{OURS}}})", "configuration"
                    ),
                    Query(f"sum(1 - sidecar_tls_last_reload_successful{{{OURS}}})", "TLS files"),
                ),
                description="The one before is in force.",
            ),
            Panel(
                "Age of the configuration in force",
                (
                    Query(
                        "time() - max by (pod) "
                        f"(sidecar_config_last_reload_success_timestamp_seconds{{{OURS}}})",
                        "{{pod}}",
                    ),
                ),
                "s",
            ),
            Panel(
                "Certificates end in",
                (
                    Query(
                        "min by (endpoint) "
                        f"(sidecar_tls_certificate_expiry_timestamp_seconds{{{OURS}}}) - time()",
                        "{{endpoint}}",
                    ),
                ),
                "s",
            ),
            Panel(
                "Failed TLS handshakes",
                (
                    Query(
                        _rate("sidecar_tls_handshake_failures_total", "endpoint, reason"),
                        "{{endpoint}} {{reason}}",
                    ),
                ),
                "ops",
            ),
            Panel(
                "Log lines lost",
                (
                    Query(
                        _rate("sidecar_access_log_dropped_lines_total", "pod"), "access log {{pod}}"
                    ),
                    Query(
                        _rate("sidecar_decision_log_dropped_lines_total", "pod"),
                        "decisions {{pod}}",
                    ),
                ),
                "ops",
            ),
            Panel(
                "Versions",
                (
                    Query(
                        f"count by (version, compiled) (sidecar_build_info{{{OURS}}})",
                        "{{version}}, compiled {{compiled}}",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "What it costs",
        (
            Panel(
                "Processor",
                (
                    Query(
                        _rate("process_cpu_seconds_total", "pod", PROCESS),
                        "{{pod}}",
                    ),
                ),
                "short",
                description="Cores.",
            ),
            Panel(
                "Resident memory",
                (Query(f"sum by (pod) (process_resident_memory_bytes{{{PROCESS}}})", "{{pod}}"),),
                "bytes",
            ),
            Panel(
                "Open files and sockets",
                (Query(f"sum by (pod) (process_open_fds{{{PROCESS}}})", "{{pod}}"),),
            ),
        ),
    ),
    Row(
        "Injector (all namespaces)",
        (
            Panel(
                "Admissions",
                (
                    Query(
                        "sum by (kind, result) "
                        "(rate(sidecar_injector_admissions_total[$__rate_interval]))",
                        "{{kind}} {{result}}",
                    ),
                ),
                "ops",
            ),
            Panel(
                "Time of an admission",
                tuple(
                    Query(
                        f"histogram_quantile({each}, sum by (le) "
                        "(rate(sidecar_injector_admission_duration_seconds_bucket[$__rate_interval])))",
                        f"p{each * 100:g}",
                    )
                    for each in (0.5, 0.99)
                ),
                "s",
            ),
            Panel(
                "Certificate ends in",
                (Query("min(sidecar_injector_certificate_expiry_timestamp_seconds) - time()"),),
                "s",
                "stat",
            ),
            Panel(
                "Injectors that answer",
                (Query('count(up{job="jwt-sidecar-injector"} == 1)'),),
                kind="stat",
            ),
        ),
    ),
)
