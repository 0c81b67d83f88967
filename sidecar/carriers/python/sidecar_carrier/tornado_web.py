"""The request boundaries of Tornado, and its own way to a worker thread.

A handler's ``_execute`` runs in a task of its own; ``prepare``, the method and ``finish`` are
called in it. Methods decorated with ``gen.coroutine`` leave that task at their first ``yield`` and
go on in callbacks of the loop, which belong to nobody: from there on they have no handle.
"""

from __future__ import annotations

from . import tasks
from .boundary import serving_async
from .names import CONTEXT_HEADER
from .patching import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List


def patch_web(module: Any) -> None:
    replace(module.RequestHandler, "_execute", serving_async(_of_handler))


def patch_wsgi(module: Any) -> None:
    # Absent before 6.3, where the app is called in a callback of the loop: no handle there.
    replace(module.WSGIContainer, "handle_request", serving_async(_of_container))


def patch_loop(module: Any) -> None:
    replace(module.IOLoop, "run_in_executor", _sending)


def _of_handler(handler: Any, *_: Any) -> List[str]:
    return handler.request.headers.get_list(CONTEXT_HEADER)  # type: ignore[no-any-return]


def _of_container(_container: Any, request: Any) -> List[str]:
    return request.headers.get_list(CONTEXT_HEADER)  # type: ignore[no-any-return]


def _sending(original: Callable[..., Any]) -> Callable[..., Any]:
    send = tasks.sending(original)

    def run_in_executor(self: Any, executor: Any, func: Any, *args: Any) -> Any:
        if executor is None:  # the default may be one that takes no errands
            executor = getattr(self, "_executor", None)
        return send(self, executor, func, *args)

    return run_in_executor
