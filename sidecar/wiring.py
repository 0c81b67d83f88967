"""What serves requests, made from a configuration: everything that exists once, and the listeners.

The clocks and the randomness that the rest takes as arguments come from here. Nothing is started;
that is ``sidecar.assembly``.
"""

import asyncio
import ipaddress
import logging
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from sidecar import __version__, settings
from sidecar.config import model
from sidecar.core.attribution import Attribute, attribute
from sidecar.core.forwarded import ForwardingFields, classifier
from sidecar.core.keyset import KeySet
from sidecar.core.policy import Policy
from sidecar.core.principal import Credential
from sidecar.core.verification import IntrospectionNeeded, Verified, Verifier
from sidecar.credentials.admission import ExclusiveAdmission
from sidecar.credentials.app_identity import AppIdentity
from sidecar.credentials.ledger import HandleSource, Ledger
from sidecar.fetch.client import Fetcher, Lookup
from sidecar.inbound.cors import CorsHandler
from sidecar.inbound.exchange import InboundHandler
from sidecar.inbound.resource_metadata import MetadataHandler
from sidecar.issuers.introspection import IntrospectionClient
from sidecar.issuers.keys import IssuerKeys
from sidecar.outbound.addresses import Addresses, system_lookup, why_refused
from sidecar.outbound.exchange import OutboundHandler
from sidecar.outbound.proxy import CONNECT, UNLISTED, Bypasses, ProxyHandler
from sidecar.telemetry.access_log import AccessLog
from sidecar.telemetry.carriers import Carriers
from sidecar.telemetry.decision_log import DecisionLog
from sidecar.telemetry.decision_settings import decision_log
from sidecar.telemetry.decisions import Decisions
from sidecar.telemetry.exchanges import ExchangeReporter
from sidecar.telemetry.hygiene import TokenHygiene
from sidecar.telemetry.metrics import Direction, Metrics
from sidecar.telemetry.writer import DescriptorWriter
from sidecar.tls_endpoints import TlsEndpoints
from sidecar.wire.deadlines import Deadlines
from sidecar.wire.downstream import Downstream
from sidecar.wire.exchange import Handler
from sidecar.wire.fields import NameTable
from sidecar.wire.forward_proxy import OriginPools, ProxyConnection
from sidecar.wire.forwarding_fields import ForwardingHandler
from sidecar.wire.limits import WireLimits
from sidecar.wire.listener import Listener
from sidecar.wire.pool import Pool
from sidecar.wire.server_timing import ServerTimingHandler

_STANDARD_OUTPUT = 1
AttributeOver = Callable[[Ledger], Attribute]
"""Makes the resolver of outbound calls; replaced only to show what guessing would do."""


def resolve_from_ledger(_ledger: Ledger) -> Attribute:
    """The resolver there is: it looks at the evidence of a call and at what is alive."""
    return attribute


