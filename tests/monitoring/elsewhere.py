"""Metrics that no sidecar of these tests has, and a page of them for Prometheus to scrape.

The injector's, for it needs a cluster to run in; and what a sidecar tells only after a reload, or
only where it knows its pod's addresses.
"""

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from sidecar.telemetry.catalogue import Family

ELSEWHERE: Final = (
    Family("sidecar_injector_admissions_total", "counter", "", ("kind", "result")),
    Family("sidecar_injector_admission_duration_seconds", "histogram", ""),
    Family("sidecar_injector_certificate_expiry_timestamp_seconds", "gauge", ""),
)

SIDECAR_PAGE: Final = """\
sidecar_app_exposed 0
sidecar_config_reloads_total{result="success"} 1
"""
INJECTOR_PAGE: Final = """\
sidecar_injector_admissions_total{kind="pod",result="injected"} COUNT
sidecar_injector_admissions_total{kind="pod",result="refused"} COUNT
sidecar_injector_admissions_total{kind="service",result="allowed"} COUNT
# TYPE sidecar_injector_admission_duration_seconds histogram
sidecar_injector_admission_duration_seconds_bucket{le="0.01"} COUNT
sidecar_injector_admission_duration_seconds_bucket{le="0.1"} COUNT
sidecar_injector_admission_duration_seconds_bucket{le="+Inf"} COUNT
sidecar_injector_admission_duration_seconds_sum COUNT
sidecar_injector_admission_duration_seconds_count COUNT
sidecar_injector_certificate_expiry_timestamp_seconds 4e9
"""


@asynccontextmanager
async def page(text: str) -> AsyncIterator[str]:
    """Serve *text* as metrics, ``COUNT`` one more each time, and yield ``host:port``."""
    scrapes = itertools.count(1)

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=text.replace("COUNT", str(next(scrapes))))

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
