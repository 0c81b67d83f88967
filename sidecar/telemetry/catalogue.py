"""Every metric of ours: its name, its labels and what it says, in one place.

Names and labels are public: dashboards and alerts are written against them. Counting, and who
counts what, belongs to ``sidecar.telemetry.metrics``.
"""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]


@dataclass(frozen=True, slots=True)
class Family:
    """One metric as it appears in the exposition."""

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()


REQUESTS: Final = Family(
    "sidecar_requests_total",
    "counter",
    "Exchanges finished, refused ones included.",
    ("direction", "route", "method", "code"),
)
REQUEST_DURATION: Final = Family(
    "sidecar_request_duration_seconds",
    "histogram",
    "First byte of the request head to last byte of the response.",
    ("direction", "route"),
)
OVERHEAD: Final = Family(
    "sidecar_overhead_seconds",
    "histogram",
    "Time the sidecar itself added to an exchange, without waiting for the other side.",
    ("direction",),
)
IN_FLIGHT: Final = Family(
    "sidecar_requests_in_flight",
    "gauge",
    "Exchanges begun and not yet finished.",
    ("direction",),
)
UPSTREAM_RETRIES: Final = Family(
    "sidecar_upstream_retries_total",
    "counter",
    "Requests sent once more: a kept connection turned out to be closed, or another token to do.",
    ("direction",),
)
CONNECT_RETRIES: Final = Family(
    "sidecar_connect_retries_total",
    "counter",
    "Connections that were tried once more; the app's are under inbound:app.",
    ("destination",),
)
DESTINATION_IN_FLIGHT: Final = Family(
    "sidecar_destination_in_flight",
    "gauge",
    "Connections to a destination that are in use.",
    ("destination",),
)
CALLER_DEADLINES: Final = Family(
    "sidecar_caller_deadlines_total",
    "counter",
    "Requests whose caller said how long it waits: used, or malformed.",
    ("result",),
)
TUNNELS_OPEN: Final = Family(
    "sidecar_tunnels_open",
    "gauge",
    "WebSockets and CONNECT tunnels that are open; their exchanges are not finished either.",
    ("direction",),
)
REJECTIONS: Final = Family(
    "sidecar_rejections_total",
    "counter",
    'Refusals by reason; enforced="false" was counted and let through (mode observe).',
    ("direction", "reason", "route", "enforced"),
)
ATTRIBUTIONS: Final = Family(
    "sidecar_attributions_total",
    "counter",
    "Outbound calls by the evidence that named their cause, its grade, and what came of it.",
    ("method", "grade", "outcome"),
)
CARRIER_CALLS: Final = Family(
    "sidecar_carrier_calls_total",
    "counter",
    "Outbound calls that need attribution, by the grade their carrier reports of itself.",
    ("carrier",),
)
CONNECTS_PAST: Final = Family(
    "sidecar_destination_connects_total",
    "counter",
    "CONNECT requests to a host of a destination: no token can be attached in such a tunnel.",
    ("route",),
)
RELAYED_OUTSIDE: Final = Family(
    "sidecar_relayed_outside_audience_total",
    "counter",
    "Callers' tokens relayed to a destination that is not in their aud (RFC 9700).",
    ("destination",),
)
LEDGER_ENTRIES: Final = Family(
    "sidecar_ledger_entries", "gauge", "Live inbound exchanges that outbound calls may name."
)
LEDGER_CAPACITY: Final = Family(
    "sidecar_ledger_capacity", "gauge", "Entries at which new inbound requests are refused."
)
ADMISSION_WAITING: Final = Family(
    "sidecar_admission_waiting",
    "gauge",
    "Inbound requests that wait for their turn (attribution.exclusive).",
)
TOKEN_CACHE_LOOKUPS: Final = Family(
    "sidecar_token_cache_lookups_total",
    "counter",
    "Tokens looked up in the cache of verified tokens.",
    ("result",),
)
TOKEN_HYGIENE: Final = Family(
    "sidecar_token_hygiene_total",
    "counter",
    "Good new tokens that live too long, are too large or hold an unwanted claim, by issuer.",
    ("issuer", "kind"),
)
ISSUER_STATE: Final = Family(
    "sidecar_issuer_state",
    "gauge",
    "1 for the state the issuer's keys are in, 0 for the others.",
    ("issuer", "state"),
)
JWKS_REFRESHES: Final = Family(
    "sidecar_jwks_refreshes_total",
    "counter",
    "Attempts to load an issuer's key set.",
    ("issuer", "result"),
)
JWKS_LAST_SUCCESS: Final = Family(
    "sidecar_jwks_last_success_timestamp_seconds",
    "gauge",
    "When an issuer's key set was last loaded, in seconds since the epoch; 0 is never.",
    ("issuer",),
)
INTROSPECTIONS: Final = Family(
    "sidecar_introspections_total",
    "counter",
    "Times an issuer's word on a token was needed and not known, by what came of it.",
    ("issuer", "result"),
)
INTROSPECTION_DURATION: Final = Family(
    "sidecar_introspection_duration_seconds",
    "histogram",
    "Time from asking an issuer about a token to its answer, or to giving up.",
    ("issuer",),
)
TOKEN_ENDPOINT_REQUESTS: Final = Family(
    "sidecar_token_endpoint_requests_total",
    "counter",
    "Attempts to get a token from an authorization server, by what came of them.",
    ("client", "result"),
)
TOKEN_ENDPOINT_DURATION: Final = Family(
    "sidecar_token_endpoint_duration_seconds",
    "histogram",
    "Time from asking for a token to the answer, or to giving up; of each attempt.",
    ("client",),
)
TOKEN_ENDPOINT_IN_FLIGHT: Final = Family(
    "sidecar_token_endpoint_in_flight",
    "gauge",
    "Requests for tokens that are under way.",
    ("client",),
)
CIRCUIT_STATE: Final = Family(
    "sidecar_circuit_state",
    "gauge",
    "1 for the state of the circuit in front of what we call, 0 for the others.",
    ("destination", "state"),
)
TOKEN_EXCHANGES: Final = Family(
    "sidecar_token_exchanges_total",
    "counter",
    "Times a token of a destination's own was needed, by where it came from or why there is none.",
    ("destination", "result"),
)
TOKEN_EXCHANGE_DURATION: Final = Family(
    "sidecar_token_exchange_duration_seconds",
    "histogram",
    "Time from asking for a destination's token to the answer, or to giving up.",
    ("destination",),
)
OBTAINED_TOKENS: Final = Family(
    "sidecar_obtained_tokens", "gauge", "Tokens of destinations that are kept."
)
SHARED_TOKENS: Final = Family(
    "sidecar_shared_tokens_total",
    "counter",
    "Looks, writes and deletions among the tokens that pods share, by what came of them.",
    ("result",),
)
APP_EXPOSED: Final = Family(
    "sidecar_app_exposed",
    "gauge",
    "1 while the app's port answers on an address of the pod, past the sidecar, 0 while on "
    "loopback alone; absent until it has answered.",
)
CONFIG_RELOADS: Final = Family(
    "sidecar_config_reloads_total", "counter", "Attempts to reload the configuration.", ("result",)
)
CONFIG_LAST_RELOAD_SUCCESSFUL: Final = Family(
    "sidecar_config_last_reload_successful",
    "gauge",
    "1 unless the newest configuration was refused and an older one is still in force.",
)
CONFIG_LAST_RELOAD_SUCCESS: Final = Family(
    "sidecar_config_last_reload_success_timestamp_seconds",
    "gauge",
    "When the configuration in force was put in place.",
)
ACCESS_LOG_DROPPED: Final = Family(
    "sidecar_access_log_dropped_lines_total",
    "counter",
    "Access log lines lost because nobody read them in time or writing failed.",
)
DECISION_LOG_DROPPED: Final = Family(
    "sidecar_decision_log_dropped_lines_total",
    "counter",
    "Recorded decisions lost because they could not be written, or not in time.",
)
TLS_HANDSHAKE_FAILURES: Final = Family(
    "sidecar_tls_handshake_failures_total",
    "counter",
    "TLS handshakes with callers that came to nothing, by why.",
    ("endpoint", "reason"),
)
TLS_RELOADS: Final = Family(
    "sidecar_tls_reloads_total",
    "counter",
    "Changed certificate, key or CA files that were taken (success) or could not be (failure).",
    ("endpoint", "result"),
)
TLS_LAST_RELOAD_SUCCESSFUL: Final = Family(
    "sidecar_tls_last_reload_successful",
    "gauge",
    "1 unless the newest TLS files could not be used and older ones are still in force.",
    ("endpoint",),
)
TLS_CERTIFICATE_EXPIRY: Final = Family(
    "sidecar_tls_certificate_expiry_timestamp_seconds",
    "gauge",
    "When the endpoint's own certificate (or one of its chain) ends, in seconds since the epoch.",
    ("endpoint",),
)
BUILD_INFO: Final = Family(
    "sidecar_build_info",
    "gauge",
    "1, labelled with the version that runs and whether its forwarding path is compiled.",
    ("version", "compiled"),
)

