"""One sidecar from start to end: listeners bound, background work, readiness, drain."""

import asyncio
import gc
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Final

import uvloop

from sidecar import __version__, settings
from sidecar.admin import page
from sidecar.admin.app_fence import AppFence, app_beside_us, pod_addresses
from sidecar.admin.app_presence import AppPresence
from sidecar.admin.control import ControlServer
from sidecar.admin.control_socket import ControlSocketError
from sidecar.admin.decisions import decision_routes
from sidecar.admin.drain_status import DrainStatus
from sidecar.admin.draining import drain_routes
from sidecar.admin.history import History
from sidecar.admin.live import LiveSource
from sidecar.admin.server import AdminServer
from sidecar.admin.serving import Route
from sidecar.admin.status_source import StatusSource
from sidecar.config import endpoints, model
from sidecar.credentials.app_identity import IdentityKeyError
from sidecar.telemetry.decision_settings import DecisionLogError
from sidecar.telemetry.log import operator_log
from sidecar.tls.files import TlsFileError
from sidecar.wiring import AttributeOver, Wiring, resolve_from_ledger

if TYPE_CHECKING:
    from sidecar.explain.explainer import Explainer


IDLE_GRACE_SECONDS: Final = 5.0
"""Asked to drain, we close callers' idle connections after so long."""
POD_NAME: Final = "SIDECAR_POD_NAME"
"""Environment variable, of the Downward API: who is told to end then ends with the whole pod."""


class StartError(Exception):
    """The sidecar cannot start; the message is one line that says what to change."""


def run(config: model.Config, *, files: Sequence[str] = (), warnings: Sequence[str] = ()) -> None:
    """Serve until SIGTERM or SIGINT. Raises ``StartError``.

    *files* are where *config* was read, *warnings* what was said of it: the status tells both.
    """
    uvloop.run(serve(config, announce=_say, files=files, warnings=warnings))


def _say(line: str) -> None:
    with suppress(OSError):  # whoever read our announcements may have gone; the app has not
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


