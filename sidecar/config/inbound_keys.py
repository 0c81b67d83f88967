"""The keys of the inbound listener, and how they become ``model.Inbound``."""

from typing import Final

from sidecar.config import endpoints, identity_keys, transaction_keys
from sidecar.config.cors_keys import CORS
from sidecar.config.deadline_keys import DEADLINE_HEADER
from sidecar.config.kinds import (
    INVALID,
    NOT_SUPPORTED,
    Boolean,
    Choice,
    Invalid,
    ListOf,
    Planned,
    Text,
)
from sidecar.config.limits_keys import LIMITS
from sidecar.config.model import (
    Address,
    Forwarded,
    Inbound,
    Origin,
)
from sidecar.config.positions import Node, SequenceNode
from sidecar.config.reading import Located, Reading
from sidecar.config.resource_metadata_keys import RESOURCE_METADATA
from sidecar.config.rule_keys import MODE, RULE
from sidecar.config.rule_names import EVERYTHING, named
from sidecar.config.sections import Fields, Key, Section, assemble, default_of
from sidecar.config.tls_keys import LISTENER_TLS
from sidecar.config.token_source_keys import TokenSourceKind, check_sources
from sidecar.config.written import LISTEN_OR_OFF, ORIGIN, VIA, size

DEFAULT_LISTEN: Final = Address("0.0.0.0", 15406)  # noqa: S104 - callers come from other pods
DEFAULT_APP: Final = Origin("http", "127.0.0.1", 8080)


def _inbound(fields: Fields) -> Inbound | Invalid:
    draft = fields.reading.draft
    is_off = fields.values.get("listen", "") is None
    if "listen" in fields.values and not is_off:
        _note_listener(fields)
    if "app" in fields.values:
        _note_app(fields, is_off=is_off)
    _check_token_size(fields)
    check_sources(fields)
    identity_keys.check_sources(fields)
    transaction_keys.check_headers(fields)
    if fields.values.get("rules", ()) is None:
        draft.rules.append(Located(EVERYTHING, fields.node.place, fields.path_of("rules")))
        fields.values["rules"] = (EVERYTHING,)
    if fields.is_broken:
        return INVALID
    fields.values["rules"] = named(fields.values["rules"])
    return Inbound(**fields.values)


def _note_listener(fields: Fields) -> None:
    located = Located(fields.values["listen"], fields.place("listen"), fields.path_of("listen"))
    fields.reading.draft.listeners.append(located)


def _note_app(fields: Fields, *, is_off: bool) -> None:
    app = fields.values["app"]
    if not is_off:
        fields.reading.draft.app = Located(app, fields.place("app"), fields.path_of("app"))
    if app.scheme == "https":
        fields.error("app", f"an app behind https:// {NOT_SUPPORTED}")
    elif not endpoints.is_loopback(app.host):
        if fields.values.get("require_fenced") is True:
            fields.error("require_fenced", "needs an app on loopback")
        fields.reading.findings.warn(
            fields.place("app"),
            fields.path_of("app"),
            "is beyond loopback: identity headers cross a network, and any peer can send its own",
        )


def _check_token_size(fields: Fields) -> None:
    limits, most = fields.values.get("limits"), fields.values.get("max_token_bytes")
    if limits is not None and most is not None and most > limits.max_head_bytes:
        fields.reading.findings.warn(
            fields.place("max_token"),
            fields.path_of("max_token"),
            "is more than `limits.max_head`, so that no such token can arrive",
        )


class InboundKind(Section[Inbound]):
    """One listener. The design has a list of them too."""

    def read(self, node: Node, path: str, reading: Reading) -> Inbound | Invalid:
        if isinstance(node, SequenceNode):
            reading.findings.error(node.place, path, f"a list of listeners {NOT_SUPPORTED}")
            return INVALID
        return super().read(node, path, reading)


FORWARDED: Final = Section(
    keys=(
        Key("trust", ListOf(Text("network", endpoints.network)),
            "Whose `X-Forwarded-*` and `Forwarded` are passed on, as `10.0.0.0/8`. Everybody "
            "else's are removed.", default=default_of(Forwarded, "trust"), default_text="nobody"),
        Key("set", Choice(("x-forwarded", "forwarded", "both", "off")),
            "What we write or append to: `X-Forwarded-For`, `-Proto` and `-Host`, `Forwarded` "
            "(RFC 7239), both, or nothing.", default=default_of(Forwarded, "set")),
    ),
    build=assemble(Forwarded),
)  # fmt: skip