INJECTOR_ADMISSIONS: Final = Family(
    "sidecar_injector_admissions_total",
    "counter",
    "Answers of the injector to the API server, by the kind of object and what came of it.",
    ("kind", "result"),
)
INJECTOR_ADMISSION_DURATION: Final = Family(
    "sidecar_injector_admission_duration_seconds",
    "histogram",
    "Time from the API server's question to the injector's answer.",
)
INJECTOR_CERTIFICATE_EXPIRY: Final = Family(
    "sidecar_injector_certificate_expiry_timestamp_seconds",
    "gauge",
    "When the certificate that the injector serves with ends, in seconds since the epoch.",
)

CATALOGUE: Final = (
    REQUESTS, REQUEST_DURATION, OVERHEAD, IN_FLIGHT, TUNNELS_OPEN, UPSTREAM_RETRIES, REJECTIONS,
    CONNECT_RETRIES, DESTINATION_IN_FLIGHT, CALLER_DEADLINES,
    ATTRIBUTIONS, CARRIER_CALLS, CONNECTS_PAST, LEDGER_ENTRIES, LEDGER_CAPACITY, ADMISSION_WAITING,
    RELAYED_OUTSIDE,
    TOKEN_CACHE_LOOKUPS, TOKEN_HYGIENE, ISSUER_STATE, JWKS_REFRESHES, JWKS_LAST_SUCCESS,
    INTROSPECTIONS, INTROSPECTION_DURATION, CIRCUIT_STATE,
    TOKEN_EXCHANGES, TOKEN_EXCHANGE_DURATION, OBTAINED_TOKENS, SHARED_TOKENS,
    TOKEN_ENDPOINT_REQUESTS, TOKEN_ENDPOINT_DURATION, TOKEN_ENDPOINT_IN_FLIGHT,
    APP_EXPOSED, CONFIG_RELOADS,
    CONFIG_LAST_RELOAD_SUCCESSFUL, CONFIG_LAST_RELOAD_SUCCESS,
    ACCESS_LOG_DROPPED, DECISION_LOG_DROPPED,
    TLS_HANDSHAKE_FAILURES, TLS_RELOADS, TLS_LAST_RELOAD_SUCCESSFUL,
    TLS_CERTIFICATE_EXPIRY, BUILD_INFO,
)  # fmt: skip

INJECTOR: Final = (INJECTOR_ADMISSIONS, INJECTOR_ADMISSION_DURATION, INJECTOR_CERTIFICATE_EXPIRY)
"""Those of ``sidecar injector``, a process of its own; the others are the sidecar's."""
