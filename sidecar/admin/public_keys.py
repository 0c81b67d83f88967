"""The path at which an app finds the public key of its sidecar (RFC 7517, RFC 8615)."""

from typing import Final

from aiohttp.web_request import BaseRequest
from aiohttp.web_response import Response

from sidecar.admin.serving import Route, response

PATH: Final = "/.well-known/jwks.json"
MEDIA_TYPE: Final = "application/jwk-set+json"
"""RFC 7517, section 8.5.2."""


def public_keys(jwks: bytes | None) -> dict[str, Route]:
    """Return the route to the key set *jwks*; none where nothing is signed."""
    if jwks is None:
        return {}
    document = jwks

    async def tell(_request: BaseRequest) -> Response:
        return response(200, document, MEDIA_TYPE)

    return {PATH: Route(tell)}
