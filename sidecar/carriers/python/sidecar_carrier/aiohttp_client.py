"""Calls through ``aiohttp.ClientSession``.

The handle is read when the session builds its request: in the caller's own task, before the
connector's pool, DNS or connect, and again for each hop of a redirect. Whom the connection talks
to is asked when the request is sent, and our lines are added to the head as it is serialised:
neither the headers object that the app passed, nor what its tracing and its middlewares see of
the request, is touched.
"""

from __future__ import annotations

import contextvars
import sys

from . import fields, held, report
from .names import CARRIER_HEADER, CONTEXT_HEADER
from .patching import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from .targets import Targets


class _Head:
    """What the head that is made of *headers*, and of no other, says of ours."""

    __slots__ = ("headers", "lines")

    def __init__(self, headers: Any, lines: bytes) -> None:
        self.headers = headers
        self.lines = lines


_head: contextvars.ContextVar[Optional[_Head]] = contextvars.ContextVar(
    "sidecar_aiohttp_head", default=None
)


def patch(module: Any, targets: Targets) -> None:
    """Wrap ``ClientRequest`` of *module*, and what serialises a head for it."""

    def sending(original: Callable[..., Any]) -> Callable[..., Any]:
        async def send(self: Any, conn: Any) -> Any:
            token = _head.set(_Head(self.headers, _lines(self, conn, targets)))
            try:
                return await original(self, conn)
            finally:
                _head.reset(token)

        return send

    writer = sys.modules[module.StreamWriter.__module__]
    replace(writer, "_serialize_headers", _serialising)
    replace(module.ClientRequest, "__init__", _reading)
    replace(module.ClientRequest, "send", sending)


def _reading(original: Callable[..., Any]) -> Callable[..., Any]:
    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        try:
            self._sidecar_handle = held.handle()
        except Exception as error:
            report.once("a call's handle was not read: %s" % type(error).__name__)

    return __init__


def _serialising(original: Callable[..., Any]) -> Callable[..., Any]:
    def _serialize_headers(status_line: Any, headers: Any) -> Any:
        head = _head.get()
        if head is None or head.headers is not headers:
            return original(status_line, headers)
        if CONTEXT_HEADER in headers or CARRIER_HEADER in headers:
            headers = headers.copy()
            headers.popall(CONTEXT_HEADER, None)
            headers.popall(CARRIER_HEADER, None)
        serialised = original(status_line, headers)
        return serialised[:-2] + head.lines + serialised[-2:]

    return _serialize_headers


def _lines(request: Any, connection: Any, targets: Targets) -> bytes:
    try:
        if not _reaches(request, connection.transport, targets):
            return b""
        copied = fields.copies(CONTEXT_HEADER, request.headers.getall(CONTEXT_HEADER, ()))
        return fields.lines(request._sidecar_handle, copied)
    except Exception as error:
        report.once("a call's handle was not written: %s" % type(error).__name__)
        return b""


def _reaches(request: Any, transport: Any, targets: Targets) -> bool:
    """Whether this is plain HTTP over TCP to the sidecar; through a proxy, to the proxy."""
    if transport is None or request.method == "CONNECT":
        return False
    if transport.get_extra_info("sslcontext") is not None:
        return False
    url = request.proxy or request.url
    return targets.lead(url.raw_host, url.port, transport.get_extra_info("peername"))
