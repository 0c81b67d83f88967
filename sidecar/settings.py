"""The operator's configuration in the words of each part that it concerns.

Pure: what a part is told of the configuration is worked out here, and nothing is made of it. That
is the business of ``sidecar.wiring``.
"""

from collections.abc import Mapping
from typing import Final

from sidecar.config import model
from sidecar.config.proxy_names import authorities
from sidecar.config.reach import without_carrier
from sidecar.core.attachment import DestinationRules
from sidecar.core.attribution import AttributionRules, CallTerms, Grade
from sidecar.core.claims import Introspected
from sidecar.core.conditions import (
    Actors,
    Authentication,
    Condition,
    Contains,
    OneOf,
    SameAsSegment,
)
from sidecar.core.cors import Cors
from sidecar.core.forwarded import ForwardingFields
from sidecar.core.hygiene import HygieneLimits
from sidecar.core.paths import PathOptions
from sidecar.core.policy import Names, PolicyRule, Requirement
from sidecar.core.profiles import Overrides
from sidecar.core.propagation import CompatCarrier
from sidecar.core.resource_metadata import ResourceMetadata
from sidecar.core.routes import named_segments
from sidecar.core.token_request import TokenRequest
from sidecar.core.token_sources import AUTHORIZATION_ONLY, TokenSources
from sidecar.core.verification import IssuerPolicy
from sidecar.inbound.handler import InboundSettings
from sidecar.outbound.accepted_hosts import AcceptedHosts
from sidecar.outbound.handler import OutboundSettings
from sidecar.outbound.proxy import ProxySettings
from sidecar.tls.files import TlsPaths
from sidecar.wire.limits import WireLimits

_GRADES = {"strict": Grade.STRICT, "standard": Grade.STANDARD, "compat": Grade.COMPAT}
_CARRIER_GRADES = {
    "auto": Grade.STRICT,
    "python": Grade.STRICT,
    "opentelemetry": Grade.COMPAT,
    "none": Grade.COMPAT,
}


def issuer_policy(issuer: model.Issuer) -> IssuerPolicy:
    return IssuerPolicy(
        name=issuer.name,
        issuer=issuer.issuer,
        audiences=None if issuer.audiences is None else frozenset(issuer.audiences),
        algorithms=frozenset(issuer.algorithms),
        profile=issuer.profile,
        leeway_seconds=issuer.leeway_seconds,
        max_token_age_seconds=issuer.max_token_age_seconds,
        require_exp=issuer.require_exp,
        introspection=_introspected(issuer.introspection),
        overrides=_overrides(issuer),
        hygiene=_hygiene(issuer.hygiene),
    )


def _introspected(asked: model.Introspection | None) -> Introspected | None:
    if asked is None:
        return None
    return Introspected(
        opaque=asked.about != "jwt",
        jwt=asked.about != "opaque",
        positive_seconds=asked.cache.positive_seconds,
    )


def _overrides(issuer: model.Issuer) -> Overrides | None:
    types = issuer.token_types
    overrides = Overrides(
        token_types=None
        if types is None
        else frozenset(None if each == model.ABSENT_TYPE else each for each in types),
        roles_from=issuer.roles_from,
        scopes_from=issuer.scopes_from,
        required=issuer.required_claims,
    )
    return None if overrides == Overrides() else overrides


def _hygiene(hygiene: model.Hygiene | None) -> HygieneLimits | None:
    if hygiene is None:
        return None
    return HygieneLimits(
        hygiene.max_lifetime_seconds, hygiene.max_size_bytes, frozenset(hygiene.unwanted_claims)
    )


def policy_rule(rule: model.Rule, mode: model.Mode, attribution: model.Attribution) -> PolicyRule:
    requirement: Requirement | None
    match rule.access:
        case model.Allow.ANYONE | model.Allow.OPTIONAL_TOKEN:
            requirement = None
        case model.Allow.AUTHENTICATED:
            requirement = Requirement()
        case model.Require() as rights:
            requirement = Requirement(
                scopes=_names(rights.scopes),
                roles=_names(rights.roles),
                issuers=_set_of(rights.issuers),
                audiences=_set_of(rights.audiences),
                client_roles=tuple(
                    (client, _demanded(demand)) for client, demand in rights.client_roles
                ),
                conditions=tuple(_condition(each, rule.paths[0]) for each in rights.claims),
                actors=None if rights.actors is None else Actors(frozenset(rights.actors)),
                authentication=_authentication(rights),
            )
    return PolicyRule(
        name=rule.name,
        paths=rule.paths,
        methods=None if rule.methods is None else frozenset(m.encode() for m in rule.methods),
        requirement=requirement,
        terms=CallTerms(
            max_age_seconds=rule.max_age_seconds or attribution.max_age_seconds,
            linger_seconds=rule.linger_seconds,
            alone=attribution.exclusive != "off" and rule.exclusive,
        ),
        enforced=(rule.mode or mode) == "enforce",
        hosts=rule.hosts,
        optional=rule.access is model.Allow.OPTIONAL_TOKEN,
    )


