"""The request boundary of ``http.server``: where a handle arrives and where it ends.

A request begins when its head has been parsed and ends when ``handle_one_request`` or ``handle``
returns or raises. Subclasses override either (wsgiref the one, werkzeug the other), so both are
watched in each subclass.
"""

from __future__ import annotations

from types import FunctionType

from . import held
from .boundary import handle_by
from .names import CONTEXT_HEADER
from .patching import is_replaced, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable, List

_SLOT = "_sidecar_request"
_ENDS = ("handle_one_request", "handle")


def patch(module: ModuleType) -> None:
    """Wrap ``BaseHTTPRequestHandler`` of *module* and every subclass, present and future."""
    base = module.BaseHTTPRequestHandler
    if is_replaced(base.parse_request):
        return
    replace(base, "parse_request", _beginning)
    _watch_ends(base)
    _watch_subclasses(base)

    def __init_subclass__(cls: Any, /, **kwargs: Any) -> None:
        super(base, cls).__init_subclass__(**kwargs)
        _watch_ends(cls)

    base.__init_subclass__ = classmethod(__init_subclass__)


def _watch_subclasses(base: Any) -> None:
    for cls in base.__subclasses__():
        _watch_ends(cls)
        _watch_subclasses(cls)


def _watch_ends(cls: Any) -> None:
    for name in _ENDS:
        # Also a mixin's method, which no subclass hook would show us.
        if isinstance(getattr(cls, name, None), FunctionType):
            replace(cls, name, _ending)


def _beginning(original: Callable[..., Any]) -> Callable[..., Any]:
    def parse_request(self: Any, *args: Any, **kwargs: Any) -> Any:
        parsed = original(self, *args, **kwargs)
        if parsed:
            _end(self)  # the last one, if its own loop parses requests and calls neither end
            # Also with nothing to hold: on a kept-alive connection it replaces what the last held.
            outer = held.opened()
            setattr(self, _SLOT, (held.begin(handle_by(_values, self)), outer))
        return parsed

    return parse_request


def _ending(original: Callable[..., Any]) -> Callable[..., Any]:
    def handle(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return original(self, *args, **kwargs)
        finally:
            _end(self)

    return handle


def _end(handler: Any) -> None:
    request = getattr(handler, _SLOT, None)
    if request is not None:
        setattr(handler, _SLOT, None)
        held.end(*request)


def _values(handler: Any) -> List[str]:
    return handler.headers.get_all(CONTEXT_HEADER) or []