INBOUND: Final = InboundKind(
    keys=(
        Key("listen", LISTEN_OR_OFF,
            "Where callers connect. `off`: nobody does, the app only calls others; the rest of "
            "`inbound` then has no effect, and no key of an issuer is fetched.",
            default=DEFAULT_LISTEN),
        Key("app", ORIGIN, "Where the app listens: plain HTTP on loopback.", default=DEFAULT_APP),
        Key("mode", MODE,
            "`observe` counts what rules would refuse and lets it pass; faulty tokens are still "
            "refused.", default=default_of(Inbound, "mode")),
        Key("require_fenced", Boolean(),
            "Be ready only while the app's port answers on loopback and on no address of the pod "
            "(`SIDECAR_POD_IPS`). A NetworkPolicy in front of it is not seen.",
            default=default_of(Inbound, "require_fenced")),
        Key("token_to_app", Choice(("withhold", "placeholder", "forward")),
            "What the app gets as `Authorization`: nothing, a placeholder that is worth nothing "
            "elsewhere, or the caller's token.",
            default=default_of(Inbound, "token_to_app")),
        Key("token_sources", ListOf(TokenSourceKind()),
            "Where in a request the token may be; there may be one in all. What is found is "
            "removed ([tokens](tokens.md)).",
            default=default_of(Inbound, "token_sources"), default_text="`[authorization]`"),
        Key("max_token", size(256, 64 << 10), "Longest token that is looked at.",
            "max_token_bytes", default_of(Inbound, "max_token_bytes")),
        Key("rules", ListOf(RULE), "First match wins; no match is refused.", default=None,
            default_text="one rule: `require: authenticated` on `/**`"),
        Key("allow_encoded_slash", Boolean(), "Accept `%2F` inside a path segment.",
            default=default_of(Inbound, "allow_encoded_slash")),
        Key("allow_semicolon", Boolean(), "Accept `;` in paths.",
            default=default_of(Inbound, "allow_semicolon")),
        Key("reuse_after_content", Boolean(),
            "Keep the connection to the app after a request with content. Only for an app whose "
            "server reads or discards all content: others take the rest of it for a request.",
            default=default_of(Inbound, "reuse_after_content")),
        Key("limits", LIMITS, "Bounds of this listener and of its connections to the app."),
        Key("tls", LISTENER_TLS, "Speak TLS with callers, and nothing else.",
            default=default_of(Inbound, "tls"), default_text="plain HTTP"),
        Key("forwarded", FORWARDED,
            "What the app is told of the way a request took. Without it such fields pass as they "
            "came, from whomever.",
            default=default_of(Inbound, "forwarded"), default_text="left alone"),
        Key("via", VIA, "Name under which we add ourselves to `Via`, in both directions.",
            default=default_of(Inbound, "via"), default_text="not added"),
        Key("identity", identity_keys.IDENTITY,
            "What the app is told of the caller ([identity](identity.md))."),
        Key("transaction_tokens", transaction_keys.TRANSACTION_TOKENS,
            "Verify the `Txn-Token` of requests, and tell the app of it "
            "([transaction tokens](transaction-tokens.md)). Without it every `Txn-Token` is "
            "removed.", default=default_of(Inbound, "transaction_tokens"),
            default_text="not looked at"),
        Key("cors", CORS, "Browsers: preflights, and who may read refusals ([CORS](cors.md)).",
            default=default_of(Inbound, "cors"), default_text="nothing special"),
        Key("resource_metadata", RESOURCE_METADATA,
            "The URL of this service, to serve its metadata at "
            "`/.well-known/oauth-protected-resource` and name them in challenges (RFC 9728).",
            default=default_of(Inbound, "resource_metadata"), default_text="not served"),
        Key("server_timing", Boolean(),
            "Add `Server-Timing: auth;dur=…` to answers: milliseconds before the request was sent "
            "on.", default=default_of(Inbound, "server_timing")),
        Key("deadline_headers", ListOf(DEADLINE_HEADER),
            "Headers in which callers say how long they wait, as `grpc-timeout`. The least of "
            "them and of `limits.total_timeout` ends the request, and the calls that it causes "
            "([deadlines](deadlines.md)).",
            default=default_of(Inbound, "deadline_headers"), default_text="none"),
        Key("observe_tokens", Planned(), ""),
        Key("unprotected_ports", Planned(), ""),
    ),
    build=_inbound,
)  # fmt: skip
