"""Carry one opaque handle from the request an app serves to the calls which that request makes.

Loaded into the app by ``sitecustomize``, configured by the environment alone:

``SIDECAR_CARRIER``
    ``grade=strict`` (the default), ``grade=standard`` or ``off``.
``SIDECAR_TARGETS``
    Comma-separated ``host:port`` of the sidecar's own listeners. Unset or empty: every plain
    HTTP call to ``localhost``, 127.0.0.0/8 or ``::1``.

Servers: ``http.server`` and what inherits from it (wsgiref, the development servers of werkzeug
and Django), gunicorn, waitress, gevent.pywsgi, uvicorn, hypercorn, aiohttp.web and Tornado.
Clients: ``http.client`` and what is built on it (urllib.request, urllib3, requests, botocore),
``httpcore`` (httpx) and aiohttp's.

Strict, the handle goes to the thread that serves the request; to a coroutine given to
``asyncio.run`` or ``run_until_complete`` by it; from there, while the parent awaits them, to
``gather``, ``TaskGroup``, ``wait_for``, ``to_thread`` and ``run_in_executor``; to jobs of a
``with ThreadPoolExecutor()`` block that the request itself opened; likewise to anyio's task groups
and ``to_thread``, and asgiref's ``sync_to_async`` and ``async_to_sync``. It does not go to bare
tasks, callbacks, threads, timers, jobs of a longer-lived pool, queue items, forked children, and
anything after the request. Those calls go out without a handle and the sidecar refuses them: a
refusal can be repaired, a call in the name of the wrong caller cannot. ``held`` says why.

Standard, it also goes to bare tasks, callbacks, coroutines sent to another thread's loop, and jobs
of any thread pool. A worker that one request starts and that then serves others has the first
one's handle while that request lasts: that is what the lower grade says.

The app never notices: what cannot be patched costs the handle and one line on standard error.
Nothing here opens a file or a socket, or starts a thread.
"""

from __future__ import annotations

import os
import sys

from . import grade, imports

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Callable

    from .targets import Targets


# Where we are installed, the directory on PYTHONPATH is a link that an update turns elsewhere. What
# this process imports later is of the version it imports now.
__path__[:] = [os.path.realpath(entry) for entry in __path__]


def activate() -> None:
    """Patch the library modules, now or when the app imports them. Twice is once: what is
    replaced already is left alone.
    """
    if not grade.choose(os.environ.get("SIDECAR_CARRIER", "")):
        return
    imports.when_imported(
        {
            # servers
            "http.server": _patch_server,
            # clients
            "http.client": _patch_client,
            "httpcore": _patch_httpcore,
            "aiohttp.client_reqrep": _patch_aiohttp_client,
            # ways to start work
            "asyncio": _patch_asyncio,
            "concurrent.futures.thread": _patch_pools,
            **{name: _patch_with(*ours) for name, ours in _SERVERS.items()},
        }
    )


_SERVERS = {
    # By module: the one of ours that knows it, and its function.
    "gunicorn.workers.sync": ("wsgi_servers", "patch_gunicorn"),
    "gunicorn.workers.gthread": ("wsgi_servers", "patch_gunicorn"),
    "gunicorn.workers.base_async": ("wsgi_servers", "patch_gunicorn"),
    "waitress.task": ("wsgi_servers", "patch_waitress"),
    "gevent.pywsgi": ("wsgi_servers", "patch_gevent"),
    "uvicorn.protocols.http.h11_impl": ("asgi_servers", "patch_uvicorn"),
    "uvicorn.protocols.http.httptools_impl": ("asgi_servers", "patch_uvicorn"),
    "uvicorn.protocols.websockets.websockets_impl": ("asgi_servers", "patch_uvicorn"),
    "uvicorn.protocols.websockets.websockets_sansio_impl": ("asgi_servers", "patch_uvicorn"),
    "uvicorn.protocols.websockets.wsproto_impl": ("asgi_servers", "patch_uvicorn"),
    "hypercorn.asyncio.task_group": ("asgi_servers", "patch_hypercorn"),
    "gunicorn.asgi.protocol": ("asgi_servers", "patch_gunicorn"),
    "aiohttp.web_protocol": ("aiohttp_web", "patch"),
    "tornado.web": ("tornado_web", "patch_web"),
    "tornado.wsgi": ("tornado_web", "patch_wsgi"),
    "tornado.ioloop": ("tornado_web", "patch_loop"),
    # What servers and frameworks hand a request on by.
    "anyio._backends._asyncio": ("anyio_children", "patch"),
    "asgiref.sync": ("asgiref_children", "patch"),
    "django.core.handlers.asgi": ("django_asgi", "patch"),
    "uvloop": ("uvloop_loops", "patch"),
}


# Our own modules, too, are imported when they are needed: every process pays for what comes first.


def _targets() -> Targets:
    from .targets import Targets

    return Targets.parse(os.environ.get("SIDECAR_TARGETS", ""))


def _patch_with(ours: str, function: str) -> Callable[[ModuleType], None]:
    def patch(module: ModuleType) -> None:
        from importlib import import_module

        getattr(import_module("." + ours, __name__), function)(module)

    return patch


def _patch_client(module: ModuleType) -> None:
    from . import client

    client.patch(module, _targets())


def _patch_httpcore(module: ModuleType) -> None:
    from . import httpcore_client

    httpcore_client.patch(module, _targets())


def _patch_aiohttp_client(module: ModuleType) -> None:
    from . import aiohttp_client

    aiohttp_client.patch(module, _targets())


def _patch_server(module: ModuleType) -> None:
    from . import server

    server.patch(module)


def _patch_asyncio(module: ModuleType) -> None:
    from . import tasks

    tasks.patch(module, sys.version_info)


def _patch_pools(module: ModuleType) -> None:
    from . import pools

    pools.patch(module)