def policy_rules(config: model.Config) -> tuple[PolicyRule, ...]:
    """Return the rules of the listener in front of the app, in their order."""
    return tuple(
        policy_rule(rule, config.inbound.mode, config.attribution) for rule in config.inbound.rules
    )


def _condition(condition: model.ClaimCondition, path: str) -> Condition:
    """*path*: any of the rule's, for the named segments are in the same place in all of them."""
    names = [each for each in condition.values if isinstance(each, str)]
    match condition.test:
        case "one_of":
            return OneOf(condition.claim, condition.values)
        case "contains":
            return Contains(condition.claim, frozenset(names), condition.match)
        case "segment":
            return SameAsSegment(condition.claim, names[0], named_segments(path)[names[0]])


def _authentication(rights: model.Require) -> Authentication | None:
    if not rights.acr and rights.max_auth_age_seconds is None:
        return None
    return Authentication(rights.acr, rights.max_auth_age_seconds)


def _names(demand: model.Demand | None) -> Names | None:
    return None if demand is None else _demanded(demand)


def _demanded(demand: model.Demand) -> Names:
    return Names(frozenset(demand.names), demand.match)


def _set_of(names: tuple[str, ...] | None) -> frozenset[str] | None:
    return None if names is None else frozenset(names)


def token_sources(config: model.Config) -> TokenSources | None:
    """Return what looks for tokens, ``None`` where ``Authorization`` is the only place."""
    sources = config.inbound.token_sources
    return None if sources == AUTHORIZATION_ONLY else TokenSources(sources)


def _carriers(config: model.Config) -> frozenset[CompatCarrier]:
    """Where handles go besides the dedicated header: nowhere, unless somebody accepts that.

    They may leave in connections that we cannot see into.
    """
    accepted = config.attribution.exclusive != "off" or any(
        destination.attaches and destination.min_assurance == "compat"
        for destination in config.outbound.destinations.values()
    )
    return frozenset(config.attribution.compat_carriers if accepted else ())


def inbound_settings(config: model.Config) -> InboundSettings:
    inbound = config.inbound
    return InboundSettings(
        token_to_app=inbound.token_to_app,
        paths=PathOptions(inbound.allow_encoded_slash, inbound.allow_semicolon),
        carriers=_carriers(config),
        sources=token_sources(config),
        tells_decision=config.explain.decision_ids == "all",
    )


def destination_rules(destination: model.Destination, token: model.TokenKind) -> DestinationRules:
    """Return what decides on the calls that get *token*."""
    return DestinationRules(
        attributes=token != "none",  # noqa: S105 - a choice
        anonymous_without_context=destination.without_context == "anonymous",
        own_without_context=destination.without_context in ("client_credentials", "file"),
        anonymous_for_anonymous=destination.anonymous_origin == "anonymous",
        keep_app_credentials=destination.app_credentials == "keep",
    )


def own_request(destination: model.Destination) -> TokenRequest:
    """Return what asks for the service's own token, where calls without a cause get that."""
    request = destination.token_request
    assert request is not None
    if request.grant == "client_credentials":
        return request
    # What is particular to a token for somebody else has no place here.
    return TokenRequest(
        request.client,
        "client_credentials",
        audience=request.audience,
        resource=request.resource,
        scopes=request.scopes,
        accepted_audiences=request.accepted_audiences,
    )


def outbound_settings(destination: model.Destination, config: model.Config) -> OutboundSettings:
    attribution = config.attribution
    return OutboundSettings(
        name=destination.name,
        attribution=AttributionRules(
            destination=destination.name,
            min_grade=_GRADES[destination.min_assurance],
            max_grade=_CARRIER_GRADES[attribution.carrier],
            max_calls=attribution.max_calls,
        ),
        hosts=AcceptedHosts(destination.hosts),
        passes_transaction=destination.carries_transaction,
        swaps_ids=not _carriers(config).isdisjoint(("request_id", "trace_id")),
        observe=(destination.mode or config.outbound.mode) == "observe",
        sources=token_sources(config),
        tells_decision=config.explain.decision_ids == "all",
        replay_bytes=destination.replay_bytes,
        # What the app may send of its own may be a token of the same issuer.
        issuers=_trusted(config) if destination.app_credentials == "refuse" else frozenset(),
    )


def proxy_settings(config: model.Config) -> ProxySettings:
    return ProxySettings(
        unlisted=config.outbound.unlisted,
        connect_ports=frozenset(config.outbound.connect_ports),
        total_timeout_seconds=config.outbound.proxy_limits.total_timeout_seconds,
        issuers=_trusted(config),
        sources=token_sources(config),
    )


