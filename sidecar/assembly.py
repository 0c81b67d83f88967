"""One sidecar from start to end: listeners bound, background work, readiness, reload, drain."""

import asyncio
import gc
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

import uvloop

from sidecar.admin.app_fence import AppFence, pod_addresses
from sidecar.admin.control import ControlServer
from sidecar.admin.control_socket import ControlSocketError
from sidecar.admin.drain_status import DrainStatus
from sidecar.admin.draining import drain_routes
from sidecar.admin.reload import reload_routes
from sidecar.admin.server import AdminServer
from sidecar.background import Background
from sidecar.config import model
from sidecar.config.load import Examination
from sidecar.config.restart import needs_restart
from sidecar.credentials.app_identity import IdentityKeyError
from sidecar.listening import Listeners, StartError, bound_to, listening
from sidecar.neighbour import Neighbour, app_probes
from sidecar.reloading import Outcome, Reloader, ReloadError
from sidecar.telemetry.decision_settings import DecisionLogError
from sidecar.telemetry.log import operator_log
from sidecar.telling import Telling
from sidecar.tls.files import TlsFileError
from sidecar.wiring import (
    INBOUND,
    PROXY,
    AttributeOver,
    Wiring,
    outbound_name,
    resolve_from_ledger,
)

IDLE_GRACE_SECONDS: Final = 5.0
"""Asked to drain, we close callers' idle connections after so long."""
POD_NAME: Final = "SIDECAR_POD_NAME"
"""Environment variable, of the Downward API: who is told to end then ends with the whole pod."""
_KEYS_SECONDS: Final = 10.0
"""How long a reload waits for the keys of an issuer that is new."""


def run(found: Examination, *, files: Sequence[str], examine: Callable[[], Examination]) -> None:
    """Serve until SIGTERM or SIGINT with the configuration that was *found*.

    *files* are where it was read, for the status to tell. *examine* reads them again.

    Raises:
        StartError: the configuration cannot be served.
    """
    assert found.config is not None
    _allow_connections()
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


def _allow_connections() -> None:
    """Have as many files open as the hard limit permits: each connection is one.

    The soft limit is often 1,024 for the sake of programs that use ``select``. We do not.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):  # where the system has a limit besides, as macOS has
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


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
                wiring,
                files=files,
                warnings=warnings,
                addresses=pod_addresses(os.environ),
                app_ends_too=POD_NAME in os.environ,
                read_from=read_from or {},
                examine=examine,
            )
        except (TlsFileError, IdentityKeyError, DecisionLogError) as error:
            raise StartError(str(error)) from error
        loop.add_signal_handler(signal.SIGHUP, sidecar.reload_soon)
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
        read_from: Mapping[str, bytes] | None = None,
        examine: Callable[[], Examination] | None = None,
    ) -> None:
        """*files* are where the configuration was read, *warnings* what was said of it.

        *addresses* are the pod's own, on which the app should not answer; ``None``: it is not
        looked for there. *app_ends_too*: a signal to end was for the app as well. *examine* reads
        the configuration again, *read_from* are the digests of what was read the first time.
        """
        self._wiring = wiring
        self._addresses = addresses
        self._app_ends_too = app_ends_too
        self._draining_since: float | None = None
        self._has_started = False
        self._is_bound = False
        self._announce: Callable[[str], None] = _say_nothing
        self._listening: dict[str, model.Address] = {}
        self._admin_at: model.Address | None = None
        self._app = self._neighbour(wiring)
        wiring.metrics.watch_app_exposure(lambda: self._app.exposed())
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
            startup=self.not_started,
            jwks=lambda: self._wiring.identity.jwks,
            app_probes=app_probes(wiring),
        )
        self._telling = Telling(self, files=files, warnings=warnings)
        self._control = self._control_server()

    @property
    def wiring(self) -> Wiring:
        """What serves now."""
        return self._wiring

    @property
    def listening(self) -> Mapping[str, model.Address]:
        """The addresses in use, by name of the listener."""
        return self._listening

    @property
    def fence(self) -> AppFence | None:
        """What knows whether the app can be reached past us."""
        return self._app.fence

    @property
    def last_reload(self) -> Outcome | None:
        """What came of the latest reload, if there was one."""
        return None if self._reloader is None else self._reloader.last

    def draining_seconds(self) -> float | None:
        """Return how long we have been draining; ``None``: we are not."""
        since = self._draining_since
        return None if since is None else self._wiring.clock() - since

    def missing(self) -> Sequence[str]:
        """What stands between us and readiness, one line each; nothing means ready."""
        if self._draining_since is not None:
            return ["draining"]
        missing = self._not_loaded()
        if self._is_bound:
            missing += self._app.missing(self._wiring.config)
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
                background.look_at(self._app.fence)
                if self._reloader is not None:
                    background.add(self._reloader.run())
                await self._first_keys()
                self.not_started()  # which may be all that anybody asks before a key is lost
                yield bound
                await self.drain()
                background.cancel()
        finally:
            await self._admin.stop()
            if self._control is not None:
                await self._control.stop()
            for introspection in self._wiring.introspection.values():
                await introspection.close()
            await standing.obtained.close()
            if self._wiring.token_endpoints is not None:
                await self._wiring.token_endpoints.close()
            await standing.sharing.close()
            await standing.fetcher.close()
            standing.deadlines.stop()
            standing.close_logs()

    def reload_soon(self) -> None:
        """Read the configuration again, in the background; nothing where it came from nowhere."""
        if (
            self._reloader is not None
            and self._background is not None
            and self._draining_since is None
        ):
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
        background.follow(wiring, loading)
        if not self._app.is_for(config):
            self._app = self._neighbour(wiring)
            background.look_at(self._app.fence)
        self._telling.replaced(warnings)
        for line in listeners.changes:
            self._announce(line)
        for listener in listeners.left_over:
            listener.stop()
            background.add(listener.drain(before.config.drain_timeout_seconds))
        before.close_idle()

    def _refuse_at_the_end(self) -> Background:
        if self._draining_since is not None or self._background is None:
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
        admin = self._admin_at = await bound_to("admin", config.admin.listen, self._admin.start)
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
            await self._app.presence.wait_until_gone(left)
            left = max(0.0, ends_at - self._wiring.clock())
        await asyncio.gather(*(each.drain(left) for each in self._wiring.leaving))
        self._wiring.close_pools()

    def _control_server(self) -> ControlServer | None:
        path = self._wiring.config.admin.control
        if path is None:
            return None
        routes = {
            **self._telling.routes(),
            **drain_routes(self.begin_drain, self._drain_status),
        }
        if self._reloader is not None:
            routes |= reload_routes(self._reloader.reload)
        return ControlServer(path, self._telling.status, more=routes)

    async def _drain_status(self) -> DrainStatus:
        return DrainStatus(
            draining_seconds=self.draining_seconds(),
            timeout_seconds=self._wiring.config.drain_timeout_seconds,
            requests=max(0, self._wiring.metrics.direction("inbound", ()).in_flight),
            app_gone=await self._app.presence.is_gone(),
        )

    def _calling(self) -> int:
        return sum(listener.connections for listener in self._wiring.leaving)

    def _neighbour(self, wiring: Wiring) -> Neighbour:
        return Neighbour(
            wiring,
            addresses=self._addresses,
            taken=lambda: [*filter(None, [self._admin_at]), *self._listening.values()],
            calling=self._calling,
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
