"""What the injector counts, and its text for Prometheus."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from sidecar import __version__
from sidecar.core.build import COMPILED
from sidecar.kubernetes.admission import KINDS, RESULTS, ObjectKind, Result
from sidecar.telemetry import catalogue
from sidecar.telemetry.histogram import Histogram

DURATION_BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_OPENMETRICS: Final = "application/openmetrics-text"


class InjectorMetrics(Collector):
    """Counts of one injector. All label values are known, so all series exist from the start."""

    def __init__(self) -> None:
        self.certificate_ends: float | None = None
        self.duration = Histogram(DURATION_BOUNDS)
        self._admissions = {(kind, result): 0 for kind in KINDS for result in RESULTS}
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def admitted(self, kind: ObjectKind, result: Result, seconds: float) -> None:
        """Count one answer to the API server."""
        self._admissions[kind, result] += 1
        self.duration.observe(seconds)

    def reloaded(self, successful: bool) -> None:
        """A file of the certificate was taken, or not: the log says so, and the expiry shows it."""

    def valid_until(self, ends: datetime) -> None:
        self.certificate_ends = ends.timestamp()

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition and its content type, for the scraper's *accept*."""
        names = (part.partition(";")[0].strip() for part in accept.split(","))
        encode, content_type = choose_encoder(_OPENMETRICS if _OPENMETRICS in names else "")
        return encode(self._registry), content_type

    def collect(self) -> Iterator[Metric]:
        family = catalogue.INJECTOR_ADMISSIONS
        admissions = CounterMetricFamily(family.name, family.help, labels=family.labels)
        for labels, count in self._admissions.items():
            admissions.add_metric(labels, count)
        yield admissions
        family = catalogue.INJECTOR_ADMISSION_DURATION
        duration = HistogramMetricFamily(family.name, family.help)
        duration.add_metric((), self.duration.cumulative(), self.duration.sum)
        yield duration
        if self.certificate_ends is not None:
            family = catalogue.INJECTOR_CERTIFICATE_EXPIRY
            yield GaugeMetricFamily(family.name, family.help, value=self.certificate_ends)
        family = catalogue.BUILD_INFO
        build = GaugeMetricFamily(family.name, family.help, labels=family.labels)
        build.add_metric((__version__, "true" if COMPILED else "false"), 1)
        yield build
