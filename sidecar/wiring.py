"""What serves requests, made from one configuration: trust, rules, connections, and the listeners.

What outlives a configuration is ``sidecar.standing``'s. Nothing is started here; that is
``sidecar.assembly``.
"""

import asyncio
import ipaddress
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from sidecar import bounding, settings
from sidecar.config import model
from sidecar.core.attribution import Attribute, attribute
from sidecar.core.forwarded import ForwardingFields, classifier
from sidecar.core.policy import Policy
from sidecar.credentials.ledger import Ledger
from sidecar.fetch.client import Lookup
from sidecar.inbound.cors import CorsHandler
from sidecar.inbound.handler import InboundHandler
from sidecar.inbound.resource_metadata import MetadataHandler
from sidecar.inbound.transaction import TransactionTokens
from sidecar.issuers.keys import IssuerKeys
from sidecar.obtaining import Obtaining
from sidecar.outbound.addresses import Addresses, system_lookup, why_refused
from sidecar.outbound.bounded import Bounds
from sidecar.outbound.handler import OutboundHandler
from sidecar.outbound.outside import RelayedOutside
from sidecar.outbound.proxy import CONNECT, UNLISTED, Bypasses, ProxyHandler
from sidecar.standing import Standing
from sidecar.telemetry.decision_log import DecisionLog
from sidecar.telemetry.decision_settings import decision_callers
from sidecar.telemetry.destinations import DestinationsView
from sidecar.telemetry.exchanges import ExchangeReporter
from sidecar.telemetry.metrics import Direction
from sidecar.tls_endpoints import TlsEndpoints
from sidecar.trust import Trust, trust
from sidecar.wire.downstream import Downstream
from sidecar.wire.exchange import Handler
from sidecar.wire.fields import NameTable
from sidecar.wire.forward_proxy import OriginPools, ProxyConnection
from sidecar.wire.forwarding_fields import ForwardingHandler
from sidecar.wire.limits import WireLimits
from sidecar.wire.listener import Listener
from sidecar.wire.pool import Pool
from sidecar.wire.server_timing import ServerTimingHandler
from sidecar.wire.tls import ListenerTls

if TYPE_CHECKING:
    from sidecar.token_endpoints import TokenEndpoints

INBOUND = "inbound"
PROXY = "proxy"
AttributeOver = Callable[[Ledger], Attribute]
"""Makes the resolver of outbound calls; replaced only to show what guessing would do."""


