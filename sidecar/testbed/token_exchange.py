"""Token exchange (RFC 8693) as the embedded identity provider does it.

Owns which token comes of which. Its delegation is what the actor chain is tried against, since few
servers issue ``act``.
"""

import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from sidecar.testbed.grants import (
    ACCESS_TOKEN,
    JWT,
    TRANSACTION_TOKEN,
    Asked,
    Grant,
    narrowed,
    targets,
)
from sidecar.testbed.token_errors import TokenError
from sidecar.testbed.token_mint import ABSENT
from sidecar.testbed.trusted_tokens import Claims, TrustedTokens, scopes
from sidecar.testbed.users import Service

_TAKEN: Final = frozenset({ACCESS_TOKEN, JWT})
_ISSUED: Final = frozenset({ACCESS_TOKEN, JWT, TRANSACTION_TOKEN})


def exchange(asked: Asked, service: Service, tokens: TrustedTokens) -> Grant | TokenError:
    """Return the token that *service* gets for the subject's token, or the error (section 2.2).

    It lasts no longer than the subject's. Who acted so far goes on being said: an actor that is
    named anew comes before them (section 4.1), and without one nothing changes.
    """
    form = asked.form
    requested = form.get("requested_token_type") or ACCESS_TOKEN
    if requested not in _ISSUED:
        return TokenError("invalid_request", "no token of that requested_token_type is issued")
    subject = _presented("subject_token", form, tokens)
    if isinstance(subject, TokenError):
        return subject
    actor = _actor(form, tokens)
    if isinstance(actor, TokenError):
        return actor
    if not _may_act(subject, actor or {"sub": service.client_id}):
        return TokenError("invalid_request", "may_act of the subject's token names another actor")
    audience = targets(asked, service)
    if isinstance(audience, TokenError):
        return audience
    scope = narrowed(asked, scopes(subject))
    if isinstance(scope, TokenError):
        return scope
    claims: dict[str, object] = {**audience, "scope": scope, "client_id": service.client_id}
    if chain := _chain(subject, actor):
        claims["act"] = chain
    if requested == TRANSACTION_TOKEN:
        transaction = _transaction(form, subject, service)
        if isinstance(transaction, TokenError):
            return transaction
        claims |= transaction
    return Grant(str(subject["sub"]), scope, claims, requested, True, subject["exp"])


def _presented(name: str, form: Mapping[str, str], tokens: TrustedTokens) -> Claims | TokenError:
    token, kind = form.get(name), form.get(f"{name}_type")
    if not token or not kind:
        return TokenError("invalid_request", f"{name} or {name}_type is missing")
    if kind not in _TAKEN:
        return TokenError("invalid_request", f"{name}_type is none that is taken")
    claims = tokens.claims(token)
    # The RFC's code for a token that is wrong in any way, which others call invalid_grant.
    return claims or TokenError("invalid_request", f"{name} is not good")


def _actor(form: Mapping[str, str], tokens: TrustedTokens) -> Claims | TokenError | None:
    if "actor_token" in form:
        return _presented("actor_token", form, tokens)
    if "actor_token_type" in form:
        return TokenError("invalid_request", "actor_token_type is there without actor_token")
    return None


def _may_act(subject: Claims, actor: Claims) -> bool:
    """Whether the subject's token lets *actor* act (section 4.4); most do not say who may."""
    permitted = subject.get("may_act")
    if permitted is None:
        return True
    if not isinstance(permitted, Mapping) or not permitted:
        return False
    return all(actor.get(name) == value for name, value in permitted.items())


def _chain(subject: Claims, actor: Claims | None) -> Mapping[str, Any] | None:
    before: Mapping[str, Any] | None = subject.get("act")
    if actor is None:
        return before
    current = {"sub": actor["sub"], "iss": actor.get("iss")}
    return {**current, "act": before} if before else current


def _transaction(
    form: Mapping[str, str], subject: Claims, service: Service
) -> dict[str, object] | TokenError:
    """Return what a Transaction Token says besides (OAuth Transaction Tokens, draft 10)."""
    claims: dict[str, object] = {
        "txn": subject.get("txn") or secrets.token_hex(8),
        "req_wl": service.client_id,
        "client_id": ABSENT,
        "typ": ABSENT,
        "realm_access": ABSENT,
        "roles": ABSENT,
    }
    for parameter, claim in (("request_context", "rctx"), ("request_details", "tctx")):
        if parameter in form:
            try:
                claims[claim] = json.loads(form[parameter])
            except ValueError:
                return TokenError("invalid_request", f"{parameter} is not JSON")
    return claims
