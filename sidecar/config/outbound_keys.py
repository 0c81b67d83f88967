"""The keys of the outbound side and of attribution, and how they become the model's."""

from typing import Final

from sidecar.config import endpoints
from sidecar.config.kinds import (
    INVALID,
    NOT_SUPPORTED,
    Boolean,
    Choice,
    Integer,
    Invalid,
    ListOf,
    Planned,
    Text,
)
from sidecar.config.limits_keys import LIMITS
from sidecar.config.model import Attribution, Destination, Outbound
from sidecar.config.reading import Located
from sidecar.config.sections import REQUIRED, Fields, Key, MapOf, Section, assemble, default_of
from sidecar.config.written import LISTEN, ORIGIN, duration


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
    if fields.is_broken:
        return INVALID
    destination = Destination(name=fields.name, **fields.values)
    fields.reading.draft.destinations.append(Located(destination, fields.node.place, fields.path))
    return destination


def _check_upstream(fields: Fields) -> None:
    upstream = fields.values.get("upstream")
    if upstream is None:
        return
    if upstream.scheme == "https":
        fields.error("upstream", f"TLS to a destination {NOT_SUPPORTED}")
        return
    listen = fields.values.get("listen")
    if listen is not None and endpoints.overlap(listen, upstream.address):
        fields.error("upstream", "is this destination's own `listen`")
    if endpoints.is_loopback(upstream.host) or fields.values.get("allow_plaintext", True):
        return
    if fields.values.get("token") == "relay" or fields.values.get("app_credentials") == "keep":
        message = (
            "a credential would be sent over http:// beyond loopback; "
            "use https:// or write `allow_plaintext: true`"
        )
        fields.error("upstream", message)


DESTINATION: Final = Section(
    keys=(
        Key("listen", LISTEN, "Where the app connects: a loopback address.", default=REQUIRED),
        Key("upstream", ORIGIN, "Where its requests go.", default=REQUIRED),
        Key("hosts", ListOf(Text("host", endpoints.host, endpoints.HOST_PATTERN)),
            "Values of `Host` accepted besides localhost and loopback; others are 421.",
            default=default_of(Destination, "hosts"), default_text="none"),
        Key("token", Choice(("relay", "none"), planned=("exchange", "client_credentials")),
            "`relay` sends the token of the request that caused the call; `none` sends none.",
            default=default_of(Destination, "token")),
        Key("min_assurance", Choice(("strict", "standard", "compat")),
            "How sure attribution must be.", default=default_of(Destination, "min_assurance")),
        Key("without_context", Choice(("refuse", "anonymous"), planned=("client_credentials",)),
            "What happens to a call that carries no handle at all.",
            default=default_of(Destination, "without_context")),
        Key("anonymous_origin", Choice(("refuse", "anonymous")),
            "What happens to a call caused by a request without token.",
            default=default_of(Destination, "anonymous_origin")),
        Key("app_credentials", Choice(("refuse", "keep")),
            "What happens to an `Authorization` that the app wrote itself.",
            default=default_of(Destination, "app_credentials")),
        Key("allow_plaintext", Boolean(), "Permit a credential over `http://` beyond loopback.",
            default=default_of(Destination, "allow_plaintext")),
        Key("limits", LIMITS, "Bounds of this listener and of its connections to the destination."),
        Key("mode", Planned(), ""),
    ),
    build=_destination,
)  # fmt: skip

OUTBOUND: Final = Section(
    keys=(
        Key("destinations", MapOf(DESTINATION), "The places the app may call, by name.",
            default={}, default_text="none"),
        Key("proxy", Planned(), ""),
        Key("unlisted", Planned(), ""),
        Key("mode", Planned(), ""),
    ),
    build=assemble(Outbound),
)  # fmt: skip


def _attribution(fields: Fields) -> Attribution | Invalid:
    fields.values.pop("exclusive", None)
    return INVALID if fields.is_broken else Attribution(**fields.values)


ATTRIBUTION: Final = Section(
    keys=(
        Key("carrier", Choice(("auto", "python", "none"), planned=("node", "opentelemetry")),
            "The carrier the app is expected to load; `auto` believes what it says of itself.",
            default=default_of(Attribution, "carrier")),
        Key("max_age", duration(1, 3600), "Oldest request that may still cause calls.",
            "max_age_seconds", default_of(Attribution, "max_age_seconds")),
        Key("max_calls", Integer(1, 1_000_000), "Calls, retries included, one request may cause.",
            default=default_of(Attribution, "max_calls")),
        Key("ledger_capacity", Integer(1, 1_000_000),
            "Live inbound requests at once; the next one is refused with 503.",
            default=default_of(Attribution, "ledger_capacity")),
        Key("exclusive", Choice(("off",), planned=("credential", "request")),
            "Admission by subject; not in this version.", default="off"),
    ),
    build=_attribution,
)  # fmt: skip
