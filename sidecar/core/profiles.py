"""What distinguishes the access tokens of one family of issuers from another's.

Owns where scopes and roles live, which token types pass for access tokens, and which claims a
family promises. What every token must say belongs to ``sidecar.core.claims``, what only one
family can be asked to ``sidecar.core.families``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Literal

from sidecar.core.claim_paths import ClaimPath
from sidecar.core.encoding import printable
from sidecar.core.families import (
    refuse_auth0,
    refuse_cognito,
    refuse_entra,
    refuse_kubernetes,
    refuse_okta,
    refuse_spiffe,
    refuse_spring,
    refuse_transaction,
)
from sidecar.core.jose import KeyUse
from sidecar.core.names import IDENTITY_TYPE, TRANSACTION_TYPE
from sidecar.core.outcome import Denial, Reason
from sidecar.core.principal import NO_CLIENT_ROLES
from sidecar.core.rights import Claims, ClientRoles, read_client_roles, read_roles

ProfileName = Literal[
    "generic", "rfc9068", "keycloak", "spring", "kubernetes", "spiffe", "entra", "auth0", "okta",
    "cognito", "transaction_token",
]  # fmt: skip

_ACCESS_TOKEN: Final = frozenset({"at+jwt"})
_USUAL_TYPES: Final = _ACCESS_TOKEN | {None, "jwt"}

_TRANSACTION_TOKEN: Final[frozenset[str | None]] = frozenset({TRANSACTION_TYPE})

_OTHER_KINDS: Final = frozenset({"id", "refresh", "offline", "logout"})
"""Keycloak's ``typ`` claim, and Cognito's ``token_use``, on tokens that are not access tokens."""
_ID_TOKEN_CLAIMS: Final = ("at_hash", "c_hash", "s_hash")
"""Hashes of what an ID token was issued with (OpenID Connect Core, section 3.3.2.11; FAPI)."""
_LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True, slots=True)
class Profile:
    """One family of issuers."""

    token_types: frozenset[str | None] = _USUAL_TYPES
    """Accepted header ``typ`` as ``Header`` has it; ``None`` where it may be absent."""
    roles_from: tuple[ClaimPath, ...] = (("roles",),)
    """Lists of roles, merged into one set."""
    scopes_from: tuple[ClaimPath, ...] | None = None
    """Scopes, merged; ``None``: ``scope``, or in its absence ``scp``."""
    required: tuple[str, ...] = ()
    """Claims required besides those that every token needs."""
    audience_claim: str = "aud"
    """Where the audience is if there is no ``aud``."""
    has_client_roles: bool = False
    """Whether roles apart by client are read from ``resource_access``."""
    bearer_claim: bool = False
    """Whether a claim ``typ`` must say ``Bearer`` where present."""
    refuse_family: Callable[[Claims, str], Denial | None] | None = None
    """Takes claims and configured issuer."""
    algorithms: frozenset[str] | None = None
    """All that the family's specification permits, whatever is configured."""
    key_use: KeyUse = "sig"

    def refuse_type(self, typ: str | None, claims: Claims) -> Denial | None:
        """Refuse what is signed by the right issuer but is no access token (RFC 8725, 3.11)."""
        if typ == IDENTITY_TYPE:  # whatever is configured: it tells an app of a caller, no more
            return Denial(
                Reason.TOKEN_TYPE, "the token is what a sidecar signed for its app, no access token"
            )
        if typ == TRANSACTION_TYPE and self.token_types is not _TRANSACTION_TOKEN:
            return Denial(
                Reason.TOKEN_TYPE,
                "the token is a transaction token, no access token: it comes as Txn-Token, beside "
                "one",
            )
        if typ not in self.token_types:
            shown = "absent" if typ is None else printable(typ)
            return Denial(
                Reason.TOKEN_TYPE,
                f"the token's header typ is {shown}; accepted are [{_listed(self.token_types)}]",
            )
        for name in ("typ", "token_use"):
            kind = claims.get(name)
            if isinstance(kind, str) and kind.lower() in _OTHER_KINDS:
                return Denial(
                    Reason.TOKEN_TYPE,
                    f"the token's claim {name} is {printable(kind)}, so it is not an access token",
                )
        if self.bearer_claim and claims.get("typ", "Bearer") != "Bearer":
            return Denial(Reason.TOKEN_TYPE, "the token's claim typ is not Bearer")
        for name in _ID_TOKEN_CLAIMS:
            if name in claims:
                return Denial(
                    Reason.TOKEN_TYPE,
                    f"the token has the claim {name}, so it is an ID token, not an access token",
                )
        if "cnf" in claims:
            # RFC 9449, section 7.1; RFC 8705, section 3: in other hands it is worth nothing, and
            # whose hands these are is not looked at here.
            return Denial(
                Reason.TOKEN_TYPE,
                "the token is bound to its holder's key (cnf: DPoP or mutual TLS), which is not "
                "checked here; send one that is not",
            )
        events = claims.get("events")
        if isinstance(events, dict) and _LOGOUT_EVENT in events:
            return Denial(Reason.TOKEN_TYPE, "the token is a logout token, not an access token")
        return None

    def read_roles(self, claims: Claims) -> frozenset[str] | Denial:
        return read_roles(claims, self.roles_from)

    def read_client_roles(self, claims: Claims) -> ClientRoles | Denial:
        return read_client_roles(claims) if self.has_client_roles else NO_CLIENT_ROLES


