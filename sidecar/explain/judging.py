"""Decide one request as the listener in front of the app would, without a listener.

The same checks in the same order, by the same functions; there is no app, no ledger and no
network.
"""

from collections.abc import Callable, Mapping
from typing import Any

from sidecar.core.bearer import is_b64token
from sidecar.core.claims import IssuerPolicy, read_lifetime, read_principal
from sidecar.core.outcome import Denial, Reason
from sidecar.core.paths import PathOptions, canonical
from sidecar.core.policy import Permit, Policy, PolicyRule, authorize
from sidecar.core.principal import Principal
from sidecar.core.verification import IntrospectionNeeded, KeyNeeded, Rejected, Verified, Verifier
from sidecar.explain.case import Case, read_said
from sidecar.telemetry.decisions import said_by

Missing = Callable[[KeyNeeded], Denial]
"""Says why the key is not there."""


def judge(
    *,
    method: bytes,
    path: bytes,
    host: bytes,
    token: bytes | None,
    claims: Mapping[str, Any] | None,
    policy: Policy,
    paths: PathOptions,
    verifier: Verifier,
    issuers: Mapping[str, IssuerPolicy],
    missing: Missing,
    now: float,
) -> Case:
    """Return what would be decided at *now*. *claims* stand in for a token that is verified."""
    found = canonical(path, paths)
    rule = None if isinstance(found, Denial) else policy.match(method, found, host)
    denial: Denial | None = None
    principal: Principal | None = None
    key: tuple[str, str | None] | None = None
    header: Mapping[str, Any] = {}
    said: Mapping[str, Any] = {} if claims is None else claims
    if token is not None:
        header, said = read_said(said_by(token))
    has_token = token is not None or claims is not None
    if isinstance(found, Denial):
        denial = found
    elif rule is None:
        denial = Denial(Reason.NO_RULE, "no rule matches this method, path and host")
    elif rule.looks_at_tokens and has_token:
        if token is not None:
            verdict = _verified(token, verifier, missing, now)
            if isinstance(verdict, Denial):
                denial = verdict
            else:
                principal, key = verdict.credential.principal, verdict.credential.key
        else:
            supposed = _supposed(said, issuers, now)
            if isinstance(supposed, Denial):
                denial = supposed
            else:
                principal = supposed
    enforced = True
    if denial is None and rule is not None and not isinstance(found, Denial):
        denial, enforced = _authorized(rule, principal, found, now)
    return Case(
        direction="inbound",
        method=method,
        path=path if isinstance(found, Denial) else found,
        host=host,
        at=now,
        rule=rule,
        route="" if rule is None else rule.name,
        denial=denial,
        enforced=enforced,
        source=("the file" if token is not None else "claims alone") if has_token else "",
        header=header,
        claims=said,
        principal=principal,
        key=key,
        signature_skipped=claims is not None,
    )


def _verified(token: bytes, verifier: Verifier, missing: Missing, now: float) -> Verified | Denial:
    if not is_b64token(token):
        return Denial(Reason.TOKEN_MALFORMED, "this is not a token (RFC 6750, section 2.1)")
    match verifier.verify(token, now=now):
        case Verified() as verified:
            return verified
        case Rejected(denial=denial):
            return denial
        case KeyNeeded() as needed:
            return missing(needed)
        case IntrospectionNeeded(issuer_name=name):
            return Denial(
                Reason.INTROSPECTION_UNAVAILABLE,
                f"issuers.{name} is asked about such tokens, which is not done here",
            )


def _supposed(
    claims: Mapping[str, Any], issuers: Mapping[str, IssuerPolicy], now: float
) -> Principal | Denial:
    """Judge *claims* as if an issuer had signed them."""
    iss = claims.get("iss")
    policy = issuers.get(iss) if isinstance(iss, str) else None
    if policy is None:
        return Denial(Reason.ISSUER_MISMATCH, "the claims' iss is none of the configured issuers")
    judged = read_principal(dict(claims), policy)
    if isinstance(judged, Denial):
        return judged
    lifetime = read_lifetime(claims, policy)
    if isinstance(lifetime, Denial):
        return lifetime
    return lifetime.refuse(now) or judged


def _authorized(
    rule: PolicyRule, principal: Principal | None, path: bytes, now: float
) -> tuple[Denial | None, bool]:
    match authorize(rule, principal, path, now):
        case Permit(unmet=unmet):
            return unmet, unmet is None
        case Denial() as denial:
            return denial, True