def _trusted(config: model.Config) -> frozenset[str]:
    return frozenset(issuer.issuer for issuer in config.issuers.values())


def proxied_names(config: model.Config) -> Mapping[str, str]:
    """Return the destination's name for each ``host:port`` that means one."""
    return {
        f"{host}:{port}": destination.name
        for destination in config.outbound.destinations.values()
        for host, port in authorities(destination)
    }


def carrier_expectation(config: model.Config) -> str:
    """Return why the app's calls should have a carrier; empty where they need none."""
    carrier = config.attribution.carrier
    attaching = [each for each in config.outbound.destinations.values() if each.attaches]
    # OpenTelemetry brings handles back and says nothing of itself.
    if not attaching or carrier in ("none", "opentelemetry") or config.inbound.listen is None:
        return ""
    if carrier != "auto":
        return f"attribution.carrier is {carrier}"
    without = _GRADES[without_carrier(config)]
    demanding = (each for each in attaching if _GRADES[each.min_assurance] > without)
    first = next(demanding, None)
    return f"{first.name} demands min_assurance {first.min_assurance}" if first else ""


def forwarding_fields(inbound: model.Inbound) -> ForwardingFields | None:
    """Return what writes the fields that tell the app of the way; nothing: they are left alone."""
    forwarded = inbound.forwarded
    if forwarded is None:
        return None
    return ForwardingFields(
        trust=forwarded.trust,
        write=forwarded.set,
        scheme=b"http" if inbound.tls is None else b"https",
    )


def listener_files(tls: model.ListenerTls) -> TlsPaths:
    return TlsPaths(tls.certificate, tls.key, tls.client_ca or "")


def destination_files(tls: model.DestinationTls | None) -> TlsPaths:
    return (
        TlsPaths() if tls is None else TlsPaths(tls.certificate or "", tls.key or "", tls.ca or "")
    )


def server_name(destination: model.Destination) -> str:
    """Return the name that the destination's certificate must have."""
    named = destination.tls.server_name if destination.tls is not None else None
    return (named or destination.upstream.host).strip("[]")


def authority(origin: model.Origin) -> str:
    host = f"[{origin.host}]" if ":" in origin.host else origin.host
    default = {"http": 80, "https": 443}[origin.scheme]
    return host if origin.port == default else f"{host}:{origin.port}"


def wire_limits(limits: model.Limits) -> WireLimits:
    return WireLimits(
        max_head_bytes=limits.max_head_bytes,
        max_fields=limits.max_fields,
        max_target_bytes=limits.max_target_bytes,
        max_body_bytes=limits.max_body_bytes,
        max_connections=limits.max_connections,
        max_upstream_connections=limits.max_upstream_connections,
        header_timeout_seconds=limits.header_timeout_seconds,
        idle_timeout_seconds=limits.idle_timeout_seconds,
        body_timeout_seconds=limits.body_timeout_seconds,
        connect_timeout_seconds=limits.connect_timeout_seconds,
        response_timeout_seconds=limits.response_timeout_seconds,
        upstream_idle_timeout_seconds=limits.upstream_idle_timeout_seconds,
        min_body_bytes_per_second=limits.min_body_bytes_per_second,
        tunnel_idle_timeout_seconds=limits.tunnel_idle_timeout_seconds,
        connect_retries=limits.connect_retries,
    )


PREFLIGHT: Final = "preflight"
"""Route of the preflights that pass."""


def preflight_rule(config: model.Config) -> PolicyRule:
    """Return what lets a preflight pass: anyone, in nobody's name."""
    return PolicyRule(
        name=PREFLIGHT,
        paths=("/**",),
        methods=frozenset((b"OPTIONS",)),
        requirement=None,
        terms=CallTerms(
            max_age_seconds=config.attribution.max_age_seconds,
            alone=config.attribution.exclusive != "off",
        ),
    )


def cors(written: model.Cors) -> Cors:
    return Cors(
        written.allow_origins,
        credentials=written.allow_credentials,
        expose=written.expose_headers,
    )


def resource_metadata(config: model.Config, written: model.ResourceMetadata) -> ResourceMetadata:
    servers, scopes = written.authorization_servers, written.scopes_supported
    if servers is None:
        servers = tuple(issuer.issuer for issuer in config.access_issuers.values())
    if scopes is None:
        required = (
            rule.access.scopes
            for rule in config.inbound.rules
            if isinstance(rule.access, model.Require)
        )
        scopes = tuple({name for each in required if each is not None for name in each.names})
    return ResourceMetadata(
        written.resource, authorization_servers=servers, scopes_supported=scopes
    )
