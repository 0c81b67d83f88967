"""What a configuration would do, in a few lines for a person."""

from collections.abc import Iterator
from typing import Final, assert_never

from sidecar.config.model import (
    Allow,
    ClaimCondition,
    Client,
    Config,
    Demand,
    Destination,
    DestinationRule,
    Discovery,
    Inbound,
    Issuer,
    JwksFile,
    JwksUri,
    ListenerTls,
    Rule,
    Scalar,
    TokenKind,
)
from sidecar.config.problems import printable
from sidecar.config.values import format_duration
from sidecar.core.claim_paths import show_claim_path
from sidecar.core.token_request import TokenRequest
from sidecar.core.token_sources import AUTHORIZATION_ONLY

MOST_SHOWN: Final = 20
"""Rules, issuers and destinations each; the rest is counted."""
_MOST_PARTS: Final = 5


def summary(config: Config) -> Iterator[str]:
    """Yield the lines."""
    inbound = config.inbound
    yield "The configuration is usable. It would"
    yield f"  {_inbound(inbound)}"
    if inbound.token_sources != AUTHORIZATION_ONLY:
        yield printable(f"  look for the token in {' or '.join(map(str, inbound.token_sources))}")
    if (transactions := inbound.transaction_tokens) is not None:
        need = "demand" if transactions.require else "look for"
        yield f"  {need} transaction tokens of issuer {transactions.issuer}"
    yield f"  listen on {config.admin.listen} for metrics and probes"
    if config.admin.control is not None:
        yield printable(f"  listen on unix:{config.admin.control} for `sidecar status`")
    if (proxy := config.outbound.proxy) is not None:
        yield f"  listen on {proxy} as forward proxy ({config.outbound.unlisted} what is unlisted)"
    yield from _some("issuer", [_issuer(issuer) for issuer in config.issuers.values()])
    yield from _some("rule", [_rule(rule) for rule in inbound.rules])
    yield from _some("client", [_client(client) for client in config.clients.values()])
    destinations = config.outbound.destinations.values()
    yield from _some("destination", [_destination(each) for each in destinations])


def _inbound(inbound: Inbound) -> str:
    if inbound.listen is None:
        return "serve no callers (inbound.listen: off)"
    callers = f"callers{_tls(inbound.tls)}"
    return f"listen on {inbound.listen} for {callers}, in front of {inbound.app} ({inbound.mode})"


def _tls(tls: ListenerTls | None) -> str:
    if tls is None:
        return ""
    shown = (
        "" if tls.client_certificate == "off" else f", client certificate {tls.client_certificate}"
    )
    return f" over TLS{shown}"


def _some(noun: str, lines: list[str]) -> Iterator[str]:
    for line in lines[:MOST_SHOWN]:
        yield printable(f"  {noun} {line}")
    if len(lines) > MOST_SHOWN:
        yield f"  and {len(lines) - MOST_SHOWN} more {noun}s"


def _issuer(issuer: Issuer) -> str:
    audiences = "any audience" if issuer.audiences is None else ", ".join(issuer.audiences)
    keys = _keys(issuer.keys)
    asked = "" if issuer.introspection is None else _asked(issuer.introspection.about)
    return f"{issuer.name}: {issuer.issuer} for {audiences}, keys from {keys}{asked}"


def _asked(about: str) -> str:
    tokens = {"opaque": "opaque tokens", "jwt": "its JWTs", "all": "opaque tokens and its JWTs"}
    return f", asked about {tokens[about]}"


def _keys(keys: JwksFile | JwksUri | Discovery) -> str:
    match keys:
        case JwksFile(path=path):
            return f"the file {path}"
        case JwksUri(url=url):
            return url
        case Discovery(url=url):
            return f"discovery at {url}"
        case never:
            assert_never(never)


def _rule(rule: Rule) -> str:
    methods = ", ".join(rule.methods) if rule.methods else "any method"
    mode = f" ({rule.mode})" if rule.mode else ""
    hosts = f" of {', '.join(rule.hosts)}" if rule.hosts else ""
    return f"{rule.name}: {methods} on {', '.join(rule.paths)}{hosts}: {_access(rule)}{mode}"


def _access(rule: Rule) -> str:
    match rule.access:
        case Allow.ANYONE:
            return "anyone"
        case Allow.OPTIONAL_TOKEN:
            return "anyone, with a good token or none"
        case Allow.AUTHENTICATED:
            return "a valid token"
        case rights:
            parts = [
                f"{noun} {_demand(demand)}"
                for noun, demand in (("scopes", rights.scopes), ("roles", rights.roles))
                if demand is not None
            ]
            parts += [
                f"a token {word} {' or '.join(names)}"
                for word, names in (("of", rights.issuers), ("for", rights.audiences))
                if names is not None
            ]
            parts += [f"roles {_demand(demand)} of {who}" for who, demand in rights.client_roles]
            parts += [_condition(condition) for condition in rights.claims]
            if rights.actors is not None:
                parts.append(f"used by {' or '.join(rights.actors) or 'nobody else'}")
            if rights.acr:
                parts.append(f"acr {' or '.join(rights.acr)}")
            if rights.max_auth_age_seconds is not None:
                parts.append(f"authenticated within {format_duration(rights.max_auth_age_seconds)}")
            return " and ".join(parts)


def _condition(condition: ClaimCondition) -> str:
    claim = show_claim_path(condition.claim)
    match condition.test:
        case "segment":
            return f"{claim} as the path's {{{condition.values[0]}}}"
        case "contains":
            joined = " or " if condition.match == "any" else " and "
            return f"{claim} with {joined.join(map(str, condition.values))}"
        case "one_of":
            return f"{claim} {' or '.join(_scalar(value) for value in condition.values)}"


def _scalar(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _demand(demand: Demand) -> str:
    return (" or " if demand.match == "any" else " and ").join(demand.names)


def _client(client: Client) -> str:
    where = client.token_endpoint or f"the token endpoint of issuer {client.issuer}"
    return f"{client.name}: {client.client_id} at {where}, {client.auth}"


def _destination(destination: Destination) -> str:
    parts = "".join(
        f"; {_rule_of(rule)} {_token(rule.token, rule.token_request)}"
        for rule in destination.rules[:_MOST_PARTS]
    )
    if len(destination.rules) > _MOST_PARTS:
        parts += f"; and {len(destination.rules) - _MOST_PARTS} more rules"
    return (
        f"{destination.name}: {destination.listen} -> {destination.upstream}, "
        f"{_token(destination.token, destination.token_request)}{_transaction(destination)}, "
        f"assurance {destination.min_assurance}{parts}"
    )


def _transaction(destination: Destination) -> str:
    request = destination.transaction_request
    if request is not None:
        return f", transaction token by client {request.client} for {', '.join(request.audience)}"
    return ", transaction token passed on" if destination.carries_transaction else ""


def _rule_of(rule: DestinationRule) -> str:
    methods = "" if rule.methods is None else f"{', '.join(rule.methods)} on "
    return f"{methods}{', '.join(rule.paths)}:"


def _token(token: TokenKind, request: TokenRequest | None) -> str:
    if request is None or token in ("relay", "none", "file"):
        return f"token {token}"
    audience = f" for {', '.join(request.audience)}" if request.audience else ""
    return f"token {token} by client {request.client}{audience}"
