"""The webhook over real TLS, asked as kube-apiserver asks."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sidecar.kubernetes.api import Server
from sidecar.kubernetes.authority import Place, context_of
from sidecar.kubernetes.certificates import renewed, service_names
from sidecar.kubernetes.injector_metrics import InjectorMetrics
from sidecar.kubernetes.webhook import (
    MAX_BODY_BYTES,
    AdmissionLog,
    Listener,
    Operators,
    Webhook,
)
from sidecar.telemetry.lines import Lines
from sidecar.tls.files import TlsContents
from tests.kubernetes.pods import pod
from tests.kubernetes.reviews import SERVICES, UID, review
from tests.kubernetes.test_certificates import NAMES, NOW
from tests.kubernetes.test_deciding import FakeCluster, decider

__all__ = ["Place", "Server", "service_names"]
NAME = NAMES[0]


@dataclass
class Running:
    """A webhook and its operators' port, and what there is to see of them."""

    url: str
    admin: str
    webhook: Webhook
    listener: Listener
    cluster: FakeCluster
    log: list[bytes]
    context: ssl.SSLContext
    """What is served with; a test may replace it."""
    missing: list[str]


def serving() -> tuple[ssl.SSLContext, bytes]:
    """A server's context of an authority of its own, and what trusts it."""
    made = renewed(None, NAMES, NOW.now(NOW.tzinfo))
    contents = TlsContents(certificate=made.certificate, key=made.key)
    return context_of(contents), made.bundle


@asynccontextmanager
async def running(**limits: Any) -> AsyncIterator[Running]:
    cluster, log, metrics = FakeCluster(), list[bytes](), InjectorMetrics()
    context, bundle = serving()
    async with decider(cluster) as deciding:
        lines = AdmissionLog(Lines(log.append, "test"), lambda: 0.0)
        webhook = Webhook(deciding, metrics, lines)
        listener = Listener(webhook.answer, **limits)
        missing: list[str] = []
        admin = Listener(Operators(metrics, lambda: missing).answer)
        made = Running("", "", webhook, listener, cluster, log, context, missing)
        host, port = await listener.start("127.0.0.1", 0, tls=lambda: made.context)
        made.url = f"https://{host}:{port}"
        made.admin = "http://{}:{}".format(*await admin.start("127.0.0.1", 0))
        try:
            async with _client(bundle) as session:
                made.ask = session  # type: ignore[attr-defined]
                yield made
        finally:
            await listener.stop(1.0)
            await admin.stop(1.0)
            lines.close()


def _client(bundle: bytes) -> aiohttp.ClientSession:
    trust = ssl.create_default_context(cadata=bundle.decode())
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=trust))
