"""One sidecar from start to end: listeners bound, background work, readiness, reload, drain."""

import asyncio
import gc
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import uvloop

from sidecar import __version__, settings
from sidecar.admin import page
from sidecar.admin.control import ControlServer
from sidecar.admin.control_socket import ControlSocketError
from sidecar.admin.decisions import decision_routes
from sidecar.admin.history import History
from sidecar.admin.live import LiveSource
from sidecar.admin.reload import reload_routes
from sidecar.admin.server import AdminServer
from sidecar.admin.status import Status
from sidecar.admin.status_source import StatusSource
from sidecar.background import Background
from sidecar.config import model
from sidecar.config.load import Examination
from sidecar.config.restart import needs_restart
from sidecar.credentials.app_identity import IdentityKeyError
from sidecar.listening import Listeners, StartError, bound_to, listening
from sidecar.reloading import Reloader, ReloadError
from sidecar.telemetry.decision_settings import DecisionLogError
from sidecar.telemetry.log import operator_log
from sidecar.tls.files import TlsFileError
from sidecar.wiring import (
    INBOUND,
    PROXY,
    AttributeOver,
    Wiring,
    outbound_name,
    resolve_from_ledger,
)

if TYPE_CHECKING:
    from sidecar.explain.explainer import Explainer

_KEYS_SECONDS = 10.0
"""How long a reload waits for the keys of an issuer that is new."""


