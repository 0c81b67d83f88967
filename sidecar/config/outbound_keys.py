"""The keys of the outbound side and of attribution, and how they become the model's."""

from dataclasses import replace
from typing import Final

from sidecar.config import endpoints
from sidecar.config.circuit_keys import CIRCUIT
from sidecar.config.deadline_keys import DEADLINE_HEADER
from sidecar.config.kinds import (
    INVALID,
    Boolean,
    Choice,
    Integer,
    Invalid,
    ListOf,
    Text,
)
from sidecar.config.limits_keys import DESTINATION_LIMITS, LIMITS
from sidecar.config.model import Attribution, Destination, Outbound
from sidecar.config.proxy_names import authorities
from sidecar.config.reading import Located
from sidecar.config.sections import REQUIRED, Fields, Key, MapOf, Section, assemble, default_of
from sidecar.config.tls_keys import DESTINATION_TLS
from sidecar.config.token_request_keys import (
    DESTINATION_RULE,
    FILE_KEY,
    REQUEST_KEY,
    TOKEN_KEY,
    TOKEN_REQUEST,
    settle_token,
)
from sidecar.config.transaction_keys import settle_transaction
from sidecar.config.written import LISTEN, ORIGIN, VIA, duration, free_text, size


def _destination(fields: Fields) -> Destination | Invalid:
    if (listen := fields.values.get("listen")) is not None:
        located = Located(listen, fields.place("listen"), fields.path_of("listen"))
        fields.reading.draft.listeners.append(located)
        if not endpoints.is_loopback(listen.host):
            message = (
                "must be loopback, as in 127.0.0.1:9001: outbound listeners serve this pod only"
            )
            fields.error("listen", message)
    _check_upstream(fields)
    settle_token(fields, fields.values.get("without_context", ""))
    settle_transaction(fields)
    if fields.is_broken:
        return INVALID
    destination = Destination(name=fields.name, **fields.values)
    fields.reading.draft.destinations.append(Located(destination, fields.node.place, fields.path))
    return destination


def _check_upstream(fields: Fields) -> None:
    upstream = fields.values.get("upstream")
    if upstream is None:
        return
    if upstream.scheme == "http" and fields.entry("tls") is not None:
        fields.error("tls", "is for an `upstream` that starts with https://")
    listen = fields.values.get("listen")
    if listen is not None and endpoints.overlap(listen, upstream.address):
        fields.error("upstream", "is this destination's own `listen`")
    if upstream.scheme == "https" or endpoints.is_loopback(upstream.host):
        return
    if fields.values.get("allow_plaintext", True):
        return
    tokens = [each.token for each in fields.values.get("rules", ())]
    tokens.append(fields.values.get("token", "none"))
    if (
        any(token != "none" for token in tokens)  # noqa: S105 - a word
        or fields.values.get("app_credentials") == "keep"
        or fields.values.get("without_context") in ("client_credentials", "file")
        or fields.values.get("transaction_token", "none") != "none"
    ):
        message = (
            "a credential would be sent over http:// beyond loopback; "
            "use https:// or write `allow_plaintext: true`"
        )
        fields.error("upstream", message)


MODE: Final = Choice(("enforce", "observe"))

