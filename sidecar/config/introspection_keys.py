"""The keys of introspection (RFC 7662), and how they become ``model.Introspection``."""

from typing import Final

from sidecar.config import endpoints
from sidecar.config.kinds import INVALID, Choice, Integer, Invalid, Text
from sidecar.config.model import Introspection, IntrospectionCache
from sidecar.config.secrets import Secret
from sidecar.config.sections import Fields, Key, Section, assemble, default_of
from sidecar.config.written import duration, free_text


def _introspection(fields: Fields) -> Introspection | Invalid:
    auth = fields.values.get("auth")
    for name in ("client_id", "client_secret"):
        given = fields.entry(name) is not None
        if auth == "none" and given:
            fields.error(name, "would not be used with `auth: none`")
        elif auth not in ("none", None) and not given:
            fields.error(name, f"is required with `auth: {auth}`")
    return INVALID if fields.is_broken else Introspection(**fields.values)


CACHE: Final = Section(
    keys=(
        Key("positive", duration(0, 3600),
            "How long the issuer's yes stands, never past `exp`: how late a revocation is seen. "
            "Kept within `token_cache`.", "positive_seconds",
            default_of(IntrospectionCache, "positive_seconds")),
        Key("negative", duration(0, 300), "How long its no stands.", "negative_seconds",
            default_of(IntrospectionCache, "negative_seconds")),
        Key("max_entries", Integer(1, 1_000_000), "Refused tokens remembered.",
            default=default_of(IntrospectionCache, "max_entries")),
    ),
    build=assemble(IntrospectionCache),
)  # fmt: skip

INTROSPECTION: Final = Section(
    keys=(
        Key("url", Text("URL", endpoints.url, endpoints.URL_PATTERN),
            "The introspection endpoint.", default_text="`introspection_endpoint` of discovery"),
        Key("auth", Choice(("client_secret_basic", "client_secret_post", "none"),
                           planned=("client_secret_jwt", "private_key_jwt", "tls_client_auth")),
            "How the sidecar shows the endpoint who asks.",
            default=default_of(Introspection, "auth")),
        Key("client_id", free_text("string"), "Who asks; required unless `auth: none`."),
        Key("client_secret", Secret(),
            "Its secret, by reference; required unless `auth: none`."),
        Key("for", Choice(("opaque", "jwt", "all")),
            "`opaque`: tokens that are no JWT; one issuer at most. `jwt`: this issuer's JWTs, "
            "besides verifying them. `all`: both.",
            "about", default_of(Introspection, "about")),
        Key("cache", CACHE, "How long answers stand."),
        Key("timeout", duration(0.1, 30), "Longest wait for an answer, and before it for a turn.",
            "timeout_seconds", default_of(Introspection, "timeout_seconds")),
        Key("max_concurrent", Integer(1, 1000), "Questions under way at once.",
            default=default_of(Introspection, "max_concurrent")),
        Key("max_waiting", Integer(0, 100_000), "Questions waiting for their turn; more are 503.",
            default=default_of(Introspection, "max_waiting")),
        Key("max_rate", Integer(1, 100_000), "Questions a second; more are 503.",
            default=default_of(Introspection, "max_rate")),
    ),
    build=_introspection,
)  # fmt: skip
