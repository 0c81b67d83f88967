"""The path at which an app finds the public key of its sidecar (RFC 7517, RFC 8615)."""

from collections.abc import Callable
from typing import Final

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response

from sidecar.admin.serving import Route, response, text

PATH: Final = "/.well-known/jwks.json"
MEDIA_TYPE: Final = "application/jwk-set+json"
"""RFC 7517, section 8.5.2."""


def public_keys(jwks: Callable[[], bytes | None]) -> dict[str, Route]:
    """Return the route to the key set *jwks*, which is asked each time; 404 for ``None``."""

    async def tell(_request: BaseRequest) -> Response:
        document = jwks()
        return text(404, "not found\n") if document is None else response(200, document, MEDIA_TYPE)

    return {PATH: Route(tell)}
