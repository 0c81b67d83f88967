"""One injector from start to end: certificates, listeners, background work, readiness, drain."""

import asyncio
import logging
import signal
import ssl
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, Literal

import uvloop

from sidecar.config.model import Address
from sidecar.kubernetes.api import Api, ApiError, Server, connected
from sidecar.kubernetes.authority import OwnAuthority, Place
from sidecar.kubernetes.deciding import Account, Decider
from sidecar.kubernetes.injector_metrics import InjectorMetrics
from sidecar.kubernetes.settings import InjectorSettings
from sidecar.kubernetes.webhook import AdmissionLog, Listener, Operators, Webhook
from sidecar.telemetry.lines import Lines
from sidecar.telemetry.log import Level, operator_log
from sidecar.telemetry.writer import DescriptorWriter
from sidecar.tls.contexts import server_context
from sidecar.tls.files import TlsFileError, TlsPaths
from sidecar.tls.rotation import RotatingContext, Rotation

NATIVE_SINCE: Final = 29
"""Kubernetes 1.29, where init containers that keep running are on without asking."""
VERSION_SECONDS: Final = 300.0
VERSION_RETRY_SECONDS: Final = 2.0
MAX_ADMIN_CONNECTIONS: Final = 64
FINISH_SECONDS: Final = 10.0
READY_LOOK_SECONDS: Final = 0.1

_log = logging.getLogger("sidecar.injector")


class InjectorStartError(Exception):
    """The injector cannot start; the message is one line that says what to change."""


@dataclass(frozen=True, slots=True)
class Options:
    """What an injector is told when it starts."""

    listen: Address
    admin: Address
    server: Server
    settings: InjectorSettings
    native: Literal["auto", "true", "false"]
    place: Place
    """Where the own authority is kept; not used with *files*."""
    files: TlsPaths | None = None
    drain_seconds: float = 5.0
    log_level: Level = "info"


def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT. Raises ``InjectorStartError``."""
    uvloop.run(serve(options, announce=_say))


def _say(line: str) -> None:
    with suppress(OSError):
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


async def serve(options: Options, *, announce: Callable[[str], None]) -> None:
    """Start everything, and run until a signal, then drain. Raises ``InjectorStartError``."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with operator_log(options.log_level):
        lines = Lines(DescriptorWriter(sys.stdout.fileno()), "admissions")
        log = AdmissionLog(lines, time.time)
        try:
            async with connected(options.server) as api:
                injector = Injector(options, api, log)
                async with injector.running(announce):
                    await stop.wait()
                    announce("sidecar: draining")
                    await injector.drain()
        finally:
            log.close()
        announce("sidecar: stopped")


class Injector:
    """What was wired, running."""

    def __init__(self, options: Options, api: Api, log: AdmissionLog) -> None:
        self._options = options
        self._api = api
        self._native = None if options.native == "auto" else options.native == "true"
        self._version_problem = ""
        self._is_bound = False
        self._executor = ThreadPoolExecutor(2, "injection")
        self.metrics = InjectorMetrics()
        decider = Decider(
            api,
            self._settings,
            account=Account(options.place.namespace or "NAMESPACE"),
            executor=self._executor,
        )
        self._webhook = Webhook(decider, self.metrics, log)
        self._listener = Listener(self._webhook.answer)
        self._admin = Listener(
            Operators(self.metrics, self.missing).answer, max_connections=MAX_ADMIN_CONNECTIONS
        )
        self._authority: OwnAuthority | None = None
        self._files: RotatingContext | None = None
        if options.files is None:
            self._authority = OwnAuthority(
                api, options.place, report=self.metrics, now=partial(datetime.now, UTC)
            )
        else:
            build = partial(server_context, demand="off")
            try:
                self._files = RotatingContext("injector", options.files, build, report=self.metrics)
            except TlsFileError as error:
                path = getattr(options.files, error.role)
                raise InjectorStartError(f"--{error.role}: {path} {error}") from error

    def missing(self) -> Sequence[str]:
        """What stands between us and readiness, one line each; nothing means ready."""
        if self._webhook.is_draining:
            return ["draining"]
        missing = [] if self._is_bound else ["listeners: not bound yet"]
        if self._authority is not None and (line := self._authority.missing()):
            missing.append(line)
        if self._native is None:
            missing.append(f"version of the cluster: {self._version_problem or 'not known yet'}")
        return missing

    def _settings(self) -> InjectorSettings | None:
        if self._native is None:
            return None
        return replace(self._options.settings, native=self._native)

    @asynccontextmanager
    async def running(self, announce: Callable[[str], None]) -> AsyncIterator[None]:
        """Everything is started on entry and ended on exit."""
        try:
            admin = await _bound("--admin", self._options.admin, self._admin)
            announce(f"sidecar: listening admin {admin}")
            listen = self._options.listen
            bound = await _bound("--listen", listen, self._listener, tls=self._context)
            announce(f"sidecar: listening webhook {bound}")
            self._is_bound = True
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(each) for each in self._background(announce)]
                yield
                for task in background:
                    task.cancel()
        finally:
            await self._listener.stop(FINISH_SECONDS)
            await self._admin.stop(1.0)
            self._executor.shutdown(wait=False, cancel_futures=True)

    async def drain(self) -> None:
        """Be ready no more, but go on answering until the API server calls others."""
        self._webhook.is_draining = True
        await asyncio.sleep(self._options.drain_seconds)

    def _context(self) -> ssl.SSLContext | None:
        if self._files is not None:
            return self._files.context
        assert self._authority is not None
        return self._authority.current()

    def _background(self, announce: Callable[[str], None]) -> Iterator[Coroutine[Any, Any, None]]:
        if self._files is not None:
            yield Rotation([self._files]).run()
        if self._authority is not None:
            yield self._authority.run()
        if self._options.native == "auto":
            yield self._follow_version()
        yield self._tell_ready(announce)

    async def _tell_ready(self, announce: Callable[[str], None]) -> None:
        told: Sequence[str] = ()
        while missing := self.missing():
            if missing != told:
                told = missing
                for line in missing:
                    _log.info("not ready: %s", line)
            await asyncio.sleep(READY_LOOK_SECONDS)
        announce("sidecar: ready")

    async def _follow_version(self) -> None:
        """Ask which version the cluster has, now and then: it may be upgraded under us."""
        while True:
            try:
                minor = await self._api.minor_version()
            except ApiError as error:
                self._version_problem = str(error)
            else:
                native = minor >= NATIVE_SINCE
                if native != self._native:
                    kind = "native sidecars" if native else "sidecars beside the app"
                    _log.info("the cluster has Kubernetes 1.%d: %s are injected", minor, kind)
                self._native = native
            await asyncio.sleep(VERSION_RETRY_SECONDS if self._native is None else VERSION_SECONDS)


async def _bound(
    flag: str,
    address: Address,
    listener: Listener,
    *,
    tls: Callable[[], ssl.SSLContext | None] | None = None,
) -> Address:
    try:
        return Address(*await listener.start(address.host, address.port, tls=tls))
    except OSError as error:
        cause = error.strerror or str(error)
        raise InjectorStartError(f"{flag}: cannot listen on {address}: {cause}") from error
