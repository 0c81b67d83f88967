"""What to do about a token that is refused: sentences for the operator who reads the log.

Owns the usual causes of a first hour that fails. That a token is refused is decided elsewhere.
"""

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import SplitResult, urlsplit

from sidecar.core.families import SPIFFE_SCHEME
from sidecar.core.profiles import ProfileName

_AUDIENCE: Final[Mapping[str, str]] = {
    "keycloak": "an audience mapper on the client, or on one of its client scopes, adds one",
    "spring": "the aud is the client's id unless an OAuth2TokenCustomizer sets another",
    "kubernetes": "a projected volume's serviceAccountToken.audience sets it",
    "entra": "the aud of a v2.0 token is the API's client id, of a v1.0 token often its URI",
    "auth0": "the client asks for it with the parameter audience, the API's identifier",
    "okta": "a custom authorization server sets it; the org's own is for Okta's API alone",
    "cognito": "without aud, audiences are compared with client_id",
}
_MAX_ISSUER_LENGTH: Final = 2048
"""Whoever sends a longer one is not helped: it is no slip of a configuration."""
_ANY_ISSUER: Final = "the issuer decides it, per client or resource"

_SUBJECT: Final[Mapping[str, str]] = {
    "keycloak": "since Keycloak 25 the client scope basic adds it",
}


def audience_hint(profile: ProfileName) -> str:
    """Say how tokens of this family come by another audience."""
    return _AUDIENCE.get(profile, _ANY_ISSUER)


def missing_hint(claim: str, profile: ProfileName) -> str:
    """Say how a claim that this family often lacks comes into its tokens; empty if it has none."""
    hint = _SUBJECT.get(profile) if claim == "sub" else None
    return "" if hint is None else f"; {hint}"


def issuer_hint(found: str, trusted: Iterable[str]) -> str:
    """Say what the unknown *found* has to do with an issuer that is trusted; empty if nothing."""
    if len(found) > _MAX_ISSUER_LENGTH:
        return ""
    for issuer in trusted:
        if (hint := _likeness(found, issuer)) is not None:
            return f"; {hint}"
    return ""


def _likeness(found: str, trusted: str) -> str | None:
    if found.rstrip("/") == trusted.rstrip("/"):
        return "they differ in a slash at the end: write `issuer` as the token has it"
    if found.lower() == trusted.lower():
        return "they differ in upper and lower case: write `issuer` as the token has it"
    theirs, ours = _split(found), _split(trusted)
    if theirs is None or ours is None or trusted.startswith(SPIFFE_SCHEME):
        return None
    if {theirs.hostname, ours.hostname} == {"sts.windows.net", "login.microsoftonline.com"}:
        return (
            "Entra's v1.0 and v2.0 tokens have different issuers: set requestedAccessTokenVersion"
            " in the API's manifest, or trust the other one"
        )
    if theirs.path.strip("/") != ours.path.strip("/"):
        return None
    if not ours.path.strip("/") and theirs.hostname != ours.hostname:
        return None  # any two issuers without path are alike in that
    if theirs.netloc == ours.netloc:
        return "they differ in the scheme: tell the issuer its public URL"
    return (
        "they differ in scheme, host or port alone, as an internal and a public URL do: write the"
        " token's as `issuer`, and the one that is reachable from here as `discovery_url`"
    )


def _split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None