DESTINATION: Final = Section(
    keys=(
        Key("listen", LISTEN, "Where the app connects: a loopback address.", default=REQUIRED),
        Key("upstream", ORIGIN, "Where its requests go.", default=REQUIRED),
        Key("hosts", ListOf(Text("host", endpoints.host, endpoints.HOST_PATTERN)),
            "Values of `Host` accepted besides localhost and loopback; others are 421.",
            default=default_of(Destination, "hosts"), default_text="none"),
        replace(TOKEN_KEY, default=default_of(Destination, "token")),
        REQUEST_KEY,
        FILE_KEY,
        Key("audiences", ListOf(free_text("string")),
            "What the destination takes as `aud`. With `token: relay`, tokens without any of "
            "these are counted and warned about (RFC 9700).",
            default=default_of(Destination, "audiences"), default_text="not known"),
        Key("rules", ListOf(DESTINATION_RULE),
            "Parts of the destination that get another token; first match wins, and the rest gets "
            "`token`. Calls whose path could be read in two ways are refused then.",
            default=default_of(Destination, "rules"), default_text="none"),
        Key("replay", size(0, 1 << 24),
            "How much of a call's content is kept to send it once more with a fresh token, when "
            "the destination answers 401 to one that was obtained. `0B`: only calls without "
            "content are.", "replay_bytes", default_of(Destination, "replay_bytes")),
        Key("min_assurance", Choice(("strict", "standard", "compat")),
            "How sure attribution must be.", default=default_of(Destination, "min_assurance")),
        Key("without_context", Choice(("refuse", "anonymous", "client_credentials", "file")),
            "What happens to a call that carries no handle at all; the last two send the service's "
            "own token, from `token_request` or `token_file`.",
            default=default_of(Destination, "without_context")),
        Key("anonymous_origin", Choice(("refuse", "anonymous")),
            "What happens to a call caused by a request without token.",
            default=default_of(Destination, "anonymous_origin")),
        Key("transaction_token", Choice(("none", "pass", "request")),
            "`pass` sends the `Txn-Token` of the request that caused the call, as it was received; "
            "`request` obtains one in its name where it came without. Whose call it is must be "
            "known then, whatever `token` says. One that the app sends is always removed.",
            default=default_of(Destination, "transaction_token")),
        Key("transaction_request", TOKEN_REQUEST,
            "With `transaction_token: request`, what is asked for: `client`, one `audience` (the "
            "trust domain) and `scopes` (the purpose) are needed. Asked for once per inbound "
            "request, never shared among them.",
            default=default_of(Destination, "transaction_request"), default_text="none"),
        Key("app_credentials", Choice(("refuse", "keep")),
            "What happens to an `Authorization` that the app wrote itself.",
            default=default_of(Destination, "app_credentials")),
        Key("allow_plaintext", Boolean(), "Permit a credential over `http://` beyond loopback.",
            default=default_of(Destination, "allow_plaintext")),
        Key("tls", DESTINATION_TLS,
            "How an `https://` upstream is verified, which cannot be switched off, and what it is "
            "shown.", default=default_of(Destination, "tls"), default_text="the system's CAs"),
        Key("limits", DESTINATION_LIMITS,
            "Bounds of this listener and of its connections to the destination."),
        Key("circuit", CIRCUIT,
            "Leave the destination alone while it fails ([deadlines](deadlines.md)).",
            default=default_of(Destination, "circuit"), default_text="off"),
        Key("deadline_header", DEADLINE_HEADER,
            "Header that tells the destination how much time is left: `grpc-timeout` in its own "
            "form, a name that ends in `-ms` in milliseconds, others in seconds.",
            default=default_of(Destination, "deadline_header"), default_text="none"),
        Key("mode", MODE, "As `outbound.mode`, for this destination.", default=None,
            default_text="`outbound.mode`"),
    ),
    build=_destination,
)  # fmt: skip


def _outbound(fields: Fields) -> Outbound | Invalid:
    for key in ("unlisted", "connect_ports", "proxy_limits"):
        if fields.entry(key) is not None and fields.entry("proxy") is None:
            fields.reading.findings.warn(
                fields.place(key), fields.path_of(key), "has no effect without `proxy`"
            )
    if (proxy := fields.values.get("proxy")) is not None:
        located = Located(proxy, fields.place("proxy"), fields.path_of("proxy"))
        fields.reading.draft.listeners.append(located)
        if not endpoints.is_loopback(proxy.host):
            fields.error(
                "proxy", "must be loopback, as in 127.0.0.1:15401: it serves this pod only"
            )
        _check_proxy_names(fields)
    return INVALID if fields.is_broken else Outbound(**fields.values)