@dataclass(frozen=True, slots=True)
class Overrides:
    """What one issuer does differently from its family; ``None`` leaves the preset."""

    token_types: frozenset[str | None] | None = None
    roles_from: tuple[ClaimPath, ...] | None = None
    scopes_from: tuple[ClaimPath, ...] | None = None
    required: tuple[str, ...] | None = None


@cache
def profile_of(name: ProfileName, overrides: Overrides | None = None) -> Profile:
    """Return the preset *name* with *overrides*. There are as many as issuers are configured."""
    preset = PROFILES[name]
    if overrides is None:
        return preset
    return replace(
        preset,
        token_types=preset.token_types if overrides.token_types is None else overrides.token_types,
        roles_from=preset.roles_from if overrides.roles_from is None else overrides.roles_from,
        scopes_from=preset.scopes_from if overrides.scopes_from is None else overrides.scopes_from,
        required=preset.required if overrides.required is None else overrides.required,
    )


def _listed(types: frozenset[str | None]) -> str:
    return printable(", ".join(sorted("absent" if each is None else each for each in types)))


PROFILES: Final[Mapping[ProfileName, Profile]] = {
    "generic": Profile(),
    # RFC 9068, sections 2.1, 2.2 and 4.
    "rfc9068": Profile(token_types=_ACCESS_TOKEN, required=("aud", "client_id", "iat", "jti")),
    # https://www.keycloak.org/docs/latest/server_admin/#_oidc_token_role_mappings
    "keycloak": Profile(
        roles_from=(("realm_access", "roles"),), has_client_roles=True, bearer_claim=True
    ),
    # https://docs.spring.io/spring-authorization-server/reference/ (JwtGenerator,
    # OAuth2TokenCustomizer): scope is a list, aud and azp the client's id; roles are the
    # operator's own claim.
    "spring": Profile(refuse_family=refuse_spring),
    # https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/
    "kubernetes": Profile(
        token_types=frozenset({None}),
        roles_from=(),
        required=("aud", "exp", "iat"),
        refuse_family=refuse_kubernetes,
    ),
    # https://github.com/spiffe/spiffe/blob/main/standards/JWT-SVID.md, sections 2, 3 and 6.
    "spiffe": Profile(
        token_types=frozenset({None, "jwt", "jose"}),
        roles_from=(),
        refuse_family=refuse_spiffe,
        algorithms=frozenset(
            {"RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "PS384", "PS512"}
        ),
        key_use="jwt-svid",
    ),
    # From here on: from what the vendors publish, not run against them.
    # https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference
    "entra": Profile(token_types=frozenset({"jwt"}), required=("tid",), refuse_family=refuse_entra),
    # https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles
    "auth0": Profile(
        token_types=frozenset({"jwt", "at+jwt"}),
        roles_from=(("permissions",),),
        refuse_family=refuse_auth0,
    ),
    # https://developer.okta.com/docs/api/openapi/okta-oauth/guides/overview/ (access token)
    "okta": Profile(roles_from=(("groups",),), refuse_family=refuse_okta),
    # https://docs.aws.amazon.com/cognito/latest/developerguide/
    # amazon-cognito-user-pools-using-the-access-token.html
    "cognito": Profile(
        roles_from=(("cognito:groups",),),
        audience_claim="client_id",
        refuse_family=refuse_cognito,
    ),
    # draft-ietf-oauth-transaction-tokens, "Txn-Token Format", as of July 2026. No access tokens.
    "transaction_token": Profile(
        token_types=_TRANSACTION_TOKEN,
        roles_from=(),
        scopes_from=(("scope",),),
        required=("iat", "txn", "scope", "req_wl"),
        refuse_family=refuse_transaction,
    ),
}
