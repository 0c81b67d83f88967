"""Django's ASGI handler: it answers a request in a bare task, next to one that awaits the client
going away, and waits for either with ``asyncio.wait``.

That alone says nothing about whose work the task does. But the task answers a request that it is
given, and it may speak for the one it descends from if both have the same handle. Before 5.0
there is no such task.
"""

from __future__ import annotations

from . import held
from .boundary import handle_by, in_pairs
from .patching import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List


def patch(module: Any) -> None:
    if hasattr(module.ASGIHandler, "run_get_response"):
        replace(module.ASGIHandler, "run_get_response", _readmitting)


def _readmitting(original: Callable[..., Any]) -> Callable[..., Any]:
    async def run_get_response(self: Any, request: Any) -> Any:
        handle = handle_by(_values, request)
        if handle is not None:
            held.readmit(handle)
        return await original(self, request)

    return run_get_response


def _values(request: Any) -> List[Any]:
    return in_pairs(request.scope["headers"])