def run(found: Examination, *, files: Sequence[str], examine: Callable[[], Examination]) -> None:
    """Serve until SIGTERM or SIGINT with the configuration that was *found*.

    *files* are where it was read, for the status to tell. *examine* reads them again.

    Raises:
        StartError: the configuration cannot be served.
    """
    assert found.config is not None
    uvloop.run(
        serve(
            found.config,
            announce=_say,
            files=files,
            warnings=[str(each) for each in found.warnings],
            read_from=found.files,
            examine=examine,
        )
    )


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
    read_from: Mapping[str, bytes] | None = None,
    examine: Callable[[], Examination] | None = None,
) -> None:
    """Start everything, announce each listener, and run until a signal, then drain.

    With *examine* the configuration is read again when the files that it was *read_from* change,
    at SIGHUP, and when the operator asks.

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
                wiring, files=files, warnings=warnings, read_from=read_from or {}, examine=examine
            )
        except (TlsFileError, IdentityKeyError, DecisionLogError) as error:
            raise StartError(str(error)) from error
        async with sidecar.running(announce):
            # What exists now stays until the end: the collector need not look at it again.
            gc.freeze()
            loop.add_signal_handler(signal.SIGHUP, sidecar.reload_soon)
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
        read_from: Mapping[str, bytes] | None = None,
        examine: Callable[[], Examination] | None = None,
    ) -> None:
        """*files* are where the configuration was read, *warnings* what was said of it.

        *examine* reads it again, *read_from* are the digests of what was read the first time.
        """
        self._wiring = wiring
        self._files = files
        self._draining = False
        self._is_bound = False
        self._announce: Callable[[str], None] = _say_nothing
        self._listening: dict[str, model.Address] = {}
        self._background: Background | None = None
        self._reloader: Reloader | None = None
        if examine is not None:
            self._reloader = Reloader(
                examine,
                self.install,
                files=read_from or {},
                reloaded=wiring.metrics.config_reloaded,
            )
        self._admin = AdminServer(
            wiring.metrics,
            self.missing,
            live=lambda: True,
            jwks=lambda: self._wiring.identity.jwks,
        )
        self._started_at = wiring.clock()
        self._status = self._status_source(warnings)
        self._explained: tuple[Wiring, Explainer] | None = None
        self._control = self._control_server()

    @property
    def wiring(self) -> Wiring:
        """What serves now."""
        return self._wiring

    @property
    def listening(self) -> Mapping[str, model.Address]:
        """The addresses in use, by name of the listener."""
        return self._listening

    def missing(self) -> Sequence[str]:
        """What stands between us and readiness, one line each; nothing means ready."""
        if self._draining:
            return ["draining"]
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
        self._announce = announce
        standing = self._wiring.standing
        try:
            bound = await self._bind(announce)
            standing.deadlines.start(asyncio.get_running_loop())
            for keys in self._wiring.keys.values():
                keys.recall()
            async with asyncio.TaskGroup() as group:
                self._background = background = Background(group)
                background.follow(self._wiring)
                if self._reloader is not None:
                    background.add(self._reloader.run())
                await self._first_keys()
                yield bound
                await self.drain()
                background.cancel()
        finally:
            await self._admin.stop()
            if self._control is not None:
                await self._control.stop()
            for introspection in self._wiring.introspection.values():
                await introspection.close()
            await standing.fetcher.close()
            standing.deadlines.stop()
            standing.close_logs()

    def reload_soon(self) -> None:
        """Read the configuration again, in the background; nothing where it came from nowhere."""
        if self._reloader is not None and self._background is not None and not self._draining:
            self._background.add(self._reloader.reload())

    async def install(self, config: model.Config, warnings: Sequence[str]) -> None:
        """Serve under *config* from now on, without a request refused or a connection closed.

        Whatever can fail is tried before anything changes; the change itself is one step of the
        loop. Exchanges in progress end under the configuration that they began with.

        Raises:
            ReloadError: the old configuration stays, and why.
        """
        before = self._wiring
        background = self._refuse_at_the_end()
        if fixed := needs_restart(before.config, config):
            raise ReloadError([f"{key}: cannot change without a restart" for key in fixed])
        try:
            wiring = before.after(config)
        except (TlsFileError, IdentityKeyError) as error:
            raise ReloadError([str(error)]) from error
        listeners = Listeners(before, wiring, self._listening)
        loading = {keys: background.add(keys.run()) for keys in wiring.trust.keys_to_load.values()}
        try:
            await _load(wiring)
            await listeners.bind()
            self._refuse_at_the_end()
        except BaseException:
            for task in loading.values():
                task.cancel()
            await listeners.give_up()
            for keys in before.keys.values():
                keys.tell_state()
            raise
        listeners.exchange()
        wiring.installed()
        self._wiring = wiring
        self._status = self._status_source(warnings)
        background.follow(wiring, loading)
        for line in listeners.changes:
            self._announce(line)
        for listener in listeners.left_over:
            background.add(listener.drain(before.config.drain_timeout_seconds))
        before.close_idle()

    def _refuse_at_the_end(self) -> Background:
        if self._draining or self._background is None:
            raise ReloadError(["the sidecar is about to end"])
        return self._background

    async def _first_keys(self) -> None:
        """Give the keys a moment, so that the usual start says ``ready``; never wait for them."""
        with suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                await asyncio.gather(
                    *(each.obtain() for each in self._wiring.keys.values() if not each.loaded)
                )

    async def _bind(self, announce: Callable[[str], None]) -> Bound:
        wiring, config = self._wiring, self._wiring.config
        if self._control is not None:
            # First, because whoever starts the same sidecar twice is told so, not of some port.
            try:
                await self._control.start()
            except ControlSocketError as error:
                raise StartError(str(error)) from error
            announce(f"sidecar: listening control unix:{config.admin.control}")
        admin = await bound_to("admin", config.admin.listen, self._admin.start)
        announce(f"sidecar: listening admin {admin}")
        for name, (listener, address) in wiring.listeners().items():
            self._listening[name] = await bound_to(name, address, listener.start)
            announce(listening(name, self._listening[name], config))
        self._is_bound = True
        return Bound(
            self._listening.get(INBOUND),
            admin,
            {name: self._listening[outbound_name(name)] for name in config.outbound.destinations},
            self._listening.get(PROXY),
        )

    async def drain(self) -> None:
        """Inbound stops accepting and finishes; outbound stays for it until then. Bounded."""
        self._draining = True
        ends_at = self._wiring.clock() + self._wiring.config.drain_timeout_seconds
        await self._wiring.inbound.drain(self._wiring.config.drain_timeout_seconds)
        left = max(0.0, ends_at - self._wiring.clock())
        await asyncio.gather(*(each.drain(left) for each in self._wiring.leaving))
        self._wiring.close_pools()

    def _control_server(self) -> ControlServer | None:
        path = self._wiring.config.admin.control
        if path is None:
            return None
        routes = {
            **decision_routes(self._explainer),
            **page.routes(),
            **self._live().routes(),
        }
        if self._reloader is not None:
            routes |= reload_routes(self._reloader.reload)
        return ControlServer(path, self._tell_status, more=routes)

    def _tell_status(self) -> Status:
        return self._status()

    def _status_source(self, warnings: Sequence[str]) -> StatusSource:
        wiring = self._wiring
        standing = wiring.standing
        return StatusSource(
            wiring.config,
            version=__version__,
            missing=self.missing,
            draining=lambda: self._draining,
            listening=lambda name: self._listening.get(outbound_name(name)),
            keys=wiring.keys,
            ledger=wiring.ledger,
            verifier=wiring.verifier,
            carriers=standing.carriers,
            outbound=wiring.metrics.direction("outbound", ()),
            clock=wiring.clock,
            wall_clock=time.time,
            circuits=lambda: {
                name: wiring.metrics.introspection(name).circuit for name in wiring.introspection
            },
            unclean=lambda: dict(standing.hygiene.counts()),
            lost_lines=lambda: standing.access_log.dropped,
            decisions=wiring.decisions,
            files=self._files,
            config_warnings=warnings,
            started_at=self._started_at,
            last_reload=lambda: None if self._reloader is None else self._reloader.last,
        )

    def _explainer(self) -> "Explainer":
        # Words for operators: a pod in which nobody asks pays neither time nor memory for them.
        from sidecar.explain.source import live_explainer

        wiring = self._wiring
        if self._explained is not None and self._explained[0] is wiring:
            return self._explained[1]
        explainer = live_explainer(
            wiring.config,
            wiring.decisions,
            rules=wiring.rules,
            issuers=map(settings.issuer_policy, wiring.config.issuers.values()),
            keys=wiring.keys,
            ledger=wiring.ledger,
            wall_clock=time.time,
        )
        self._explained = wiring, explainer
        return explainer

    def _live(self) -> LiveSource:
        wiring = self._wiring
        history = History(
            wiring.metrics,
            lambda: len(wiring.ledger),
            clock=wiring.clock,
            wall_clock=time.time,
        )
        wiring.deadlines.every_sweep(history.sweep)
        return LiveSource(
            wiring.metrics,
            self._tell_status,
            history,
            clock=wiring.clock,
            wall_clock=time.time,
        )


async def _load(wiring: Wiring) -> None:
    """Wait until the keys are there that readiness would wait for. Raises ``ReloadError``."""
    needed = {
        name: keys
        for name, keys in wiring.trust.keys_to_load.items()
        if wiring.config.issuers[name].startup == "wait"
    }
    with suppress(TimeoutError):
        async with asyncio.timeout(_KEYS_SECONDS):
            await asyncio.gather(*(each.obtain() for each in needed.values() if not each.loaded))
    missing = [
        f"issuer {name}: keys not loaded ({keys.last_error or 'no answer yet'})"
        for name, keys in needed.items()
        if not keys.loaded
    ]
    if missing:
        raise ReloadError(missing, may_pass=True)


def _say_nothing(_line: str) -> None:
    pass
