"""The request boundaries of WSGI servers: gunicorn's workers, waitress, gevent.

Each has one method that calls the app, sends what the app's iterable yields and closes that. The
thread (in gevent: the greenlet) goes on to other requests when the method has returned.
"""

from __future__ import annotations

from .boundary import in_pairs, serving
from .names import CONTEXT_HEADER
from .patching import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, List

_GUNICORN_WORKERS = {
    # By module: the worker class, and the position of the request among its methods' arguments.
    "gunicorn.workers.sync": ("SyncWorker", 2),
    "gunicorn.workers.gthread": ("ThreadWorker", 1),
    "gunicorn.workers.base_async": ("AsyncWorker", 2),
}


def patch_gunicorn(module: ModuleType) -> None:
    name, position = _GUNICORN_WORKERS[module.__name__]
    worker = getattr(module, name)

    def read(*args: Any) -> List[Any]:
        return in_pairs(args[position].headers)

    replace(worker, "handle_request", serving(read))
    if hasattr(worker, "handle_http2_request"):  # one stream after the other, in the same thread
        replace(worker, "handle_http2_request", serving(read))


def patch_waitress(module: Any) -> None:
    replace(module.WSGITask, "execute", serving(_of_waitress))


def _of_waitress(task: Any) -> List[str]:
    # Repeated ones are joined by a comma, which no handle has; any with an underscore are gone.
    value = task.request.headers.get(CONTEXT_HEADER.upper().replace("-", "_"))
    return [] if value is None else [value]


def patch_gevent(module: Any) -> None:
    replace(module.WSGIHandler, "handle_one_response", serving(_of_gevent))


def _of_gevent(handler: Any) -> List[str]:
    return handler.headers.get_all(CONTEXT_HEADER) or []