def outbound_name(destination: str) -> str:
    """Return the name of the listener for *destination*."""
    return f"outbound {destination}"


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
        before: "Wiring | None" = None,
    ) -> None:
        """Wire the first configuration of a process; ``after`` wires the next ones.

        *write_access_log* takes batches of lines; standard output where it is not given.
        *refuses_address* says why the proxy may not go to an address. *wall_clock* is what tokens
        are judged by, in seconds since the epoch; *keys_clock* and *keys_sleep* are the time by
        which keys age and are asked for; *issuer_lookup* finds the addresses of issuers, where it
        is not the system. With *before*, all of these are as they were.

        Raises:
            TlsFileError: a file of TLS cannot be used.
            IdentityKeyError: the key that signs for the app cannot be used.
            DecisionLogError: the file of ``log.decisions`` cannot be opened.
        """
        standing = (
            before.standing
            if before is not None
            else Standing(
                config,
                write_access_log=write_access_log,
                wall_clock=wall_clock,
                keys_clock=keys_clock,
                keys_sleep=keys_sleep,
                issuer_lookup=issuer_lookup,
            )
        )
        self.config = config
        self.standing: Standing = standing
        self._attribute_over = attribute_over
        self._refuses_address = refuses_address
        self.clock = standing.clock
        self.deadlines = standing.deadlines
        self.metrics = standing.metrics
        self.decisions = standing.decisions
        self.ledger = standing.ledger
        self.trust: Trust = trust(config, standing, None if before is None else before.trust)
        self.identity = self.trust.identity
        self.verifier = self.trust.verifier
        self.keys: Mapping[str, IssuerKeys] = self.trust.keys
        self.introspection = self.trust.introspection
        self.token_endpoints: TokenEndpoints | None = _token_endpoints(
            config, standing, None if before is None else before.token_endpoints
        )
        self.tls: TlsEndpoints = TlsEndpoints(
            self.metrics, self.clock, None if before is None else before.tls
        )
        sources = settings.token_sources(config)
        classify = self.identity.classify
        self._classify = classify if sources is None else sources.classifier(classify)
        self._names = NameTable(self._classify)
        self.pools: list[Pool] = []
        self._origins: OriginPools | None = None
        self._busy: dict[str, list[Pool]] = {} if before is None else before.busy_pools()
        """To each destination; earlier ones while something is under way on them."""
        self.bounds: Mapping[str, Bounds] = bounding.bounds(
            config,
            self.ledger,
            self.clock,
            None if before is None else (before.config, before.bounds),
        )
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
        if before is None:
            self.installed()

    def after(self, config: model.Config) -> "Wiring":
        """Return *config*, wired for this process, to be used instead of this one.

        Nothing changes for what is served until ``installed`` is called. Where issuers and what the
        app is told of callers are the same, so are keys and verified tokens; otherwise tokens are
        verified anew, and the keys of an issuer are kept if they are found in the same way.

        Raises:
            TlsFileError, IdentityKeyError: as when a process starts.
        """
        return Wiring(
            config,
            attribute_over=self._attribute_over,
            refuses_address=self._refuses_address,
            before=self,
        )

    def installed(self) -> None:
        """This is what serves from now on: counts and logs follow it."""
        self.trust.installed()
        kept = self.config.obtained_tokens
        self.standing.obtained.bound(max_entries=kept.max_entries, max_bytes=kept.max_bytes)
        self.standing.sharing.use(self.config.shared_tokens)
        if (decisions := self.standing.decision_log) is not None:
            decisions.describe_by(decision_callers(self.config))
        self._watch()

    @property
    def leaving(self) -> Sequence[Listener]:
        """Every listener that the app uses to call others."""
        proxy = () if self.proxy is None else (self.proxy,)
        return (*self.outbound.values(), *proxy)

    def listeners(self) -> Mapping[str, tuple[Listener, model.Address]]:
        """Return every listener for HTTP by its name, with the address that it is to have.

        Inbound comes last: whoever gets in can then also get out.
        """
        outbound = self.config.outbound
        found = {
            outbound_name(name): (self.outbound[name], destination.listen)
            for name, destination in outbound.destinations.items()
        }
        if self.proxy is not None and outbound.proxy is not None:
            found[PROXY] = self.proxy, outbound.proxy
        if self.config.inbound.listen is not None:
            found[INBOUND] = self.inbound, self.config.inbound.listen
        return found

    def use(self, name: str, listener: Listener) -> None:
        """Have *listener*, which serves what the one of this *name* would, instead of that."""
        if name == INBOUND:
            self.inbound = listener
        elif name == PROXY:
            self.proxy = listener
        else:
            self.outbound[name.partition(" ")[2]] = listener

    def close_idle(self) -> None:
        """Close the connections to the app and to destinations on which nothing happens."""
        for pool in self.pools:
            pool.close_idle()

    def close_pools(self) -> None:
        """Close every connection to the app and to destinations, busy ones too."""
        for pool in self.pools:
            pool.close()
        if self._origins is not None:
            self._origins.close()

    def busy_pools(self) -> dict[str, list[Pool]]:
        """Return the connections to each destination, but those on which nothing is under way."""
        return {
            name: [pool for pool in pools if pool.connections > pool.idle_connections]
            for name, pools in self._busy.items()
        }

    def calls_in_flight(self) -> Mapping[str, int]:
        """Return the number of connections in use, by destination."""
        return {
            name: sum(pool.connections - pool.idle_connections for pool in self._busy[name])
            for name in self.config.outbound.destinations
        }

    def circuits(self) -> Mapping[str, str]:
        """Return the state of each destination's circuit, where it has one."""
        return {
            name: each.guard.circuit.state
            for name, each in self.bounds.items()
            if each.guard is not None and each.guard.circuit is not None
        }

    def _watch(self) -> None:
        metrics = self.metrics
        metrics.watch_tunnels(
            lambda: {
                "inbound": self.inbound.tunnels,
                "outbound": sum(each.tunnels for each in self.leaving),
            }
        )
        metrics.watch_destinations(
            DestinationsView(in_flight=self.calls_in_flight, circuits=self.circuits)
        )
        metrics.watch_only(
            issuers=self.config.issuers, tls=self.tls.names, clients=self.config.clients
        )

    def _inbound_listener(self) -> Listener:
        inbound = self.config.inbound
        names = [rule.name for rule in inbound.rules]
        passes = inbound.cors is not None and inbound.cors.preflight == "pass"
        metrics = self.metrics.direction(
            "inbound", [*names, settings.PREFLIGHT] if passes else names
        )
        limits = settings.wire_limits(inbound.limits)
        is_off = inbound.listen is None
        tls = None if inbound.tls is None or is_off else self.tls.listener(inbound.tls)
        pool = self._pool(inbound.app, limits, reuse_after_content=inbound.reuse_after_content)
        pool.connect_retried = partial(self.metrics.connect_retried, "inbound:app")
        handler = self._inbound_handler(
            Policy(self.rules), pool, metrics, self.standing.decision_log
        )
        outer: Handler = handler
        if inbound.resource_metadata is not None:
            metadata = settings.resource_metadata(self.config, inbound.resource_metadata)
            outer = MetadataHandler(outer, handler, metadata)
        if inbound.cors is not None:
            anyone = Policy((settings.preflight_rule(self.config),))
            # No rule decided on them, so that there is nothing to decide again.
            preflights = self._inbound_handler(anyone, pool, metrics, None) if passes else None
            outer = CorsHandler(outer, settings.cors(inbound.cors), handler, preflights)
        if inbound.server_timing:
            outer = ServerTimingHandler(outer, self.clock)
        fields = settings.forwarding_fields(inbound)
        return self._listener(
            _forwarding(outer, via=inbound.via, fields=fields),
            limits,
            accepts=is_anybody,
            tls=tls,
            names=None if fields is None else NameTable(classifier(self._classify)),
        )

    def _inbound_handler(
        self,
        policy: Policy,
        pool: Pool,
        metrics: Direction,
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
            reporter=ExchangeReporter(metrics, self.standing.access_log, self.standing.kept),
            ids=self.standing.ids,
            wall_clock=self.standing.wall_clock,
            random=os.urandom,
            admission=self.standing.admission,
            signed=self.identity.signed,
            decisions=decisions,
            transactions=self._transactions(),
            deadline=bounding.caller_deadline(
                self.config, self.clock, self.metrics.caller_deadline
            ),
        )

    def _transactions(self) -> TransactionTokens | None:
        verifier, tokens = self.trust.transactions, self.config.inbound.transaction_tokens
        if verifier is None or tokens is None:
            return None
        return TransactionTokens(
            verifier, required=tokens.require, same_subject=tokens.subject == "same"
        )

    def _outbound_handlers(self, resolver: Attribute) -> dict[str, OutboundHandler]:
        destinations = self.config.outbound.destinations
        metrics = self.metrics.direction("outbound", destinations)
        reporter = ExchangeReporter(metrics, self.standing.access_log, self.standing.kept)
        outside = RelayedOutside(
            self.metrics.relayed_outside, logging.getLogger("sidecar.outbound").warning
        )
        obtaining = Obtaining(self.config, self.standing, self.token_endpoints or {})
        handlers = {}
        for name, destination in destinations.items():
            limits = settings.wire_limits(destination.limits)
            handlers[name] = OutboundHandler(
                settings=settings.outbound_settings(destination, self.config),
                tokens=obtaining.choices(destination),
                attribute=resolver,
                ledger=self.ledger,
                pool=self._destination_pool(destination, limits),
                metrics=self.metrics,
                carriers=self.standing.carriers,
                route=metrics.route(name),
                reporter=reporter,
                ids=self.standing.ids,
                authority=settings.authority(destination.upstream),
                clock=self.clock,
                wall_clock=self.standing.wall_clock,
                decisions=self.standing.decision_log,
                outside=outside,
                bounds=self.bounds.get(name),
                transactions=obtaining.transactions(destination),
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
            reporter=ExchangeReporter(direction, self.standing.access_log, self.standing.kept),
            ids=self.standing.ids,
            bypassed=Bypasses(
                self.metrics.connected_past, logging.getLogger("sidecar.outbound").warning
            ),
            clock=self.clock,
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
        tls: ListenerTls | None = None,
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
            tls=tls,
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
        pool: Pool
        if destination.upstream.scheme == "http":
            pool = self._pool(destination.upstream, limits)
        else:
            pool = self.tls.pool(
                destination, limits=limits, names=self._names, deadlines=self.deadlines
            )
            self.pools.append(pool)
        pool.connect_retried = partial(self.metrics.connect_retried, destination.name)
        self._busy.setdefault(destination.name, []).append(pool)
        return pool


def _token_endpoints(
    config: model.Config, standing: Standing, before: "TokenEndpoints | None"
) -> "TokenEndpoints | None":
    """Return who is asked for tokens; nothing where nobody ever was."""
    if before is None and not config.clients:
        return None  # most pods need none of it, and it takes a while to import
    from sidecar.token_endpoints import TokenEndpoints

    return TokenEndpoints(config, standing, before)


def _forwarding(handler: Handler, *, via: str | None, fields: ForwardingFields | None) -> Handler:
    """Return *handler*, behind one that adds such fields where there are any to add."""
    if via is None and fields is None:
        return handler
    return ForwardingHandler(handler, via=via, fields=fields)


def is_anybody(_peer: str) -> bool:
    """Everybody who can reach a listener that is for callers may use it."""
    return True


def is_loopback(peer: str) -> bool:
    """Whether *peer* is an address of this pod's own loopback."""
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
