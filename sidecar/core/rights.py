"""Read what a token grants: scopes, roles, and roles apart by client.

Owns the types and bounds of lists of names. Which claim holds them is the profile's to say
(``sidecar.core.profiles``).
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from sidecar.core.claim_paths import ABSENT, ClaimPath, look_up, show_claim_path
from sidecar.core.encoding import is_plain, printable
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import NO_CLIENT_ROLES

Claims: TypeAlias = Mapping[str, Any]
ClientRoles: TypeAlias = Mapping[str, frozenset[str]]

MAX_NAMES: Final = 512
"""Scopes, roles or audiences in one token; more is refused."""
MAX_NAME_LENGTH: Final = 512
"""Characters of the name of a client under which roles stand."""

_SCOPE: Final[ClaimPath] = ("scope",)
_SCP: Final[ClaimPath] = ("scp",)


def read_scopes(
    claims: Claims, sources: tuple[ClaimPath, ...] | None = None
) -> frozenset[str] | Denial:
    """Return the scopes of all *sources*, or of ``scope`` and only in its absence ``scp``.

    Each is one string or a list of names: RFC 8693, section 4.2 has a string with spaces; several
    issuers publish a list.
    """
    if sources is None:
        path = _SCOPE if "scope" in claims else _SCP
        return _scopes_of(claims.get(path[0], ""), path)
    merged: frozenset[str] = frozenset()
    for path in sources:
        value = look_up(claims, path)
        if value is ABSENT:
            continue
        scopes = _scopes_of(value, path)
        if isinstance(scopes, Denial):
            return scopes
        merged |= scopes
    return merged


def _scopes_of(value: object, path: ClaimPath) -> frozenset[str] | Denial:
    if isinstance(value, str):
        return read_names(path, value.split()) if is_plain(value) else _wrong(path)
    scopes = read_names(path, value)
    if not isinstance(scopes, Denial) and " " in "".join(scopes):
        # Joined again for the app's header, "a b" would be two scopes nobody granted.
        return _wrong(path)
    return scopes


def read_roles(claims: Claims, sources: tuple[ClaimPath, ...]) -> frozenset[str] | Denial:
    """Return the roles of all *sources* as one set; each is a list of names or absent."""
    merged: frozenset[str] = frozenset()
    for path in sources:
        value = look_up(claims, path)
        if value is ABSENT:
            continue
        roles = read_names(path, value)
        if isinstance(roles, Denial):
            return roles
        merged = merged | roles if merged else roles
    return merged


def read_client_roles(claims: Claims) -> ClientRoles | Denial:
    """Return Keycloak's ``resource_access``: the roles of each client, which are nobody else's.

    A role of a client is no role of the realm: anybody who may create a client there may name a
    role of it ``ADMIN``.
    """
    access = claims.get("resource_access")
    if access is None and "resource_access" not in claims:
        return NO_CLIENT_ROLES
    if not isinstance(access, dict) or len(access) > MAX_NAMES:
        return Denial(
            Reason.CLAIMS_MALFORMED,
            f"the token's resource_access is not an object of up to {MAX_NAMES} clients",
        )
    found: dict[str, frozenset[str]] = {}
    for client, held in access.items():
        if not is_plain(client) or len(client) > MAX_NAME_LENGTH or not isinstance(held, dict):
            return Denial(
                Reason.CLAIMS_MALFORMED, "an entry of the token's resource_access is no client's"
            )
        roles = read_names(_CLIENT_LABEL, held.get("roles", []))
        if isinstance(roles, Denial):
            return roles
        if roles:
            found[client] = roles
    return found


_CLIENT_LABEL: Final = ("resource_access", "<client>", "roles")


def read_names(path: ClaimPath, value: object) -> frozenset[str] | Denial:
    """Return a list of strings as a set; *path* says where it stands, for the denial."""
    if not isinstance(value, list):
        return _wrong(path)
    for name in value:
        if not isinstance(name, str):
            return _wrong(path)
    if len(value) > MAX_NAMES:
        return Denial(
            Reason.CLAIMS_MALFORMED,
            f"the token's {_shown(path)} has over {MAX_NAMES} entries",
        )
    return frozenset(value) if is_plain("".join(value)) else _wrong(path)


def _wrong(path: ClaimPath) -> Denial:
    return Denial(
        Reason.CLAIMS_MALFORMED, f"the token's {_shown(path)} is not a list of plain strings"
    )


def _shown(path: ClaimPath) -> str:
    return printable(show_claim_path(path))
