"""Calls through ``http.client``: read the handle when the app calls, write it when the head goes.

The handle is read in ``putrequest``, in the caller's own frame. It is written in ``send``, because
only there is it known whom the socket talks to: a TLS connection, a unix socket behind the host
name ``localhost``, or a tunnel never sees it.

What is written, and what is taken out, is the business of ``fields``.
"""

from __future__ import annotations

from . import fields, held, report
from .patching import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any, Callable, List, Optional

    from .targets import Targets

_HEAD_END = b"\r\n\r\n"


class _Call:
    """One request being put together: the handle read at its start, and what the app set."""

    __slots__ = ("copied", "handle", "is_complete")

    def __init__(self, handle: Optional[str]) -> None:
        self.handle = handle
        self.copied: List[str] = []
        self.is_complete = False


def patch(module: ModuleType, targets: Targets) -> None:
    """Wrap ``HTTPConnection`` of *module*; subclasses reach it through ``super()``."""
    connection = module.HTTPConnection
    if not hasattr(connection, "_sidecar_call"):
        connection._sidecar_call = None

    def reading(original: Callable[..., Any]) -> Callable[..., Any]:
        def putrequest(self: Any, *args: Any, **kwargs: Any) -> Any:
            call = _read(self, targets)
            answer = original(self, *args, **kwargs)
            # Not before: the original refuses while another request is under way.
            self._sidecar_call = call
            return answer

        return putrequest

    def writing(original: Callable[..., Any]) -> Callable[..., Any]:
        def send(self: Any, data: Any) -> Any:
            call = self._sidecar_call
            if call is None or not call.is_complete:
                return original(self, data)
            self._sidecar_call = None
            if self.sock is None and self.auto_open:
                self.connect()
            return original(self, _written(self, call, data, module, targets))

        return send

    replace(connection, "putrequest", reading)
    replace(connection, "putheader", _withholding)
    replace(connection, "endheaders", _completing)
    replace(connection, "send", writing)


def _withholding(original: Callable[..., Any]) -> Callable[..., Any]:
    def putheader(self: Any, header: Any, *values: Any) -> Any:
        if not fields.are_ours(header):
            return original(self, header, *values)
        call = self._sidecar_call
        if call is not None:
            call.copied += fields.copies(header, values)
        return None

    return putheader


def _completing(original: Callable[..., Any]) -> Callable[..., Any]:
    def endheaders(self: Any, *args: Any, **kwargs: Any) -> Any:
        call = self._sidecar_call
        if call is not None:
            call.is_complete = True
        return original(self, *args, **kwargs)

    return endheaders


def _read(connection: Any, targets: Targets) -> Optional[_Call]:
    try:
        if connection._tunnel_host or not targets.names(connection.host, connection.port):
            return None
        return _Call(held.handle())
    except Exception as error:
        report.once("a call's handle was not read: %s" % type(error).__name__)
        return None


def _written(connection: Any, call: _Call, head: Any, module: ModuleType, targets: Targets) -> Any:
    try:
        if not isinstance(head, bytes) or not _reaches(connection, module, targets):
            return head
        end = head.find(_HEAD_END)
        if end < 0:
            return head
        return head[: end + 2] + fields.lines(call.handle, call.copied) + head[end + 2 :]
    except Exception as error:
        report.once("a call's handle was not written: %s" % type(error).__name__)
        return head


def _reaches(connection: Any, module: Any, targets: Targets) -> bool:
    """Whether the open socket is plain TCP to the sidecar. What cannot be told is not."""
    sock = connection.sock
    if not isinstance(sock, module.socket.socket) or hasattr(sock, "cipher"):
        return False  # TLS, by the standard library or by somebody's wrapper
    try:
        peer = sock.getpeername()
    except OSError:
        return False
    return targets.lead(connection.host, connection.port, peer)
