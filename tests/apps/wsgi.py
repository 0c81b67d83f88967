"""A plain WSGI app, for the servers that come without a framework."""

from collections.abc import Callable, Iterable
from typing import Any

from . import handoffs


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    target = handoffs.wsgi_target(environ)
    name, out = handoffs.split(target)
    if name == "stream":
        start_response("200 OK", [("content-length", "12")])
        return handoffs.Stream(out)
    status, body = handoffs.respond(target)
    start_response(f"{status} -", [("content-length", str(len(body)))])
    return [body]
