"""Carry one opaque handle from the request an app serves to the calls which that request makes.

Loaded into the app by ``sitecustomize``, configured by the environment alone:

``SIDECAR_CARRIER``
    ``grade=strict`` (the default and, so far, the only grade) or ``off``.
``SIDECAR_TARGETS``
    Comma-separated ``host:port`` of the sidecar's own listeners. Unset or empty: every plain
    HTTP call to ``localhost``, 127.0.0.0/8 or ``::1``.

Servers: ``http.server`` and what inherits from it (wsgiref, werkzeug's development server).
Clients: ``http.client`` and what is built on it (urllib.request, urllib3, requests).

What has the handle: the thread that serves the request; a coroutine given to ``asyncio.run`` or
``run_until_complete`` by it; from there, while the parent awaits them, ``gather``, ``TaskGroup``,
``wait_for``, ``to_thread`` and ``run_in_executor``; and jobs of a ``with ThreadPoolExecutor()``
block that the request itself opened. What has not: bare tasks, callbacks, threads, timers, jobs
of a longer-lived pool, queue items, forked children, and anything after the request. Those calls
go out without a handle and the sidecar refuses them: a refusal can be repaired, a call in the
name of the wrong caller cannot. ``held`` says why.

The app never notices: what cannot be patched costs the handle and one line on standard error.
Nothing here opens a file or a socket, or starts a thread.
"""

from __future__ import annotations

import os
import sys

from . import imports, report

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def activate() -> None:
    """Patch the four library modules, now or when the app imports them. Twice is once: what is
    replaced already is left alone.
    """
    if not _wanted(os.environ.get("SIDECAR_CARRIER", "")):
        return
    imports.when_imported(
        {
            "http.server": _patch_server,
            "http.client": _patch_client,
            "asyncio": _patch_asyncio,
            "concurrent.futures.thread": _patch_pools,
        }
    )


def _wanted(setting: str) -> bool:
    wish = setting.strip().lower()
    if wish == "off":
        return False
    if wish not in ("", "grade=strict"):
        report.once("SIDECAR_CARRIER is neither grade=strict nor off; using grade=strict")
    return True


# Our own modules, too, are imported when they are needed: every process pays for what comes first.


def _patch_client(module: ModuleType) -> None:
    from . import client
    from .targets import Targets

    client.patch(module, Targets.parse(os.environ.get("SIDECAR_TARGETS", "")))


def _patch_server(module: ModuleType) -> None:
    from . import server

    server.patch(module)


def _patch_asyncio(module: ModuleType) -> None:
    from . import tasks

    tasks.patch(module, sys.version_info)


def _patch_pools(module: ModuleType) -> None:
    from . import pools

    pools.patch(module)
