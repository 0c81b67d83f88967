"""Calls through ``httpcore``, and so through ``httpx``: sync and async.

The handle is read when a pool is given a request, in the caller's own frame or task, before there
is a connection to wait for; each hop of a redirect comes by here again. It is written when the
head goes out, because only there is it known whom the stream talks to. A transport that is no
network, such as one into an ASGI application, never comes by here at all.

The library's own request travels on as a copy: an app may send one request object several times,
and what its trace hooks see stays as the app wrote it.
"""

from __future__ import annotations

from . import fields, held, report
from .patching import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, List, Tuple

    from .targets import Targets

_EXTENSION = "sidecar_carrier"


class _Read:
    """The handle that was held when the app called, on its way to the connection."""

    __slots__ = ("handle",)

    def __init__(self) -> None:
        self.handle = held.handle()


def patch(module: Any, targets: Targets) -> None:
    """Wrap the pools and connections of *module*; its proxies are pools, too."""
    if not {"headers", "extensions"} <= vars(module.Request("GET", "http://localhost/")).keys():
        raise AttributeError("headers, extensions")

    def stamped(request: Any) -> Any:
        try:
            return _twin(request, extensions={**request.extensions, _EXTENSION: _Read()})
        except Exception as error:
            report.once("a call's handle was not read: %s" % type(error).__name__)
            return request

    def reading(original: Callable[..., Any]) -> Callable[..., Any]:
        def handle_request(self: Any, request: Any) -> Any:
            return original(self, stamped(request))

        return handle_request

    def reading_async(original: Callable[..., Any]) -> Callable[..., Any]:
        async def handle_async_request(self: Any, request: Any) -> Any:
            return await original(self, stamped(request))

        return handle_async_request

    def writing(original: Callable[..., Any]) -> Callable[..., Any]:
        def send_request_headers(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            foreign, copied = _sorted(request.headers)
            ours = _ours(self, request, copied, targets)
            return original(self, _twin(request, headers=foreign + ours), *args, **kwargs)

        return send_request_headers

    def removing(original: Callable[..., Any]) -> Callable[..., Any]:
        def send_request_headers(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            foreign, _ = _sorted(request.headers)
            return original(self, _twin(request, headers=foreign), *args, **kwargs)

        return send_request_headers

    replace(module.ConnectionPool, "handle_request", reading)
    replace(module.AsyncConnectionPool, "handle_async_request", reading_async)
    for connection in [module.HTTP11Connection, module.AsyncHTTP11Connection]:
        replace(connection, "_send_request_headers", writing)
    for connection in [module.HTTP2Connection, module.AsyncHTTP2Connection]:
        # The sidecar does not speak it. Without the library it needs, the class is a stub.
        if hasattr(connection, "_send_request_headers"):
            replace(connection, "_send_request_headers", removing)


def _twin(request: Any, **changes: Any) -> Any:
    """A request that differs by *changes*. The constructor would check all the rest again."""
    twin = object.__new__(type(request))
    vars(twin).update(vars(request), **changes)
    return twin


def _sorted(headers: Any) -> Tuple[List[Any], List[str]]:
    """What is not ours, and the handles that the app copied."""
    foreign, copied = [], []
    for header in headers:
        if fields.are_ours(header[0]):
            copied += fields.copies(header[0], [header[1]])
        else:
            foreign.append(header)
    return foreign, copied


def _ours(connection: Any, request: Any, copied: List[str], targets: Targets) -> List[Any]:
    try:
        read = request.extensions.get(_EXTENSION)
        if read is None or not _reaches(connection, request, targets):
            return []
        return list(fields.pairs(read.handle, copied))
    except Exception as error:
        report.once("a call's handle was not written: %s" % type(error).__name__)
        return []


def _reaches(connection: Any, request: Any, targets: Targets) -> bool:
    """Whether this is plain HTTP over TCP to the sidecar; through a proxy, to the proxy."""
    stream = connection._network_stream
    if request.method == b"CONNECT" or stream.get_extra_info("ssl_object") is not None:
        return False
    origin = request.url.origin
    peer = stream.get_extra_info("server_addr")
    return targets.lead(origin.host.decode("ascii"), origin.port, peer)
