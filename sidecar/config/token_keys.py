"""The keys of an issuer that say what its tokens look like, and what is worth a warning in them.

How keys and issuer become ``model.Issuer`` belongs to ``sidecar.config.issuer_keys``.
"""

import re
from typing import Final, get_args

from sidecar.config import endpoints
from sidecar.config.kinds import ListOf, Text
from sidecar.config.model import Hygiene, Issuer, Profile
from sidecar.config.sections import Fields, Key, Section, assemble, default_of
from sidecar.config.values import Complaint
from sidecar.config.values import text as any_text
from sidecar.config.written import duration, free_text, size
from sidecar.core.claim_paths import ClaimPath, parse_claim_path
from sidecar.core.families import SPIFFE_SCHEME, trust_domain_of
from sidecar.core.jose import KeyUse, media_type
from sidecar.core.profiles import profile_of

PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)
ISSUER_PATTERN: Final = r"^(https?|spiffe)://[^\s@#]+$"

_TOKEN_TYPE: Final = re.compile(r"[a-z0-9!#$&^_.+-]+(/[a-z0-9!#$&^_.+-]+)?")
"""Names of RFC 6838, section 4.2."""


def issuer(value: str) -> str:
    """An issuer's URL, or ``spiffe://`` and a trust domain."""
    if not value.startswith(SPIFFE_SCHEME):
        return endpoints.issuer(value)
    if trust_domain_of(value + "/workload") != value.removeprefix(SPIFFE_SCHEME):
        raise Complaint(
            "is not `spiffe://` and a trust domain of lower-case letters, digits, `.`, `-` and `_`"
        )
    return value


def token_type(value: str) -> str:
    """A header ``typ``, or ``absent``."""
    normal = media_type(value)
    if not _TOKEN_TYPE.fullmatch(normal):
        raise Complaint("is not a media type such as JWT or at+jwt, or the word absent")
    return normal


def claim_path(value: str) -> ClaimPath:
    """Names of claims joined by dots."""
    try:
        return parse_claim_path(any_text(value))
    except Complaint:
        raise
    except ValueError as error:
        raise Complaint(
            f"{error}; a path is names joined by dots, one that holds a dot in double quotes"
        ) from None


def key_use(fields: Fields) -> KeyUse:
    """Return what the issuer's keys must be published for."""
    profile: Profile = fields.values.get("profile", "generic")
    return profile_of(profile).key_use


def check_family(fields: Fields) -> None:
    """Report what contradicts the profile."""
    profile: Profile | None = fields.values.get("profile")
    url: str | None = fields.values.get("issuer")
    if profile is None or url is None:
        return
    is_trust_domain = url.startswith(SPIFFE_SCHEME)
    if (profile == "spiffe") is not is_trust_domain:
        message = (
            "is a trust domain, which needs `profile: spiffe`"
            if is_trust_domain
            else "must be `spiffe://` and the trust domain with `profile: spiffe`: a JWT-SVID is "
            "of a trust domain, whatever its `iss`"
        )
        fields.error("issuer", message)
    if (permitted := profile_of(profile).algorithms) is None or fields.entry("algorithms") is None:
        return
    for name in fields.values.get("algorithms", ()):
        if name not in permitted:
            fields.error(
                "algorithms", f"holds `{name}`, which `profile: {profile}` does not permit"
            )


_PATHS: Final = ListOf(Text("claim path", claim_path, is_free=True))

OVERRIDES: Final = (
    Key("token_types", ListOf(Text("string", token_type, is_free=True)),
        "Accepted header `typ`, such as `at+jwt`, in any case; `absent` accepts a token without.",
        default=default_of(Issuer, "token_types"), default_text="the profile's"),
    Key("roles_from", _PATHS,
        "Claims that list roles, merged: `realm_access.roles`, "
        "`resource_access.\"my.client\".roles`.",
        default=default_of(Issuer, "roles_from"), default_text="the profile's"),
    Key("scopes_from", _PATHS,
        "Claims that hold scopes, as a list or one string with spaces, merged.",
        default=default_of(Issuer, "scopes_from"), default_text="the profile's"),
    Key("required_claims", ListOf(free_text("string")),
        "Claims every token must have, besides `iss`, `sub` and `exp`.",
        default=default_of(Issuer, "required_claims"), default_text="the profile's"),
)  # fmt: skip

HYGIENE: Final = Section(
    keys=(
        Key("max_lifetime", duration(1, 366 * 86400),
            "Warn of tokens that are issued for longer (`iat` to `exp`), or without `exp`.",
            "max_lifetime_seconds", default_of(Hygiene, "max_lifetime_seconds"), "not looked at"),
        Key("max_size", size(128, 64 << 10), "Warn of tokens that are larger.",
            "max_size_bytes", default_of(Hygiene, "max_size_bytes"), "not looked at"),
        Key("unwanted_claims", ListOf(free_text("string")),
            "Warn of tokens with one of these claims, such as `email`.",
            default=default_of(Hygiene, "unwanted_claims"), default_text="none"),
    ),
    build=assemble(Hygiene),
)  # fmt: skip
