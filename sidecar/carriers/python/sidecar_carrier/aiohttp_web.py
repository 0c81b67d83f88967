"""The request boundary of ``aiohttp.web``.

One task serves a connection's requests one after the other. Whether each gets a task of its own
within it depends on the version; the request ends with the method that handles it either way.
"""

from __future__ import annotations

from .boundary import serving_async
from .names import CONTEXT_HEADER
from .patching import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List


def patch(module: Any) -> None:
    replace(module.RequestHandler, "_handle_request", serving_async(_values))


def _values(_handler: Any, request: Any, *_: Any) -> List[str]:
    return request.headers.getall(CONTEXT_HEADER, [])  # type: ignore[no-any-return]