async def serve(
    config: model.Config,
    *,
    announce: Callable[[str], None],
    attribute_over: AttributeOver = resolve_from_ledger,
    files: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> None:
    """Start everything, announce each listener, and run until a signal, then drain.

    Raises:
        StartError: a listener cannot be bound, or a file of TLS or a log cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with operator_log(config.log.level):
        try:
            wiring = Wiring(config, attribute_over=attribute_over)
            sidecar = Sidecar(
                wiring,
                files=files,
                warnings=warnings,
                addresses=pod_addresses(os.environ),
                app_ends_too=POD_NAME in os.environ,
            )
        except (TlsFileError, IdentityKeyError, DecisionLogError) as error:
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

    inbound_or_off: model.Address | None
    admin: model.Address
    outbound: Mapping[str, model.Address]
    proxy: model.Address | None = None

    @property
    def inbound(self) -> model.Address:
        """Where callers connect. Raises ``LookupError`` where nobody can."""
        if self.inbound_or_off is None:
            raise LookupError("inbound.listen is off")
        return self.inbound_or_off


class Sidecar:
    """What was wired, running."""

    def __init__(
        self,
        wiring: Wiring,
        *,
        files: Sequence[str] = (),
        warnings: Sequence[str] = (),
        addresses: Sequence[str] | None = None,
        app_ends_too: bool = False,
    ) -> None:
        """*files* are where the configuration was read, *warnings* what was said of it.

        *addresses* are the pod's own, on which the app should not answer; ``None``: it is not
        looked for there. *app_ends_too*: a signal to end was for the app as well.
        """
        self._wiring = wiring
        self._files = files
        self._warnings = warnings
        self._draining_since: float | None = None
        self._app_ends_too = app_ends_too
        self._has_started = False
        self._taken: Sequence[model.Address] = ()
        """Where we listen."""
        self._is_bound = False
        self._listening: dict[str, model.Address] = {}
        app = app_beside_us(wiring.config.inbound)
        self._presence = AppPresence(app, self._calling, clock=wiring.clock)
        self._fence = None if app is None or addresses is None else self._fenced(app, addresses)
        self._admin = AdminServer(
            wiring.metrics,
            self.missing,
            live=lambda: True,
            startup=self.not_started,
            jwks=wiring.identity.jwks,
            app_probes=self._app_probes(),
        )
        self._control = self._control_server()

    def missing(self) -> Sequence[str]:
        """What stands between us and readiness, one line each; nothing means ready."""
        if self._draining_since is not None:
            return ["draining"]
        missing = self._not_loaded()
        if self._is_bound and self._fence and self._wiring.config.inbound.require_fenced:
            missing += filter(None, [self._fence.missing()])
        return missing

    def not_started(self) -> Sequence[str]:
        """What stands between us and having started. Nothing, from then on and whatever comes."""
        if not self._has_started:
            missing = self._not_loaded()
            self._has_started = not missing
            return missing
        return ()

    def _not_loaded(self) -> list[str]:
        if not self._is_bound:
            return ["listeners: not bound yet"]
        return [
            f"issuer {name}: keys not loaded ({keys.last_error or 'still loading'})"
            for name, keys in self._wiring.keys.items()
            if not keys.loaded and self._wiring.config.issuers[name].startup == "wait"
        ]

    @asynccontextmanager
    async def running(self, announce: Callable[[str], None]) -> AsyncIterator[Bound]:
        """Everything is started on entry and drained on exit.

        A background task that ends in an unexpected error ends the process with it: a sidecar
        whose keys silently stopped being refreshed is worse than one that is restarted.
        """
        try:
            bound = await self._bind(announce)
            self._wiring.deadlines.start(asyncio.get_running_loop())
            for keys in self._wiring.keys.values():
                keys.recall()
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(keys.run()) for keys in self._wiring.keys.values()]
                if (rotation := self._wiring.tls.rotation) is not None:
                    background.append(group.create_task(rotation.run()))
                if self._fence is not None:
                    background.append(group.create_task(self._fence.run()))
                await self._first_keys()
                self.not_started()  # which may be all that anybody asks before a key is lost
                yield bound
                await self.drain()
                for task in background:
                    task.cancel()
        finally:
            await self._admin.stop()
            if self._control is not None:
                await self._control.stop()
            for introspection in self._wiring.introspection.values():
                await introspection.close()
            await self._wiring.fetcher.close()
            self._wiring.deadlines.stop()
            self._wiring.access_log.close()
            if self._wiring.decision_log is not None:
                self._wiring.decision_log.close()

    async def _first_keys(self) -> None:
        """Give the keys a moment, so that the usual start says ``ready``; never wait for them."""
        with suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await asyncio.gather(
                    *(each.obtain() for each in self._wiring.keys.values() if not each.loaded)
                )

    async def _bind(self, announce: Callable[[str], None]) -> Bound:
        config = self._wiring.config
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
            listener = self._wiring.outbound[name]
            outbound[name] = await _bound(f"outbound {name}", destination.listen, listener.start)
            announce(
                f"sidecar: listening outbound {name} {outbound[name]} -> {destination.upstream}"
            )
        proxy = None
        if self._wiring.proxy is not None and config.outbound.proxy is not None:
            proxy = await _bound("proxy", config.outbound.proxy, self._wiring.proxy.start)
            announce(f"sidecar: listening proxy {proxy}")
        inbound = None
        if config.inbound.listen is not None:
            start = partial(self._wiring.inbound.start, tls=self._wiring.inbound_tls)
            inbound = await _bound("inbound", config.inbound.listen, start)
            announce(f"sidecar: listening inbound {inbound} -> {config.inbound.app}")
        self._taken = [*filter(None, (inbound, admin, proxy)), *outbound.values()]
        self._is_bound = True
        return Bound(inbound, admin, outbound, proxy)

    def begin_drain(self) -> None:
        """Be ready no more, and tell callers to go elsewhere, but go on serving whoever comes.

        For the time between the decision to end a pod, which reaches callers late, and SIGTERM.
        """
        if self._draining_since is None:
            self._draining_since = self._wiring.clock()
            self._wiring.inbound.wind_down(IDLE_GRACE_SECONDS)

    async def drain(self) -> None:
        """Inbound stops accepting and finishes; outbound stays for it until then. Bounded.

        Where the app ends too, outbound stays until it has: what an app does last, it may do for
        nobody. As a native sidecar we are told after the app has ended, otherwise together.
        """
        if self._draining_since is None:
            self._draining_since = self._wiring.clock()
        timeout_seconds = self._wiring.config.drain_timeout_seconds
        ends_at = self._wiring.clock() + timeout_seconds
        await self._wiring.inbound.drain(timeout_seconds)
        left = max(0.0, ends_at - self._wiring.clock())
        if self._app_ends_too:
            await self._presence.wait_until_gone(left)
            left = max(0.0, ends_at - self._wiring.clock())
        await asyncio.gather(*(each.drain(left) for each in self._wiring.leaving))
        self._wiring.close_pools()

    def _control_server(self) -> ControlServer | None:
        path = self._wiring.config.admin.control
        if path is None:
            return None
        status = StatusSource(
            self._wiring.config,
            version=__version__,
            missing=self.missing,
            draining=self._draining_seconds,
            stopping=lambda: self._wiring.inbound.stopped,
            listening=self._listening,
            keys=self._wiring.keys,
            ledger=self._wiring.ledger,
            verifier=self._wiring.verifier,
            carriers=self._wiring.carriers,
            outbound=self._wiring.metrics.direction("outbound", ()),
            clock=self._wiring.clock,
            wall_clock=time.time,
            circuits=lambda: {
                name: self._wiring.metrics.introspection(name).circuit
                for name in self._wiring.introspection
            },
            unclean=lambda: dict(self._wiring.hygiene.counts()),
            lost_lines=lambda: self._wiring.access_log.dropped,
            decisions=self._wiring.decisions,
            fence=self._fence,
            files=self._files,
            config_warnings=self._warnings,
        )
        routes = {
            **decision_routes(cache(self._explainer)),
            **drain_routes(self.begin_drain, self._drain_status),
            **page.routes(),
            **self._live(status).routes(),
        }
        return ControlServer(path, status, more=routes)

    def _draining_seconds(self) -> float | None:
        since = self._draining_since
        return None if since is None else self._wiring.clock() - since

    async def _drain_status(self) -> DrainStatus:
        return DrainStatus(
            draining_seconds=self._draining_seconds(),
            timeout_seconds=self._wiring.config.drain_timeout_seconds,
            requests=max(0, self._wiring.metrics.direction("inbound", ()).in_flight),
            app_gone=await self._presence.is_gone(),
        )

    def _calling(self) -> int:
        return sum(listener.connections for listener in self._wiring.leaving)

    def _fenced(self, app: model.Address, addresses: Sequence[str]) -> AppFence:
        log = logging.getLogger("sidecar.app")
        fence = AppFence(app, addresses, is_ours=self._is_ours, warn=log.warning, tell=log.info)
        self._wiring.metrics.watch_app_exposure(lambda: fence.exposed)
        return fence

    def _is_ours(self, address: model.Address) -> bool:
        return any(endpoints.overlap(address, each) for each in self._taken)

    def _app_probes(self) -> Mapping[str, Route]:
        config = self._wiring.config
        if not config.admin.app_probes:
            return {}
        # TLS and relays are for those who need them.
        from sidecar.admin.app_probes import app_probe_routes

        app = app_beside_us(config.inbound)
        host = "127.0.0.1" if app is None else app.host
        return app_probe_routes(config.admin.app_probes, host, clock=self._wiring.clock)

    def _explainer(self) -> "Explainer":
        # Words for operators: a pod in which nobody asks pays neither time nor memory for them.
        from sidecar.explain.source import live_explainer

        wiring = self._wiring
        return live_explainer(
            wiring.config,
            wiring.decisions,
            rules=wiring.rules,
            issuers=map(settings.issuer_policy, wiring.config.issuers.values()),
            keys=wiring.keys,
            ledger=wiring.ledger,
            wall_clock=time.time,
        )

    def _live(self, status: StatusSource) -> LiveSource:
        wiring = self._wiring
        history = History(
            wiring.metrics,
            lambda: len(wiring.ledger),
            clock=wiring.clock,
            wall_clock=time.time,
        )
        wiring.deadlines.every_sweep(history.sweep)
        return LiveSource(wiring.metrics, status, history, clock=wiring.clock, wall_clock=time.time)


async def _bound(
    what: str, address: model.Address, start: Callable[[str, int], Awaitable[tuple[str, int]]]
) -> model.Address:
    try:
        host, port = await start(address.host, address.port)
    except OSError as error:
        cause = os.strerror(error.errno) if error.errno else str(error)
        raise StartError(f"the {what} listener cannot use {address}: {cause}") from error
    return model.Address(host, port)
