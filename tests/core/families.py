"""The access token of each family of issuers as its issuer documents it, and a verifier for it.

From the documents cited in ``sidecar.core.profiles``, with names of our own.
"""

from typing import Any, Final

from sidecar.core.claims import IssuerPolicy
from sidecar.core.keyset import parse_jwks
from sidecar.core.profiles import ProfileName
from sidecar.core.verification import Verdict, Verifier
from tests.core.signing import NOW, jwk, jwks, private_key, sign

TENANT: Final = "aaaabbbb-0000-cccc-1111-dddd2222eeee"
ISSUERS: Final[dict[ProfileName, str]] = {
    "generic": "https://issuer.test",
    "rfc9068": "https://issuer.test",
    "keycloak": "http://keycloak.test:8080/realms/shop",
    "spring": "http://auth.test:9000",
    "kubernetes": "https://kubernetes.default.svc.cluster.local",
    "spiffe": "spiffe://prod.test",
    "entra": f"https://login.microsoftonline.com/{TENANT}/v2.0",
    "auth0": "https://my-domain.auth0.com/",
    "okta": "https://org.okta.com/oauth2/default",
    "cognito": "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_Ab12Cd34e",
}
TIMES: Final = {"iat": NOW - 10, "exp": NOW + 300}
KEYCLOAK: Final[dict[str, Any]] = {
    **TIMES, "iss": ISSUERS["keycloak"], "jti": "1", "sub": "f0", "aud": ["account", "orders"],
    "typ": "Bearer", "azp": "web", "sid": "s", "acr": "1", "scope": "openid profile",
    "realm_access": {"roles": ["USER"]},
    "resource_access": {"my.app": {"roles": ["admin"]}, "account": {"roles": []}},
}  # fmt: skip
EXAMPLES: Final[dict[str, tuple[ProfileName, dict[str, Any], dict[str, Any]]]] = {
    "generic": (
        "generic",
        {"typ": "JWT"},
        {**TIMES, "iss": ISSUERS["generic"], "sub": "s", "aud": "orders", "scope": "a b",
         "roles": ["USER"]},
    ),
    "rfc9068": (
        "rfc9068",
        {"typ": "application/at+JWT"},
        {**TIMES, "iss": ISSUERS["rfc9068"], "sub": "5ba552d67", "aud": "orders",
         "client_id": "s6BhdRkqt3", "jti": "dbe39bf3a3ba4238a513f51d6e1691c4", "scope": "a b",
         "roles": ["USER"]},
    ),
    "keycloak": ("keycloak", {"typ": "JWT"}, KEYCLOAK),
    "spring": (
        "spring",
        {"typ": None},
        {**TIMES, "iss": ISSUERS["spring"], "sub": "orders", "aud": "orders", "nbf": NOW - 10,
         "scope": ["a", "b"], "jti": "1", "roles": ["USER"]},
    ),
    "kubernetes": (
        "kubernetes",
        {"typ": None},
        {**TIMES, "iss": ISSUERS["kubernetes"], "sub": "system:serviceaccount:shop:web",
         "aud": ["orders"], "nbf": NOW - 10, "jti": "1",
         "kubernetes.io": {
             "namespace": "shop",
             "node": {"name": "n", "uid": "1"},
             "pod": {"name": "p", "uid": "2"},
             "serviceaccount": {"name": "web", "uid": "3"},
             "warnafter": NOW + 200,
         }},
    ),
    "spiffe": (
        "spiffe",
        {"typ": "JOSE"},
        {**TIMES, "sub": "spiffe://prod.test/ns/shop/sa/web", "aud": ["orders"]},
    ),
    "spiffe with iss": (
        "spiffe",
        {"typ": None},
        {**TIMES, "iss": "https://oidc.test", "sub": "spiffe://prod.test/web", "aud": "orders"},
    ),
    "entra v2.0": (
        "entra",
        {"typ": "JWT"},
        {**TIMES, "iss": ISSUERS["entra"], "aud": "orders", "nbf": NOW - 10, "azp": "c",
         "azpacr": "0", "oid": "o", "sub": "pairwise", "tid": TENANT, "scp": "a b",
         "roles": ["USER"], "uti": "u", "ver": "2.0"},
    ),
    "auth0": (
        "auth0",
        {"typ": "JWT"},
        {**TIMES, "iss": ISSUERS["auth0"], "sub": "auth0|123456", "azp": "my_client_id",
         "aud": ["orders", "https://my-domain.auth0.com/userinfo"], "scope": "a b",
         "permissions": ["USER"]},
    ),
    "auth0 as rfc9068": (
        "auth0",
        {"typ": "at+jwt"},
        {**TIMES, "iss": ISSUERS["auth0"], "sub": "c@clients", "client_id": "c", "jti": "1",
         "aud": "orders", "scope": "a b", "permissions": ["USER"]},
    ),
    "okta": (
        "okta",
        {"typ": None},
        {**TIMES, "iss": ISSUERS["okta"], "ver": 1, "jti": "AT.0mP4", "aud": "orders",
         "cid": "0oabucvy", "uid": "00ucmukel", "scp": ["a", "b"], "sub": "alice@org.test",
         "groups": ["USER"]},
    ),
    "cognito": (
        "cognito",
        {"typ": None},
        {**TIMES, "iss": ISSUERS["cognito"], "sub": "uuid", "client_id": "orders",
         "token_use": "access", "scope": "a b", "auth_time": NOW - 10, "jti": "1",
         "username": "alice", "cognito:groups": ["USER"], "version": 2},
    ),
}  # fmt: skip


def verifier_for(profile: ProfileName, **changes: Any) -> Verifier:
    """Return a verifier that trusts the one issuer, under the RS256 key with the kid ``a``."""
    usual: dict[str, Any] = {"issuer": ISSUERS[profile], "audiences": frozenset({"orders"})}
    policy = IssuerPolicy(name="vendor", profile=profile, **{**usual, **changes})
    use = policy.rules.key_use
    verifier = Verifier(
        [policy],
        render=lambda _: b"",
        max_token_bytes=16384,
        cache_max_entries=1,
        cache_max_bytes=64 * 1024,
    )
    keys = jwks(jwk(private_key("RS256"), kid="a", use=use))
    verifier.install("vendor", parse_jwks(keys, use))
    return verifier


def judge(
    profile: ProfileName, header: dict[str, Any], claims: dict[str, Any], **changes: Any
) -> Verdict:
    """Return the verdict on a token that says this and is well signed."""
    return verifier_for(profile, **changes).verify(sign(claims, header=header), now=NOW)
