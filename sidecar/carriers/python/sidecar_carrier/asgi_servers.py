"""The request boundaries of ASGI servers: uvicorn, hypercorn, gunicorn's ASGI worker.

Each runs the app in a task of its own for every request or websocket. The request is open as long
as the app's callable runs, which with background tasks is longer than until the response is sent:
the sidecar, which sees the response end, calls the handle dead from there on.
"""

from __future__ import annotations

from .boundary import in_pairs, serving_async
from .patching import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, List

_UVICORN_PROTOCOLS = {
    "uvicorn.protocols.http.h11_impl": "RequestResponseCycle",
    "uvicorn.protocols.http.httptools_impl": "RequestResponseCycle",
    "uvicorn.protocols.websockets.websockets_impl": "WebSocketProtocol",
    "uvicorn.protocols.websockets.websockets_sansio_impl": "WebSocketsSansIOProtocol",
    "uvicorn.protocols.websockets.wsproto_impl": "WSProtocol",
}


def patch_uvicorn(module: ModuleType) -> None:
    protocol = getattr(module, _UVICORN_PROTOCOLS[module.__name__])
    replace(protocol, "run_asgi", serving_async(_of_uvicorn))


def _of_uvicorn(protocol: Any, *_: Any) -> List[Any]:
    return in_pairs(protocol.scope["headers"])


def patch_hypercorn(module: ModuleType) -> None:
    replace(module, "_handle", serving_async(_of_hypercorn))


def _of_hypercorn(_app: Any, _config: Any, scope: Any, *_: Any) -> List[Any]:
    return in_pairs(scope["headers"])


def patch_gunicorn(module: Any) -> None:
    for name in ("_handle_http_request", "_handle_http2_request"):
        replace(module.ASGIProtocol, name, serving_async(_of_gunicorn))


def _of_gunicorn(_protocol: Any, request: Any, *_: Any) -> List[Any]:
    return in_pairs(request.headers)
