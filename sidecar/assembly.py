"""The composition root: a configuration becomes listeners that are wired, started and drained.

Everything that exists once is made here, and so are the clocks and the randomness that the rest
takes as arguments.
"""

import asyncio
import gc
import ipaddress
import logging
import os
import random
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

import uvloop

from sidecar import __version__, settings
from sidecar.admin.control import ControlServer
from sidecar.admin.control_socket import ControlSocketError
from sidecar.admin.server import AdminServer
from sidecar.admin.status_source import StatusSource
from sidecar.config import model
from sidecar.core.attribution import (
    Attribute,
    attribute,
)
from sidecar.core.forwarded import ForwardingFields, classifier
from sidecar.core.headers import classify, identity_lines
from sidecar.core.keyset import KeySet
from sidecar.core.policy import Policy
from sidecar.core.principal import Credential
from sidecar.core.verification import Verified, Verifier
from sidecar.credentials.admission import ExclusiveAdmission
from sidecar.credentials.ledger import HandleSource, Ledger
from sidecar.fetch.client import Fetcher
from sidecar.inbound.exchange import InboundHandler
from sidecar.issuers.keys import IssuerKeys
from sidecar.outbound.addresses import Addresses, system_lookup, why_refused
from sidecar.outbound.exchange import OutboundHandler
from sidecar.outbound.proxy import CONNECT, UNLISTED, Bypasses, ProxyHandler
from sidecar.telemetry.access_log import AccessLog
from sidecar.telemetry.carriers import Carriers
from sidecar.telemetry.exchanges import ExchangeReporter
from sidecar.telemetry.log import operator_log
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.writer import DescriptorWriter
from sidecar.tls.files import TlsFileError
from sidecar.tls_endpoints import TlsEndpoints
from sidecar.wire.deadlines import Deadlines
from sidecar.wire.downstream import Downstream
from sidecar.wire.exchange import Handler
from sidecar.wire.fields import NameTable
from sidecar.wire.forward_proxy import OriginPools, ProxyConnection
from sidecar.wire.forwarding_fields import ForwardingHandler
from sidecar.wire.limits import WireLimits
from sidecar.wire.listener import Listener
from sidecar.wire.upstream import Pool

_STANDARD_OUTPUT = 1
AttributeOver = Callable[[Ledger], Attribute]
"""Makes the resolver of outbound calls; replaced only to show what guessing would do."""


class StartError(Exception):
    """The sidecar cannot start; the message is one line that says what to change."""


def run(config: model.Config) -> None:
    """Serve until SIGTERM or SIGINT. Raises ``StartError``."""
    uvloop.run(serve(config, announce=_say))


def _say(line: str) -> None:
    with suppress(OSError):  # whoever read our announcements may have gone; the app has not
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


