"""The live page: the files of this directory, as they are, and what a browser may do with them.

Owns the files and the fields that confine them. What they show comes from ``sidecar.admin.live``.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response

from sidecar.admin.serving import Answer, Route, response

_HERE: Final = Path(__file__).parent
_HTML: Final = "text/html; charset=utf-8"
_SCRIPT: Final = "text/javascript; charset=utf-8"

FILES: Final[Mapping[str, tuple[str, str]]] = {
    "/": ("index.html", _HTML),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", _SCRIPT),
    "/figures.js": ("figures.js", _SCRIPT),
    "/charts.js": ("charts.js", _SCRIPT),
    "/tables.js": ("tables.js", _SCRIPT),
    "/decisions.js": ("decisions.js", _SCRIPT),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""File and content type by path."""

CONFINED: Final[Mapping[str, str]] = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Nothing comes from elsewhere, nothing is written in the markup, no text becomes markup, and
nobody else's page gets hold of it."""


def routes() -> Mapping[str, Route]:
    """Return what answers for each file."""
    return {path: Route(_teller(name, kind)) for path, (name, kind) in FILES.items()}


def _teller(name: str, kind: str) -> Answer:
    async def tell(_request: BaseRequest) -> Response:
        # Read each time: a page is opened now and then, and memory is paid for in every pod.
        answer = response(200, _HERE.joinpath(name).read_bytes(), kind)
        answer.headers.update(CONFINED)
        return answer

    return tell
