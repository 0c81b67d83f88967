"""The grant ``jwt-bearer`` (RFC 7523, section 2.1), and Entra's on-behalf-of that is sent as one.

Owns what follows from the assertion. The two differ in whom it is for: by the RFC for the server
that is asked, on behalf of a user for the service that asks.
"""

from collections.abc import Sequence
from typing import Final

from sidecar.testbed.grants import Asked, Grant, narrowed, permitted, targets
from sidecar.testbed.token_errors import TokenError
from sidecar.testbed.trusted_tokens import Claims, TrustedTokens, audiences, scopes
from sidecar.testbed.users import Service

_ON_BEHALF_OF: Final = "on_behalf_of"


def assert_subject(
    asked: Asked,
    service: Service,
    tokens: TrustedTokens,
    *,
    recipients: frozenset[str],
    default_scopes: frozenset[str],
) -> Grant | TokenError:
    """Return the token of the assertion's subject, or the error (RFC 7523, section 3.1).

    *recipients* is what this server is called. *default_scopes* are for an assertion without any.
    """
    token = asked.form.get("assertion")
    if not token:
        return TokenError("invalid_request", "assertion is missing")
    claims = tokens.claims(token)
    if claims is None:
        return TokenError("invalid_grant", "the assertion is not good")
    match asked.form.get("requested_token_use"):
        case None:
            return _by_rfc(asked, service, claims, recipients, default_scopes)
        case str(use) if use == _ON_BEHALF_OF:
            return _on_behalf_of(asked, service, claims)
        case _:
            return TokenError("invalid_request", "requested_token_use is not on_behalf_of")


def _by_rfc(
    asked: Asked,
    service: Service,
    claims: Claims,
    recipients: frozenset[str],
    default_scopes: frozenset[str],
) -> Grant | TokenError:
    if audiences(claims).isdisjoint(recipients):
        return TokenError("invalid_grant", "the assertion is for somebody else")
    audience = targets(asked, service)
    if isinstance(audience, TokenError):
        return audience
    scope = narrowed(asked, scopes(claims) or default_scopes)
    if isinstance(scope, TokenError):
        return scope
    said = {**audience, "scope": scope, "client_id": service.client_id}
    return Grant(str(claims["sub"]), scope, said)


def _on_behalf_of(asked: Asked, service: Service, claims: Claims) -> Grant | TokenError:
    """Each scope is ``RESOURCE/SCOPE``; ``.default`` is what was consented to, here all."""
    if service.client_id not in audiences(claims):
        return TokenError("invalid_grant", "the assertion is not for the client that shows it")
    pairs = [scope.rpartition("/") for scope in sorted(asked.scope)]
    resources = {resource for resource, _, _ in pairs}
    if len(resources) != 1 or "" in resources:
        return TokenError("invalid_scope", "ask for scopes of one resource: RESOURCE/SCOPE")
    audience = permitted([*resources], service)
    if isinstance(audience, TokenError):
        return audience
    scope = _consented([name for _, _, name in pairs], scopes(claims))
    said = {**audience, "scope": scope, "azp": service.client_id}
    return Grant(str(claims["sub"]), scope, said)


def _consented(names: Sequence[str], held: frozenset[str]) -> str:
    return " ".join(sorted(held if ".default" in names else names))
