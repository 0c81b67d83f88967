"""What distinguishes the access tokens of one family of issuers from another's.

Owns where scopes and roles live, which token types pass for access tokens, and which claims a
family promises. What every token must say belongs to ``sidecar.core.claims``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from sidecar.core.encoding import is_plain, printable
from sidecar.core.outcome import Denial, Reason

ProfileName = Literal["generic", "rfc9068", "keycloak"]
Claims = Mapping[str, Any]

MAX_NAMES: Final = 512
"""Scopes, roles or audiences in one token; more is refused."""

_ACCESS_TOKEN_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_USUAL_TYPES: Final = _ACCESS_TOKEN_TYPES | {None, "jwt"}

_OTHER_KINDS: Final = frozenset({"id", "refresh", "offline", "logout"})
"""Keycloak's ``typ`` claim on tokens that are not access tokens."""
_ID_TOKEN_CLAIMS: Final = ("at_hash", "c_hash", "s_hash")
"""Hashes of what an ID token was issued with (OpenID Connect Core, section 3.3.2.11; FAPI)."""
_LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True, slots=True)
class Profile:
    """One family of issuers."""

    token_types: frozenset[str | None]
    """Accepted header ``typ``, lower-cased; ``None`` where it may be absent."""
    read_roles: Callable[[Claims], "frozenset[str] | Denial"]
    required: tuple[str, ...] = ()
    """Claims required besides those that every token needs."""
    bearer_claim: bool = False
    """Whether a claim ``typ`` must say ``Bearer`` where present."""

    def refuse_type(self, typ: str | None, claims: Claims) -> Denial | None:
        """Refuse what is signed by the right issuer but is no access token (RFC 8725, 3.11)."""
        if typ not in self.token_types:
            shown = "absent" if typ is None else printable(typ)
            return Denial(
                Reason.TOKEN_TYPE,
                f"the token's header typ is {shown}; accepted are [{_listed(self.token_types)}]",
            )
        kind = claims.get("typ")
        if isinstance(kind, str) and kind.lower() in _OTHER_KINDS:
            return Denial(
                Reason.TOKEN_TYPE,
                f"the token's claim typ is {printable(kind)}, so it is not an access token",
            )
        if self.bearer_claim and kind is not None and kind != "Bearer":
            return Denial(Reason.TOKEN_TYPE, "the token's claim typ is not Bearer")
        for name in _ID_TOKEN_CLAIMS:
            if name in claims:
                return Denial(
                    Reason.TOKEN_TYPE,
                    f"the token has the claim {name}, so it is an ID token, not an access token",
                )
        events = claims.get("events")
        if isinstance(events, dict) and _LOGOUT_EVENT in events:
            return Denial(Reason.TOKEN_TYPE, "the token is a logout token, not an access token")
        return None


def read_scopes(claims: Claims) -> frozenset[str] | Denial:
    """Return the scopes of ``scope`` or, in its absence, ``scp``: one string or a list of names.

    RFC 8693, section 4.2 has a string with spaces; several issuers publish a list.
    """
    name = "scope" if "scope" in claims else "scp"
    value = claims.get(name, "")
    if isinstance(value, str):
        return read_names(name, value.split()) if is_plain(value) else _wrong(name)
    scopes = read_names(name, value)
    if not isinstance(scopes, Denial) and " " in "".join(scopes):
        # Joined again for the app's header, "a b" would be two scopes nobody granted.
        return _wrong(name)
    return scopes


def read_names(label: str, value: object) -> frozenset[str] | Denial:
    """Return a list of strings as a set; *label* says where it stands, for the denial."""
    if not isinstance(value, list) or not set(map(type, value)) <= {str}:
        return _wrong(label)
    if len(value) > MAX_NAMES:
        return Denial(Reason.CLAIMS_MALFORMED, f"the token's {label} has over {MAX_NAMES} entries")
    return frozenset(value) if is_plain("".join(value)) else _wrong(label)


def _wrong(label: str) -> Denial:
    return Denial(Reason.CLAIMS_MALFORMED, f"the token's {label} is not a list of plain strings")


def _plain_roles(claims: Claims) -> frozenset[str] | Denial:
    return read_names("roles", claims.get("roles", []))


def _keycloak_roles(claims: Claims) -> frozenset[str] | Denial:
    access = claims.get("realm_access", {})
    if not isinstance(access, dict):
        return Denial(Reason.CLAIMS_MALFORMED, "the token's realm_access is not an object")
    return read_names("realm_access.roles", access.get("roles", []))


def _listed(types: frozenset[str | None]) -> str:
    return ", ".join(sorted("absent" if each is None else each for each in types))


PROFILES: Final[Mapping[ProfileName, Profile]] = {
    "generic": Profile(_USUAL_TYPES, _plain_roles),
    "rfc9068": Profile(
        _ACCESS_TOKEN_TYPES, _plain_roles, required=("aud", "client_id", "iat", "jti")
    ),
    "keycloak": Profile(_USUAL_TYPES, _keycloak_roles, bearer_claim=True),
}
