"""What only one family of issuers promises of its access tokens, checked on top of everything else.

Each function takes the claims of a token and the configured issuer, and returns why the token is
none of that family's access tokens. Which family has which is the table in
``sidecar.core.profiles``; the sources are cited there.
"""

import re
from typing import Final

from sidecar.core.encoding import is_plain, printable
from sidecar.core.outcome import Denial, Reason
from sidecar.core.rights import Claims

SPIFFE_SCHEME: Final = "spiffe://"
_MAX_SPIFFE_ID: Final = 2048
"""SPIFFE ID, section 2.3."""
_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]{1,255}")
_WORKLOAD: Final = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+)+")
_MAX_NAME: Final = 256
"""Characters of what names a transaction or a workload: both stand in headers and logs."""
_SERVICE_ACCOUNT: Final = "system:serviceaccount:"


def trust_domain_of(spiffe_id: object) -> str | None:
    """Return the trust domain of a workload's SPIFFE ID (SPIFFE ID, section 2); else ``None``."""
    if (
        not isinstance(spiffe_id, str)
        or len(spiffe_id) > _MAX_SPIFFE_ID
        or not spiffe_id.startswith(SPIFFE_SCHEME)
    ):
        return None
    domain, slash, path = spiffe_id[len(SPIFFE_SCHEME) :].partition("/")
    if _TRUST_DOMAIN.fullmatch(domain) is None or _WORKLOAD.fullmatch(slash + path) is None:
        return None
    return domain


def refuse_spiffe(claims: Claims, issuer: str) -> Denial | None:
    """A JWT-SVID speaks for a workload of the trust domain whose keys signed it."""
    for name in ("aud", "exp"):
        # Sections 3.2 and 3.3; whatever the configuration says of audiences and expiry.
        if name not in claims:
            return Denial(Reason.CLAIM_MISSING, f"the token has no {name}, which a JWT-SVID needs")
    domain = trust_domain_of(claims.get("sub"))
    if domain is None:
        return Denial(Reason.CLAIMS_MALFORMED, "the token's sub is not a workload's SPIFFE ID")
    if domain != issuer.removeprefix(SPIFFE_SCHEME):
        return Denial(
            Reason.ISSUER_MISMATCH,
            f"the token's sub is of the trust domain {printable(domain)}, not of {issuer}",
        )
    return None


def refuse_kubernetes(claims: Claims, issuer: str) -> Denial | None:  # noqa: ARG001
    """A bound token names its service account twice, and both times the same.

    Tokens from Secrets, which never expire, have neither ``exp`` nor the claim.
    """
    bound = claims.get("kubernetes.io")
    if not isinstance(bound, dict):
        return Denial(
            Reason.TOKEN_TYPE,
            "the token has no claim kubernetes.io, so it is no bound service account token; "
            "use a projected volume or TokenRequest",
        )
    account = bound.get("serviceaccount")
    name = account.get("name") if isinstance(account, dict) else None
    namespace = bound.get("namespace")
    if claims.get("sub") != f"{_SERVICE_ACCOUNT}{namespace}:{name}":
        return Denial(
            Reason.CLAIMS_MALFORMED,
            "the token's sub is not system:serviceaccount:<namespace>:<name> of its kubernetes.io",
        )
    return None


def refuse_entra(claims: Claims, issuer: str) -> Denial | None:  # noqa: ARG001
    """An access token names the client that uses it: ``azp`` (v2.0) or ``appid`` (v1.0)."""
    return _client_named(claims, "appid" if claims.get("ver") == "1.0" else "azp")


def refuse_auth0(claims: Claims, issuer: str) -> Denial | None:  # noqa: ARG001
    """An access token names its client: ``azp``, or ``client_id`` in the RFC 9068 form."""
    return _client_named(claims, "client_id" if "client_id" in claims else "azp")


def refuse_okta(claims: Claims, issuer: str) -> Denial | None:  # noqa: ARG001
    """An access token names its client as ``cid``; an ID token has it in ``aud`` alone."""
    return _client_named(claims, "cid")


def refuse_spring(claims: Claims, issuer: str) -> Denial | None:  # noqa: ARG001
    """Spring puts ``nbf`` into access tokens alone, and both kinds have the client as ``aud``."""
    if "nbf" in claims:
        return None
    return Denial(
        Reason.TOKEN_TYPE, "the token has no nbf, which Spring's access tokens have: an ID token?"
    )


def refuse_transaction(claims: Claims, issuer: str) -> Denial | None:  # noqa: ARG001
    """A transaction token is of one trust domain, has an end, and names its transaction, what it
    is for and the workload that asked for it. It need not have an ``iss``.
    """
    for name in ("aud", "exp"):
        if name not in claims:
            return Denial(Reason.CLAIM_MISSING, f"the token has no {name} claim")
    audience = claims["aud"]
    if not isinstance(audience, str) and len(audience) != 1:
        return Denial(
            Reason.AUDIENCE_MISMATCH, "the token's aud is not one trust domain, but several"
        )
    for name in ("txn", "req_wl"):
        value = claims.get(name)
        if not (is_plain(value) and 0 < len(value) <= _MAX_NAME and value == value.strip()):
            return Denial(
                Reason.CLAIMS_MALFORMED,
                f"the token's {name} is not a plain string of 1 to {_MAX_NAME} characters",
            )
    return None


def refuse_cognito(claims: Claims, issuer: str) -> Denial | None:  # noqa: ARG001
    """``token_use`` says what a token is; ``aud`` cannot, most access tokens have none."""
    if claims.get("token_use") == "access":
        return None
    return Denial(Reason.TOKEN_TYPE, "the token's claim token_use is not access")


def _client_named(claims: Claims, name: str) -> Denial | None:
    client = claims.get(name)
    if isinstance(client, str) and client:
        return None
    return Denial(
        Reason.TOKEN_TYPE, f"the token names no client ({name}), so it is not an access token"
    )