async def serve(
    config: model.Config,
    *,
    announce: Callable[[str], None],
    attribute_over: AttributeOver = lambda _ledger: attribute,
) -> None:
    """Start everything, announce each listener, and run until a signal, then drain.

    Raises:
        StartError: a listener cannot be bound, or a file of TLS cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with operator_log(config.log.level):
        try:
            sidecar = Sidecar(config, attribute_over=attribute_over)
        except TlsFileError as error:
            raise StartError(str(error)) from error
        async with sidecar.running(announce):
            # What exists now stays until the end: the collector need not look at it again.
            gc.freeze()
            announce("sidecar: started" if sidecar.missing() else "sidecar: ready")
            await stop.wait()
            announce("sidecar: draining")
        announce("sidecar: stopped")


@dataclass(frozen=True, slots=True)
class Bound:
    """The addresses in use, where the configuration may have said port 0."""

    inbound: model.Address
    admin: model.Address
    outbound: Mapping[str, model.Address]
    proxy: model.Address | None = None


class Sidecar:
    """One configuration, wired."""

    def __init__(
        self,
        config: model.Config,
        *,
        attribute_over: AttributeOver = lambda _ledger: attribute,
        write_access_log: Callable[[bytes], object] | None = None,
        refuses_address: Callable[[str], str | None] = why_refused,
    ) -> None:
        """*write_access_log* takes batches of lines; standard output where it is not given.

        *refuses_address* says why the proxy may not go to an address.
        """
        self._config = config
        self._clock = time.monotonic
        self._deadlines = Deadlines(self._clock)
        self._names = NameTable(classify)
        self._ids = HandleSource()
        self._metrics = Metrics(version=__version__)
        self._access_log = AccessLog(
            write_access_log or DescriptorWriter(_STANDARD_OUTPUT), config.log.access
        )
        self._ledger = Ledger(config.attribution.ledger_capacity, clock=self._clock)
        self._fetcher = Fetcher()
        self._verifier = Verifier(
            (settings.issuer_policy(issuer) for issuer in config.issuers.values()),
            render=identity_lines,
            max_token_bytes=config.inbound.max_token_bytes,
            cache_max_entries=config.token_cache.max_entries,
            cache_max_bytes=config.token_cache.max_bytes,
        )
        self._keys = {name: self._issuer_keys(issuer) for name, issuer in config.issuers.items()}
        self._carriers = Carriers(
            settings.carrier_expectation(config), logging.getLogger("sidecar.carriers").warning
        )
        self._draining = False
        self._is_bound = False
        self._listening: dict[str, model.Address] = {}
        self._pools: list[Pool] = []
        self._tls = TlsEndpoints(self._metrics, self._clock)
        tls = config.inbound.tls
        self._inbound_tls = None if tls is None else self._tls.listener(tls)
        self._inbound = self._inbound_listener()
        handlers = self._outbound_handlers(attribute_over(self._ledger))
        self._outbound = {
            name: self._listener(
                _forwarding(handler, via=config.outbound.via, fields=None),
                handler.pool.limits,
                accepts=is_loopback,
            )
            for name, handler in handlers.items()
        }
        self._origins: OriginPools | None = None
        self._proxy = self._proxy_listener(handlers, refuses_address)
        self._admin = AdminServer(self._metrics, self.missing, live=lambda: True)
        self._control = self._control_server()
        self._watch()

    def _watch(self) -> None:
        metrics = self._metrics
        metrics.watch_ledger(lambda: len(self._ledger), self._ledger.capacity)
        metrics.watch_tunnels(
            lambda: {
                "inbound": self._inbound.tunnels,
                "outbound": sum(each.tunnels for each in self._leaving()),
            }
        )
        metrics.watch_carriers(self._carriers.by_label)
        metrics.watch_token_cache(lambda: self._verifier.hits, lambda: self._verifier.misses)
        metrics.watch_access_log(lambda: self._access_log.dropped)
        self._deadlines.every_sweep(lambda _now: self._access_log.flush())
        self._deadlines.every_sweep(self._ledger.sweep)

    def missing(self) -> Sequence[str]:
        """What stands between us and readiness, one line each; nothing means ready."""
        if self._draining:
            return ["draining"]
        if not self._is_bound:
            return ["listeners: not bound yet"]
        return [
            f"issuer {name}: keys not loaded ({keys.last_error or 'still loading'})"
            for name, keys in self._keys.items()
            if not keys.loaded
        ]

    @asynccontextmanager
    async def running(self, announce: Callable[[str], None]) -> AsyncIterator[Bound]:
        """Everything is started on entry and drained on exit.

        A background task that ends in an unexpected error ends the process with it: a sidecar
        whose keys silently stopped being refreshed is worse than one that is restarted.
        """
        try:
            bound = await self._bind(announce)
            self._deadlines.start(asyncio.get_running_loop())
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(keys.run()) for keys in self._keys.values()]
                if (rotation := self._tls.rotation) is not None:
                    background.append(group.create_task(rotation.run()))
                await self._first_keys()
                yield bound
                await self.drain()
                for task in background:
                    task.cancel()
        finally:
            await self._admin.stop()
            if self._control is not None:
                await self._control.stop()
            await self._fetcher.close()
            self._deadlines.stop()
            self._access_log.close()

    async def _first_keys(self) -> None:
        """Give the keys a moment, so that the usual start says ``ready``; never wait for them."""
        with suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await asyncio.gather(*(keys.obtain() for keys in self._keys.values()))

    async def _bind(self, announce: Callable[[str], None]) -> Bound:
        config = self._config
        if self._control is not None:
            # First, because whoever starts the same sidecar twice is told so, not of some port.
            try:
                await self._control.start()
            except ControlSocketError as error:
                raise StartError(str(error)) from error
            announce(f"sidecar: listening control unix:{config.admin.control}")
        admin = await _bound("admin", config.admin.listen, self._admin.start)
        announce(f"sidecar: listening admin {admin}")
        outbound = self._listening
        for name, destination in config.outbound.destinations.items():
            listener = self._outbound[name]
            outbound[name] = await _bound(f"outbound {name}", destination.listen, listener.start)
            announce(
                f"sidecar: listening outbound {name} {outbound[name]} -> {destination.upstream}"
            )
        proxy = None
        if self._proxy is not None and config.outbound.proxy is not None:
            proxy = await _bound("proxy", config.outbound.proxy, self._proxy.start)
            announce(f"sidecar: listening proxy {proxy}")
        start = partial(self._inbound.start, tls=self._inbound_tls)
        inbound = await _bound("inbound", config.inbound.listen, start)
        announce(f"sidecar: listening inbound {inbound} -> {config.inbound.app}")
        self._is_bound = True
        return Bound(inbound, admin, outbound, proxy)

    async def drain(self) -> None:
        """Inbound stops accepting and finishes; outbound stays for it until then. Bounded."""
        self._draining = True
        ends_at = self._clock() + self._config.drain_timeout_seconds
        await self._inbound.drain(self._config.drain_timeout_seconds)
        left = max(0.0, ends_at - self._clock())
        await asyncio.gather(*(each.drain(left) for each in self._leaving()))
        for pool in self._pools:
            pool.close()
        if self._origins is not None:
            self._origins.close()

    def _leaving(self) -> Sequence[Listener]:
        """Return every listener that the app uses to call others."""
        proxy = () if self._proxy is None else (self._proxy,)
        return (*self._outbound.values(), *proxy)

    def _control_server(self) -> ControlServer | None:
        path = self._config.admin.control
        if path is None:
            return None
        status = StatusSource(
            self._config,
            version=__version__,
            missing=self.missing,
            draining=lambda: self._draining,
            listening=self._listening,
            keys=self._keys,
            ledger=self._ledger,
            verifier=self._verifier,
            carriers=self._carriers,
            outbound=self._metrics.direction("outbound", ()),
            clock=self._clock,
            wall_clock=time.time,
        )
        return ControlServer(path, status)

    def _inbound_listener(self) -> Listener:
        inbound = self._config.inbound
        metrics = self._metrics.direction("inbound", [rule.name for rule in inbound.rules])
        limits = settings.wire_limits(inbound.limits)
        handler = InboundHandler(
            settings=settings.inbound_settings(self._config),
            policy=Policy(
                settings.policy_rule(rule, inbound.mode, self._config.attribution)
                for rule in inbound.rules
            ),
            verifier=self._verifier,
            keys=self._keys,
            ledger=self._ledger,
            pool=self._pool(inbound.app, limits, reuse_after_content=inbound.reuse_after_content),
            metrics=metrics,
            reporter=ExchangeReporter(metrics, self._access_log),
            ids=self._ids,
            wall_clock=time.time,
            random=os.urandom,
            admission=self._admission(),
        )
        fields = settings.forwarding_fields(inbound)
        return self._listener(
            _forwarding(handler, via=inbound.via, fields=fields),
            limits,
            accepts=lambda _peer: True,
            names=None if fields is None else NameTable(classifier(classify)),
        )

    def _admission(self) -> ExclusiveAdmission | None:
        attribution = self._config.attribution
        if attribution.exclusive == "off":
            return None
        admission = ExclusiveAdmission(
            attribution.exclusive,
            wait_seconds=attribution.exclusive_wait_seconds,
            quiet_seconds=attribution.exclusive_quiet_seconds,
            max_waiting=attribution.exclusive_queue,
            clock=self._clock,
            call_later=lambda delay, call: asyncio.get_running_loop().call_later(delay, call),
            close=self._ledger.close,
        )
        self._deadlines.every_sweep(admission.sweep)
        self._metrics.watch_admission(lambda: admission.waiting)
        return admission

    def _outbound_handlers(self, resolver: Attribute) -> dict[str, OutboundHandler]:
        destinations = self._config.outbound.destinations
        metrics = self._metrics.direction("outbound", destinations)
        reporter = ExchangeReporter(metrics, self._access_log)
        handlers = {}
        for name, destination in destinations.items():
            limits = settings.wire_limits(destination.limits)
            handlers[name] = OutboundHandler(
                settings=settings.outbound_settings(destination, self._config),
                attribute=resolver,
                ledger=self._ledger,
                pool=self._destination_pool(destination, limits),
                metrics=self._metrics,
                carriers=self._carriers,
                route=metrics.route(name),
                reporter=reporter,
                ids=self._ids,
                authority=settings.authority(destination.upstream),
                clock=self._clock,
                wall_clock=time.time,
            )
        return handlers

    def _proxy_listener(
        self,
        handlers: Mapping[str, OutboundHandler],
        refuses_address: Callable[[str], str | None],
    ) -> Listener | None:
        config = self._config.outbound
        if config.proxy is None:
            return None
        limits = settings.wire_limits(config.proxy_limits)
        direction = self._metrics.direction("outbound", (UNLISTED, CONNECT))
        by_name = {name: handler.by_name() for name, handler in handlers.items()}
        self._origins = OriginPools(
            limits=limits, names=self._names, deadlines=self._deadlines, clock=self._clock
        )
        handler = ProxyHandler(
            settings=settings.proxy_settings(self._config),
            listed={
                authority: by_name[name]
                for authority, name in settings.proxied_names(self._config).items()
            },
            ledger=self._ledger,
            addresses=Addresses(
                lookup=system_lookup,
                refuses=refuses_address,
                timeout_seconds=limits.connect_timeout_seconds,
                clock=self._clock,
            ),
            origins=self._origins,
            route=direction.route,
            reporter=ExchangeReporter(direction, self._access_log),
            ids=self._ids,
            bypassed=Bypasses(
                self._metrics.connected_past, logging.getLogger("sidecar.outbound").warning
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
            deadlines=self._deadlines,
            clock=self._clock,
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
            deadlines=self._deadlines,
            clock=self._clock,
            reuse_after_content=reuse_after_content,
        )
        self._pools.append(pool)
        return pool

    def _destination_pool(self, destination: model.Destination, limits: WireLimits) -> Pool:
        if destination.upstream.scheme == "http":
            return self._pool(destination.upstream, limits)
        pool = self._tls.pool(
            destination, limits=limits, names=self._names, deadlines=self._deadlines
        )
        self._pools.append(pool)
        return pool

    def _is_still_good(self, credential: Credential) -> bool:
        verdict = self._verifier.verify(credential.token, now=time.time())
        return isinstance(verdict, Verified)

    def _issuer_keys(self, issuer: model.Issuer) -> IssuerKeys:
        def install(keys: KeySet) -> None:
            self._verifier.install(issuer.name, keys)
            # A key that left the set speaks for nobody, requests in progress included.
            self._ledger.close_unless(
                lambda credential: (
                    credential.principal.issuer_name != issuer.name
                    or self._is_still_good(credential)
                )
            )

        return IssuerKeys(
            issuer,
            fetch=self._fetcher,
            install=install,
            clock=time.time,
            jitter=random.random,
            report=self._metrics.issuer(issuer.name),
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


async def _bound(
    what: str, address: model.Address, start: Callable[[str, int], Awaitable[tuple[str, int]]]
) -> model.Address:
    try:
        host, port = await start(address.host, address.port)
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else str(error)
        raise StartError(f"the {what} listener cannot use {address}: {cause}") from error
    return model.Address(host, port)