def _check_proxy_names(fields: Fields) -> None:
    """Report what the proxy could not tell apart: it has no port to go by."""
    owners: dict[tuple[str, int], str] = {}
    for destination in fields.values.get("destinations", {}).values():
        for authority in authorities(destination):
            owner = owners.setdefault(authority, destination.name)
            if owner != destination.name:
                host, port = authority
                message = (
                    f"cannot tell the destinations {owner} and {destination.name} apart: both "
                    f"answer to {host}:{port}"
                )
                fields.error("proxy", message)
                return


OUTBOUND: Final = Section(
    keys=(
        Key("destinations", MapOf(DESTINATION), "The places the app may call, by name.",
            default={}, default_text="none"),
        Key("proxy", LISTEN,
            "Where the app's HTTP clients find a forward proxy: a loopback address. Absolute URLs "
            "that name a destination are served like its own port.",
            default=default_of(Outbound, "proxy"), default_text="none"),
        Key("unlisted", Choice(("forward", "refuse")),
            "What the proxy does with other URLs: forward them without any credential of ours, or "
            "403.", default=default_of(Outbound, "unlisted")),
        Key("connect_ports", ListOf(Integer(1, 65535)),
            "Ports that `CONNECT` may ask the proxy for.",
            default=default_of(Outbound, "connect_ports"), default_text="`[443]`"),
        Key("proxy_limits", LIMITS, "Bounds of the proxy and of its connections, per origin."),
        Key("mode", MODE,
            "`observe` forwards what the app sent, attaches nothing, refuses nothing, and counts "
            "what it would have done.", default=default_of(Outbound, "mode")),
        Key("via", VIA, "As `inbound.via`, for calls of the app.",
            default=default_of(Outbound, "via"), default_text="not added"),
    ),
    build=_outbound,
)  # fmt: skip


ATTRIBUTION: Final = Section(
    keys=(
        Key("carrier", Choice(("auto", "python", "opentelemetry", "none"), planned=("node",)),
            "The carrier the app is expected to load; `auto` believes what it says of itself.",
            default=default_of(Attribution, "carrier")),
        Key("compat_carriers",
            ListOf(Choice(("baggage", "tracestate", "request_id", "trace_id"))),
            "Fields that carry handles besides `x-sidecar-context`, if a destination accepts "
            "`compat` or requests take turns. `trace_id` gives the app other trace ids than its "
            "callers have.", default=default_of(Attribution, "compat_carriers")),
        Key("exclusive", Choice(("off", "credential", "request")),
            "Who may be in the app at once: everybody, requests with one and the same token, or "
            "one request.", default=default_of(Attribution, "exclusive")),
        Key("exclusive_wait", duration(0.01, 60), "Longest wait for a turn; over it 503.",
            "exclusive_wait_seconds", default_of(Attribution, "exclusive_wait_seconds")),
        Key("exclusive_quiet", duration(0, 10), "Pause between the turns of two callers.",
            "exclusive_quiet_seconds", default_of(Attribution, "exclusive_quiet_seconds")),
        Key("exclusive_queue", Integer(1, 100_000),
            "Requests that may wait for a turn, one caller's at most a quarter; over it 503.",
            default=default_of(Attribution, "exclusive_queue")),
        Key("max_age", duration(1, 3600), "Oldest request that may still cause calls.",
            "max_age_seconds", default_of(Attribution, "max_age_seconds")),
        Key("max_calls", Integer(1, 1_000_000), "Calls, retries included, one request may cause.",
            default=default_of(Attribution, "max_calls")),
        Key("ledger_capacity", Integer(1, 1_000_000),
            "Live inbound requests at once; the next one is refused with 503.",
            default=default_of(Attribution, "ledger_capacity")),
    ),
    build=assemble(Attribution),
)  # fmt: skip
