"""Metrics that no sidecar of these tests has, and pages of them for Prometheus to scrape.

The injector's, for it needs a cluster to run in, though the counts are made by its own class; and
what a sidecar tells only after a reload, or where it knows its pod's addresses.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Final

from aiohttp import web

from sidecar.kubernetes.injector_metrics import InjectorMetrics
from sidecar.telemetry.catalogue import INJECTOR, Family

ELSEWHERE: Final = (
    *INJECTOR,
    Family("sidecar_config_last_reload_success_timestamp_seconds", "gauge", ""),
)
_SIDECAR_PAGE: Final = """\
sidecar_app_exposed 0
sidecar_config_reloads_total{result="success"} 1
sidecar_config_last_reload_success_timestamp_seconds 1.7e9
"""


@asynccontextmanager
async def of_a_sidecar() -> AsyncIterator[str]:
    """Serve what a sidecar in a pod tells besides; yield ``host:port``."""
    async with _page(lambda: _SIDECAR_PAGE) as address:
        yield address


@asynccontextmanager
async def of_an_injector() -> AsyncIterator[str]:
    """Serve the metrics of an injector that is asked something with every scrape."""
    metrics = InjectorMetrics()
    metrics.valid_until(datetime.now(UTC) + timedelta(days=90))

    def scraped() -> str:
        metrics.admitted("pod", "injected", 0.02)
        metrics.admitted("service", "refused", 0.2)
        return metrics.render("")[0].decode()

    async with _page(scraped) as address:
        yield address


@asynccontextmanager
async def _page(text: Callable[[], str]) -> AsyncIterator[str]:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=text())

    application = web.Application()
    application.router.add_get("/metrics", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"{host}:{port}"
    finally:
        await runner.cleanup()
