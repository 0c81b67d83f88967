"""Where a request begins and ends, whatever the server.

The server's own module says which function serves exactly one request and where its headers
are. Here they are read, and the request is closed when that function returns, raises or is
cancelled. A request without handle is opened as well: it must not go on with the one that the
thread or the connection served before.
"""

from __future__ import annotations

from . import held, report
from .names import CONTEXT_HEADER, is_handle

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, List, Optional, Tuple, Union

    Text = Union[str, bytes]
    Read = Callable[..., Iterable[Text]]
    Wrap = Callable[[Callable[..., Any]], Callable[..., Any]]


def serving(read: Read) -> Wrap:
    """Bound a function that serves one request; *read* finds the header's values in its
    arguments.
    """

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        def serve(*args: Any, **kwargs: Any) -> Any:
            outer = held.opened()
            cell = held.begin(handle_by(read, *args))
            try:
                return original(*args, **kwargs)
            finally:
                held.end(cell, outer)

        return serve

    return wrap


def serving_async(read: Read) -> Wrap:
    """The same for a coroutine function. Its request is that of the task it is awaited in."""

    def wrap(original: Callable[..., Any]) -> Callable[..., Any]:
        async def serve(*args: Any, **kwargs: Any) -> Any:
            outer = held.opened()
            cell = held.begin(handle_by(read, *args))
            try:
                return await original(*args, **kwargs)
            finally:
                held.end(cell, outer)

        return serve

    return wrap


def handle_by(read: Read, *args: Any) -> Optional[str]:
    """The handle, if *read* finds exactly one header and it has the form; otherwise nothing."""
    try:
        values = [_text(value) for value in read(*args)]
        return values[0] if len(values) == 1 and is_handle(values[0]) else None
    except Exception as error:
        report.once("a request's handle was not read: %s" % type(error).__name__)
        return None


def in_pairs(headers: Iterable[Tuple[Text, Text]]) -> List[Text]:
    """The header's values among pairs of name and value, as ASGI and several servers have them."""
    return [
        value
        for name, value in headers
        if len(name) == len(CONTEXT_HEADER) and _text(name).lower() == CONTEXT_HEADER
    ]


def _text(value: Text) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value
