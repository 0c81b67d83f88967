"""Every endpoint that speaks TLS: its files, its context, its metrics, and the wire's view of it.

A part of the composition that ``sidecar.wiring`` makes.
"""

import ssl
from collections.abc import Callable
from functools import partial

from sidecar import settings
from sidecar.config import model
from sidecar.telemetry.metrics import Metrics
from sidecar.telemetry.tls import TlsMetrics
from sidecar.tls.contexts import client_context, server_context
from sidecar.tls.files import TlsContents, TlsFileError, TlsPaths
from sidecar.tls.rotation import Build, RotatingContext, Rotation
from sidecar.wire.deadlines import Deadlines
from sidecar.wire.fields import NameTable
from sidecar.wire.limits import WireLimits
from sidecar.wire.tls import ListenerTls
from sidecar.wire.tls_upstream import TlsPool


class TlsEndpoints:
    """Makes what listeners and pools need for TLS, and keeps all of it current.

    Each method raises ``TlsFileError``, with the endpoint and the path in its message.
    """

    def __init__(
        self,
        metrics: Metrics,
        clock: Callable[[], float],
        before: "TlsEndpoints | None" = None,
    ) -> None:
        """*before*: of another configuration; the authorities of the system are the same."""
        self._metrics = metrics
        self._clock = clock
        self._contexts: list[RotatingContext] = []
        self._system: ssl.SSLContext | None = None if before is None else before._system

    @property
    def names(self) -> frozenset[str]:
        """The endpoints whose files are looked after."""
        return frozenset(each.name for each in self._contexts)

    @property
    def rotation(self) -> Rotation | None:
        """What looks after the files; ``None`` where nothing speaks TLS."""
        return Rotation(self._contexts) if self._contexts else None

    def listener(self, tls: model.ListenerTls) -> ListenerTls:
        """Return what the inbound listener needs."""
        report = self._metrics.tls("inbound", self._clock)
        build = partial(server_context, demand=tls.client_certificate)
        rotating = self._rotating(report, settings.listener_files(tls), build)
        return ListenerTls(rotating.current, report.handshake_failed, tls)

    def pool(
        self,
        destination: model.Destination,
        *,
        limits: WireLimits,
        names: NameTable,
        deadlines: Deadlines,
    ) -> TlsPool:
        """Return the pool of an ``https`` destination."""
        paths = settings.destination_files(destination.tls)
        context: Callable[[], ssl.SSLContext]
        if paths == TlsPaths():
            system, rotating = self._system_context(), None
            context = lambda: system  # noqa: E731
        else:
            report = self._metrics.tls(f"outbound {destination.name}", self._clock)
            rotating = self._rotating(report, paths, client_context)
            context = rotating.current
        pool = TlsPool(
            destination.upstream.host,
            destination.upstream.port,
            limits=limits,
            names=names,
            deadlines=deadlines,
            clock=self._clock,
            context=context,
            server_name=settings.server_name(destination),
        )
        if rotating is not None:
            # Whatever was trusted, or shown of us, before: nothing new is sent under it.
            rotating.changed = pool.retire
        return pool

    def _system_context(self) -> ssl.SSLContext:
        """Return what destinations without files of their own share: it costs 2 MiB and 50 ms."""
        if self._system is None:
            self._system = client_context(TlsPaths(), TlsContents())
        return self._system

    def _rotating(self, report: TlsMetrics, paths: TlsPaths, build: Build) -> RotatingContext:
        try:
            rotating = RotatingContext(report.name, paths, build, report=report)
        except TlsFileError as error:
            path = getattr(paths, error.role)
            raise TlsFileError(error.role, f"TLS of {report.name}: {path} {error}") from error
        self._contexts.append(rotating)
        return rotating
