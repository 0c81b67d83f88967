"""Every key of the file: the root of the tables from which parser, schema and docs are made."""

import os
from collections.abc import Mapping
from typing import Final

from sidecar.config.app_probe_keys import APP_PROBES
from sidecar.config.checks import check_tokens_can_exist
from sidecar.config.client_keys import CLIENT, check_client_issuers
from sidecar.config.decision_keys import DECISIONS
from sidecar.config.explain_keys import EXPLAIN
from sidecar.config.inbound_keys import INBOUND
from sidecar.config.issuer_keys import ISSUER
from sidecar.config.kinds import INVALID, Choice, Integer, Invalid, Text
from sidecar.config.model import Address, Admin, Config, Inbound, Log, TokenCache
from sidecar.config.obtained_token_keys import OBTAINED_TOKENS
from sidecar.config.outbound_keys import ATTRIBUTION, OUTBOUND
from sidecar.config.positions import MappingNode
from sidecar.config.reading import Located
from sidecar.config.rule_checks import check_client_names, check_issuer_names
from sidecar.config.sections import REQUIRED, Fields, Key, MapOf, Section, assemble, default_of
from sidecar.config.shared_token_keys import SHARED_TOKENS
from sidecar.config.transaction_keys import check_transactions, issues_no_access_tokens
from sidecar.config.values import CONTROL_PATTERN, MAX_SOCKET_PATH_BYTES, control, format_control
from sidecar.config.written import LISTEN, duration, size

VERSION: Final = 1
DEFAULT_ADMIN_LISTEN: Final = Address("0.0.0.0", 15490)  # noqa: S104 - Prometheus is elsewhere


def _admin(fields: Fields) -> Admin | Invalid:
    if (path := fields.values.get("control")) is not None:
        path = fields.values["control"] = fields.place("control").resolve(path)
        if (length := len(os.fsencode(path))) > MAX_SOCKET_PATH_BYTES:
            message = (
                f"is a path of {length} bytes, its directory included; a socket's may have "
                f"{MAX_SOCKET_PATH_BYTES}"
            )
            fields.error("control", message)
    if (listen := fields.values.get("listen")) is not None:
        located = Located(listen, fields.place("listen"), fields.path_of("listen"))
        fields.reading.draft.listeners.append(located)
    return INVALID if fields.is_broken else Admin(**fields.values)


def _config(fields: Fields) -> Config | Invalid:
    fields.values.pop("version", None)
    inbound = fields.values.get("inbound")
    nobody_calls = isinstance(inbound, Inbound) and inbound.listen is None
    if issues_no_access_tokens(fields.values.get("issuers")) and not nobody_calls:
        check_tokens_can_exist(
            fields.reading.draft, fields.place("issuers"), fields.reading.findings
        )
    known = _names(fields, "issuers")
    check_issuer_names(fields.reading.draft, known, fields.reading.findings)
    check_transactions(fields)
    read = fields.values.get("issuers", {})
    check_client_issuers(fields.reading.draft, known, read, fields.reading.findings)
    check_client_names(fields.reading.draft, _names(fields, "clients"), fields.reading.findings)
    return INVALID if fields.is_broken else Config(**fields.values)


def _names(fields: Fields, key: str) -> Mapping[str, object]:
    """Return the names under *key*, those of what could not be read included."""
    entry = fields.entry(key)
    return entry.value.entries if entry and isinstance(entry.value, MappingNode) else {}


ADMIN: Final = Section(
    keys=(
        Key("listen", LISTEN,
            "Metrics, probes and the public key of `inbound.identity.signed`, nothing else.",
            default=DEFAULT_ADMIN_LISTEN),
        Key("control",
            Text("`unix:` and a path, or `off`", control, CONTROL_PATTERN,
                 f"{MAX_SOCKET_PATH_BYTES} bytes", format_control),
            "Socket for `sidecar status` and `sidecar explain`, open to the sidecar's own user and "
            "root alone. Relative to this file's directory; the directory must exist.",
            default=default_of(Admin, "control")),
        Key("app_probes", APP_PROBES,
            "The app's own probes, for a kubelet that cannot reach it on loopback: item 0 is "
            "asked at `/app-probe/0`, and so on. Nothing but the status comes back.",
            default=default_of(Admin, "app_probes"), default_text="none"),
    ),
    build=_admin,
)  # fmt: skip

LOG: Final = Section(
    keys=(
        Key("access", Choice(("all", "refusals", "off")), "Which requests are logged.",
            default=default_of(Log, "access")),
        Key("level", Choice(("debug", "info", "warning", "error")),
            "Least severity of everything else.", default=default_of(Log, "level")),
        Key("decisions", DECISIONS,
            "Record decisions so that `sidecar rules replay` and `report` can read them "
            "([rehearsing rules](rehearsing-rules.md)).",
            default=default_of(Log, "decisions"), default_text="off"),
    ),
    build=assemble(Log),
)  # fmt: skip

TOKEN_CACHE: Final = Section(
    keys=(
        Key("max_entries", Integer(1, 1_000_000), "Verified tokens kept.",
            default=default_of(TokenCache, "max_entries")),
        Key("max_bytes", size(1 << 10, 1 << 32), "Memory of the tokens kept.",
            default=default_of(TokenCache, "max_bytes")),
    ),
    build=assemble(TokenCache),
)  # fmt: skip

ROOT: Final = Section(
    keys=(
        Key("version", Integer(VERSION, VERSION), "Version of this format.", default=REQUIRED),
        Key("issuers", MapOf(ISSUER),
            "Whose tokens are accepted, by name. Needed unless every rule allows anyone.",
            default={}, default_text="none"),
        Key("clients", MapOf(CLIENT),
            "Who asks for tokens of destinations, and where, by name ([clients](clients.md)).",
            default={}, default_text="none"),
        Key("inbound", INBOUND, "The listener in front of the app."),
        Key("attribution", ATTRIBUTION, "How calls of the app find the request that caused them."),
        Key("outbound", OUTBOUND, "Where the app may call, and with whose token."),
        Key("admin", ADMIN, "Metrics and probes."),
        Key("log", LOG, "What is written to standard output and standard error."),
        Key("token_cache", TOKEN_CACHE, "Bound of the cache of verified tokens."),
        Key("obtained_tokens", OBTAINED_TOKENS,
            "What is kept of the tokens that destinations have of their own."),
        Key("shared_tokens", SHARED_TOKENS,
            "Share these tokens among pods through Redis ([how](obtained-tokens.md)).",
            default=default_of(Config, "shared_tokens"), default_text="off"),
        Key("explain", EXPLAIN, "Which decisions are kept for `sidecar explain`."),
        Key("drain_timeout", duration(0, 600),
            "SIGTERM to the last forced close; keep it under the pod's grace period.",
            "drain_timeout_seconds", default_of(Config, "drain_timeout_seconds")),
    ),
    build=_config,
)  # fmt: skip