class Wiring:
    """One configuration, wired: what its listeners share, and the listeners."""

    def __init__(
        self,
        config: model.Config,
        *,
        attribute_over: AttributeOver = resolve_from_ledger,
        write_access_log: Callable[[bytes], object] | None = None,
        refuses_address: Callable[[str], str | None] = why_refused,
        wall_clock: Callable[[], float] = time.time,
        keys_clock: Callable[[], float] = time.time,
        keys_sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        issuer_lookup: Lookup | None = None,
    ) -> None:
        """*write_access_log* takes batches of lines; standard output where it is not given.

        *refuses_address* says why the proxy may not go to an address. *wall_clock* is what tokens
        are judged by, in seconds since the epoch; *keys_clock* and *keys_sleep* are the time by
        which keys age and are asked for; *issuer_lookup* finds the addresses of issuers, where it
        is not the system.

        Raises:
            TlsFileError: a file of TLS cannot be used.
            IdentityKeyError: the key that signs for the app cannot be used.
            DecisionLogError: the file of ``log.decisions`` cannot be opened.
        """
        self.config = config
        self.clock = time.monotonic
        self._wall_clock = wall_clock
        self._keys_clock = keys_clock
        self._keys_sleep = keys_sleep
        self.deadlines = Deadlines(self.clock)
        self.metrics = Metrics(version=__version__)
        output = write_access_log or DescriptorWriter(_STANDARD_OUTPUT)
        self.access_log = AccessLog(output, config.log.access)
        self.decision_log = decision_log(config, output)
        self.decisions = Decisions(
            refusals=config.explain.refusals,
            permits=config.explain.permits,
            wall_clock=wall_clock,
        )
        is_kept = config.explain.refusals or config.explain.permits
        self._kept = self.decisions if is_kept else None
        self.ledger = Ledger(config.attribution.ledger_capacity, clock=self.clock)
        self.fetcher = Fetcher(lookup=issuer_lookup)
        self.hygiene = TokenHygiene(self.clock, logging.getLogger("sidecar.tokens").warning)
        self.identity = AppIdentity(config.inbound.identity, config.token_cache)
        self.verifier = Verifier(
            (settings.issuer_policy(issuer) for issuer in config.issuers.values()),
            render=self.identity.render,
            max_token_bytes=config.inbound.max_token_bytes,
            cache_max_entries=config.token_cache.max_entries,
            cache_max_bytes=config.token_cache.max_bytes,
            unclean_token=self.hygiene.saw,
        )
        # Where nobody calls there is no token to judge: nothing is asked of an issuer.
        issuers = config.issuers if config.inbound.listen is not None else {}
        self.keys = {name: self._issuer_keys(issuer) for name, issuer in issuers.items()}
        self.introspection = {
            name: self._introspection(issuer, issuer.introspection)
            for name, issuer in issuers.items()
            if issuer.introspection is not None
        }
        self.carriers = Carriers(
            settings.carrier_expectation(config), logging.getLogger("sidecar.carriers").warning
        )
        self.tls = TlsEndpoints(self.metrics, self.clock)
        sources = settings.token_sources(config)
        classify = self.identity.classify
        self._classify = classify if sources is None else sources.classifier(classify)
        self._names = NameTable(self._classify)
        self._ids = HandleSource()
        self.pools: list[Pool] = []
        self._origins: OriginPools | None = None
        tls = config.inbound.tls if config.inbound.listen is not None else None
        self.inbound_tls = None if tls is None else self.tls.listener(tls)
        self.rules = settings.policy_rules(config)
        self.inbound = self._inbound_listener()
        handlers = self._outbound_handlers(attribute_over(self.ledger))
        self.outbound = {
            name: self._listener(
                _forwarding(handler, via=config.outbound.via, fields=None),
                handler.pool.limits,
                accepts=is_loopback,
            )
            for name, handler in handlers.items()
        }
        self.proxy = self._proxy_listener(handlers, refuses_address)
        self._watch()

    @property
    def leaving(self) -> Sequence[Listener]:
        """Every listener that the app uses to call others."""
        proxy = () if self.proxy is None else (self.proxy,)
        return (*self.outbound.values(), *proxy)

    def close_pools(self) -> None:
        """Close every connection to the app and to destinations, busy ones too."""
        for pool in self.pools:
            pool.close()
        if self._origins is not None:
            self._origins.close()

    def _watch(self) -> None:
        metrics = self.metrics
        metrics.watch_ledger(lambda: len(self.ledger), self.ledger.capacity)
        metrics.watch_tunnels(
            lambda: {
                "inbound": self.inbound.tunnels,
                "outbound": sum(each.tunnels for each in self.leaving),
            }
        )
        metrics.watch_carriers(self.carriers.by_label)
        metrics.watch_token_cache(lambda: self.verifier.hits, lambda: self.verifier.misses)
        metrics.watch_hygiene(self.hygiene.counts)
        metrics.watch_access_log(lambda: self.access_log.dropped)
        self.deadlines.every_sweep(lambda _now: self.access_log.flush())
        if (decisions := self.decision_log) is not None:
            metrics.watch_decision_log(lambda: decisions.dropped)
            self.deadlines.every_sweep(lambda _now: decisions.flush())
        self.deadlines.every_sweep(self.ledger.sweep)

    def _inbound_listener(self) -> Listener:
        inbound = self.config.inbound
        names = [rule.name for rule in inbound.rules]
        passes = inbound.cors is not None and inbound.cors.preflight == "pass"
        metrics = self.metrics.direction(
            "inbound", [*names, settings.PREFLIGHT] if passes else names
        )
        limits = settings.wire_limits(inbound.limits)
        pool = self._pool(inbound.app, limits, reuse_after_content=inbound.reuse_after_content)
        admission = self._admission()
        handler = self._inbound_handler(
            Policy(self.rules), pool, metrics, admission, self.decision_log
        )
        outer: Handler = handler
        if inbound.resource_metadata is not None:
            metadata = settings.resource_metadata(self.config, inbound.resource_metadata)
            outer = MetadataHandler(outer, handler, metadata)
        if inbound.cors is not None:
            anyone = Policy((settings.preflight_rule(self.config),))
            # No rule decided on them, so that there is nothing to decide again.
            preflights = (
                self._inbound_handler(anyone, pool, metrics, admission, None) if passes else None
            )
            outer = CorsHandler(outer, settings.cors(inbound.cors), handler, preflights)
        if inbound.server_timing:
            outer = ServerTimingHandler(outer, self.clock)
        fields = settings.forwarding_fields(inbound)
        return self._listener(
            _forwarding(outer, via=inbound.via, fields=fields),
            limits,
            accepts=lambda _peer: True,
            names=None if fields is None else NameTable(classifier(self._classify)),
        )

    def _inbound_handler(
        self,
        policy: Policy,
        pool: Pool,
        metrics: Direction,
        admission: ExclusiveAdmission | None,
        decisions: DecisionLog | None,
    ) -> InboundHandler:
        return InboundHandler(
            settings=settings.inbound_settings(self.config),
            policy=policy,
            verifier=self.verifier,
            keys=self.keys,
            introspection=self.introspection,
            ledger=self.ledger,
            pool=pool,
            metrics=metrics,
            reporter=ExchangeReporter(metrics, self.access_log, self._kept),
            ids=self._ids,
            wall_clock=self._wall_clock,
            random=os.urandom,
            admission=admission,
            signed=self.identity.signed,
            decisions=decisions,
        )

    def _admission(self) -> ExclusiveAdmission | None:
        attribution = self.config.attribution
        if attribution.exclusive == "off":
            return None
        admission = ExclusiveAdmission(
            attribution.exclusive,
            wait_seconds=attribution.exclusive_wait_seconds,
            quiet_seconds=attribution.exclusive_quiet_seconds,
            max_waiting=attribution.exclusive_queue,
            clock=self.clock,
            call_later=lambda delay, call: asyncio.get_running_loop().call_later(delay, call),
            close=self.ledger.close,
        )
        self.deadlines.every_sweep(admission.sweep)
        self.metrics.watch_admission(lambda: admission.waiting)
        return admission

    def _outbound_handlers(self, resolver: Attribute) -> dict[str, OutboundHandler]:
        destinations = self.config.outbound.destinations
        metrics = self.metrics.direction("outbound", destinations)
        reporter = ExchangeReporter(metrics, self.access_log, self._kept)
        handlers = {}
        for name, destination in destinations.items():
            limits = settings.wire_limits(destination.limits)
            handlers[name] = OutboundHandler(
                settings=settings.outbound_settings(destination, self.config),
                attribute=resolver,
                ledger=self.ledger,
                pool=self._destination_pool(destination, limits),
                metrics=self.metrics,
                carriers=self.carriers,
                route=metrics.route(name),
                reporter=reporter,
                ids=self._ids,
                authority=settings.authority(destination.upstream),
                clock=self.clock,
                wall_clock=self._wall_clock,
                decisions=self.decision_log,
            )
        return handlers

    def _proxy_listener(
        self,
        handlers: Mapping[str, OutboundHandler],
        refuses_address: Callable[[str], str | None],
    ) -> Listener | None:
        config = self.config.outbound
        if config.proxy is None:
            return None
        limits = settings.wire_limits(config.proxy_limits)
        direction = self.metrics.direction("outbound", (UNLISTED, CONNECT))
        by_name = {name: handler.by_name() for name, handler in handlers.items()}
        self._origins = OriginPools(
            limits=limits, names=self._names, deadlines=self.deadlines, clock=self.clock
        )
        handler = ProxyHandler(
            settings=settings.proxy_settings(self.config),
            listed={
                authority: by_name[name]
                for authority, name in settings.proxied_names(self.config).items()
            },
            ledger=self.ledger,
            addresses=Addresses(
                lookup=system_lookup,
                refuses=refuses_address,
                timeout_seconds=limits.connect_timeout_seconds,
                clock=self.clock,
            ),
            origins=self._origins,
            route=direction.route,
            reporter=ExchangeReporter(direction, self.access_log, self._kept),
            ids=self._ids,
            bypassed=Bypasses(
                self.metrics.connected_past, logging.getLogger("sidecar.outbound").warning
            ),
        )
        return self._listener(
            _forwarding(handler, via=config.via, fields=None),
            limits,
            accepts=is_loopback,
            connection=ProxyConnection,
        )

    def _listener(
        self,
        handler: Handler,
        limits: WireLimits,
        *,
        accepts: Callable[[str], bool],
        connection: type[Downstream] = Downstream,
        names: NameTable | None = None,
    ) -> Listener:
        return Listener(
            handler,
            limits=limits,
            names=self._names if names is None else names,
            deadlines=self.deadlines,
            clock=self.clock,
            wall_clock=time.time,
            accepts=accepts,
            connection=connection,
        )

    def _pool(
        self, origin: model.Origin, limits: WireLimits, *, reuse_after_content: bool = True
    ) -> Pool:
        pool = Pool(
            origin.host,
            origin.port,
            limits=limits,
            names=self._names,
            deadlines=self.deadlines,
            clock=self.clock,
            reuse_after_content=reuse_after_content,
        )
        self.pools.append(pool)
        return pool

    def _destination_pool(self, destination: model.Destination, limits: WireLimits) -> Pool:
        if destination.upstream.scheme == "http":
            return self._pool(destination.upstream, limits)
        pool = self.tls.pool(
            destination, limits=limits, names=self._names, deadlines=self.deadlines
        )
        self.pools.append(pool)
        return pool

    def _is_still_good(self, credential: Credential) -> bool:
        verdict = self.verifier.verify(credential.token, now=self._wall_clock())
        # A key that goes leaves open what an issuer said of a token of its own.
        return isinstance(verdict, Verified | IntrospectionNeeded)

    def _introspection(
        self, issuer: model.Issuer, asked: model.Introspection
    ) -> IntrospectionClient:
        def withdrawn(token: bytes) -> None:
            # Requests in progress included: what was good once is not sent on any more.
            for entry in tuple(self.ledger.find_token(token)):
                self.ledger.close(entry)

        return IntrospectionClient(
            issuer,
            asked,
            fetch=self.fetcher,
            judge=self.verifier.introspected,
            withdrawn=withdrawn,
            clock=self.clock,
            wall_clock=self._wall_clock,
            report=self.metrics.introspection(issuer.name),
        )

    def _issuer_keys(self, issuer: model.Issuer) -> IssuerKeys:
        def install(keys: KeySet) -> int:
            forgotten = self.verifier.install(issuer.name, keys, now=self._wall_clock())
            # A key that left the set speaks for nobody, requests in progress included.
            self.ledger.close_unless(
                lambda credential: (
                    credential.principal.issuer_name != issuer.name
                    or self._is_still_good(credential)
                )
            )
            return forgotten

        return IssuerKeys(
            issuer,
            fetch=self.fetcher,
            install=install,
            clock=self._keys_clock,
            jitter=random.random,
            report=self.metrics.issuer(issuer.name),
            sleep=self._keys_sleep,
        )


def _forwarding(handler: Handler, *, via: str | None, fields: ForwardingFields | None) -> Handler:
    """Return *handler*, behind one that adds such fields where there are any to add."""
    if via is None and fields is None:
        return handler
    return ForwardingHandler(handler, via=via, fields=fields)


def is_loopback(peer: str) -> bool:
    """Whether *peer* is an address of this pod's own loopback."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
